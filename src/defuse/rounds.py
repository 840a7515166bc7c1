"""Round after round: the repaired model is the next round's model under test, until no bug is left or no gain comes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from defuse.classifiers import Classifier
from defuse.correct import check
from defuse.outcomes import Suite
from defuse.pipeline import Run
from defuse.records import Rate
from defuse.results import Results, write_results
from defuse.rundir import copy_folder, write_json
from defuse.summary import Part, Share


class RoundSummary(Part):
    """One round in ``rounds.json``.

    ``kept_rate`` is failures kept over candidates, on the model that the round began with; ``repaired`` says whether
    it ended with another. Of the model that it ended with, ``test_accuracy`` is that, ``negative_flips`` the share of
    test images that it reads wrong and the first round's given model right, and ``back`` names the bugs of earlier
    rounds that were gone when their round ended and that it has again, as ``round/region``.
    """

    round: int
    folder: str
    regions: int
    kept_rate: Share
    repaired: bool
    test_accuracy: Share
    negative_flips: Share
    back: tuple[str, ...]


@dataclass(frozen=True)
class Round:
    """A finished round: its results, and what it says in the table of all rounds."""

    results: Results
    summary: RoundSummary


def run_rounds(first: Run, count: int) -> Iterator[Round]:
    """Run an opened run, and then up to ``count`` - 1 more on the model that each repair leaves.

    Round n lies in ``rounds/n`` of the first one's folder; generator and judges are the first one's, and its seed is
    larger by n - 1. The rounds end when a model cannot be repaired, no region is reported, no repair meets the caps,
    or a search keeps no fewer failures than the one before. The caps on a repair are on what its own round costs;
    ``negative_flips`` tells what all have cost together. Called again, it goes on where it stopped; where earlier
    rounds have changed since, later ones are made anew. ``rounds.json`` tells of all that are done.

    Raises:
        DefuseError: as ``Run``.
    """
    gone: dict[int, Suite] = {}
    right = first.classifier.reads_right(first.splits.test)
    done: list[RoundSummary] = []
    for run in _runs(first, count):
        number = len(done) + 1
        results = write_results(run)
        model = run.repaired or run.classifier
        broken = right & ~model.reads_right(first.splits.test)
        summary = _summary(number, run, results, Rate.of(broken), _blocking(gone, model))
        gone[number] = _held(run.suite, model)
        done.append(summary)
        write_json(first.folder.rounds, [each.model_dump(mode="json") for each in done])
        yield Round(results, summary)
        if number > 1 and not _fewer(done[-1].kept_rate, done[-2].kept_rate):
            return


def _runs(first: Run, count: int) -> Iterator[Run]:
    """Yield the opened runs, each to be finished before the next is asked for."""
    yield first
    run = first
    for number in range(2, count + 1):
        model = run.repaired
        if model is None:
            return
        config = first.config.model_copy(update={"seed": first.config.seed + number - 1})
        folder = first.folder.round(number)
        with Run(config, folder, classifier=model, splits=first.splits, progress=first.progress, redo=True) as run:
            for name in ("generator", "judges"):
                if not (folder / name).exists():
                    copy_folder(first.folder.root / name, folder / name)
            yield run


def _held(suite: Suite, model: Classifier) -> Suite:
    """Return the cases that a model passes."""
    blocked = _blocked(suite, model)
    return replace(suite, cases=tuple(case for case in suite.cases if case.region not in blocked))


def _blocking(suites: Mapping[int, Suite], model: Classifier) -> tuple[str, ...]:
    """Return the cases of each round that a model does not pass."""
    return tuple(f"{number}/{region}" for number, suite in suites.items() for region in _blocked(suite, model))


def _blocked(suite: Suite, model: Classifier) -> list[str]:
    return [result.region for result in check(suite, model) if result.blocks] if suite.cases else []


def _summary(number: int, run: Run, results: Results, broken: Rate, back: tuple[str, ...]) -> RoundSummary:
    told = results.summary
    return RoundSummary(
        round=number,
        folder=str(run.folder.root),
        regions=len(told.regions),
        kept_rate=told.search.kept_rate,
        repaired=run.repaired is not None,
        test_accuracy=told.test_accuracy if told.repair is None else told.repair.after.test_accuracy,
        negative_flips=Share.of(broken),
        back=back,
    )


def _fewer(now: Share, before: Share) -> bool:
    """Compare failures kept: candidates differ from search to search, since some cost more than others."""
    return now.successes < before.successes
