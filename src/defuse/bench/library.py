"""What cells share: generators and judges, trained once and found again by what they were trained on."""

from dataclasses import asdict
from pathlib import Path

from defuse.bench.planting import content_key
from defuse.pipeline import Run
from defuse.rundir import copy_folder


def borrow(run: Run, library: Path) -> None:
    """Give an opened run its generator and judges from ``library``; what is not there yet is trained and put there.

    Both depend on reference and validation images, on their settings and on the seed, never on the classifier.

    Raises:
        GeneratorError: the generator is too poor for this run's classifier.
        ClassifierError: a judge's training diverges.
    """
    seen = (run.splits.reference, run.splits.validation)
    config = run.config
    judges = {name: value for name, value in asdict(config.judges).items() if name not in {"margin", "shapes"}}
    generator = {name: value for name, value in asdict(config.generator).items() if name != "min_reconstruction"}
    kept = library / "generators" / content_key([generator, config.seed], *seen)
    if kept.exists() and not run.folder.generator_history.exists():
        copy_folder(kept, run.folder.generator)
    _ = run.generator
    if not kept.exists():
        copy_folder(run.folder.generator, kept)
    kept = library / "judges" / content_key([judges, config.seed], *seen)
    if kept.exists():
        copy_folder(kept, run.folder.judges)
    _ = run.panel
    if not kept.exists():
        copy_folder(run.folder.judges, kept)
