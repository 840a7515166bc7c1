"""The panel: judges that gate the search, and other judges that stand in for annotators."""

from dataclasses import dataclass as record
from pathlib import Path
from typing import Annotated

import torch
from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from defuse.augment import Augment
from defuse.classifiers import (
    NETWORKS,
    ClassifierSettings,
    TorchClassifier,
    Training,
    build_network,
    load_classifier,
    load_weights,
    save_weights,
    train,
)
from defuse.errors import RunError
from defuse.generators import Generator
from defuse.judges.base import Judge
from defuse.judges.networks import NetworkJudge, Unanimous, fit_temperature
from defuse.judges.typicality import MARGIN, SHAPES, TypicalityJudge, known_images, typical_images
from defuse.progress import Progress, silent
from defuse.records import LabelledImages, Rate, Splits
from defuse.rundir import read_json, write_json
from defuse.seeds import derive
from defuse.types import STRICT


def _known(name: str) -> str:
    if name not in NETWORKS:
        raise ValueError(f"no built-in network is called {name!r}; choose one of {', '.join(NETWORKS)}")
    return name


def _trained(own: ClassifierSettings) -> ClassifierSettings:
    if own.trained_here:
        raise ValueError("a judge of your own needs factory, weights, or both")
    return own


Architectures = Annotated[tuple[Annotated[str, AfterValidator(_known)], ...], Field(min_length=1)]


@record(frozen=True)
class JudgePanel:
    """Two disjoint groups of judges.

    Attributes:
        gate: decides in the search and in the evidence whether an image still shows its label.
        label: labels regions where no person does; the gate never asks it, so labelling can still reject.
        accuracy: each member's accuracy on validation images, gate first.
        margin: see ``Judges``.
        shapes: whether outlines are looked at; see ``Judges``.
    """

    gate: Judge
    label: Judge
    accuracy: tuple[Rate, ...]
    margin: float = MARGIN
    shapes: bool = True

    def gate_with(self, generator: Generator, splits: Splits) -> Judge:
        """Return the gate's judge, who also knows what is usual where the generator knows classes."""
        if not generator.conditional:
            return self.gate
        known = known_images(splits, SHAPES if self.shapes else 0)
        return TypicalityJudge(self.gate, generator, typical_images(splits), known, self.margin)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class JudgeTraining(Training):
    """``Training`` with a judge's defaults: all that makes it say "cannot tell" of images that people would not."""

    epochs: Annotated[int, Field(ge=1)] = 8
    batch_size: Annotated[int, Field(ge=1)] = 128
    augment: Augment = "affine_light"
    mixup: Annotated[float, Field(ge=0, le=1)] = 0.5
    coarse: Annotated[float, Field(ge=0, le=1)] = 0.1
    faint: Annotated[float, Field(ge=0, le=1)] = 0.03


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Judges:
    """How judges are trained: on the reference images alone, never on the classifier under test or its answers.

    Attributes:
        gate: one network name per judge of the gate.
        label: one network name per judge that labels.
        own: a judge of the user's own, such as a stronger model, that gates beside the others and is not trained here:
            ``factory`` and ``weights``, as for the classifier under test, which it must not be.
        training: of every judge.
        margin: how much worse every other class must explain an image than its label does, for the gate ``plausible``:
            root mean square over the middle, in [0, 1]. It throws out what no person can read, and with it whatever is
            so dark that classes differ by less; lower it to look for errors in the dark.
        shapes: whether an image's outlines must be usual for its label too, for the same gate; see ``Shapes``. Left
            open, it is asked of images with one channel alone: of drawn digits it throws out four in five that people
            cannot read, while in photographs light and noise change the outlines themselves, so that it throws out
            whatever is dark and lets through what is blurred.
    """

    gate: Architectures = ("resnet", "outlines", "resnet-mini")
    label: Architectures = ("cnn-wide", "resnet-mini")
    own: Annotated[ClassifierSettings, AfterValidator(_trained)] | None = None
    training: JudgeTraining = JudgeTraining()
    margin: Annotated[float, Field(ge=0, lt=1)] = MARGIN
    shapes: bool | None = None

    @property
    def gating(self) -> int:
        """How many judges gate."""
        return len(self.gate) + (self.own is not None)

    @property
    def _groups(self) -> dict[str, tuple[str, ...]]:
        return {"gate": self.gate, "label": self.label}

    def trained_in(self, folder: Path) -> bool:
        """Return whether ``folder`` holds every judge that is trained here."""
        names = (f"{group}-{number}" for group, names in self._groups.items() for number in range(len(names)))
        return all(_complete(folder / name).exists() for name in names)

    def fit(
        self,
        reference: LabelledImages,
        validation: LabelledImages,
        *,
        seed: int,
        folder: Path,
        device: torch.device | str = "cpu",
        progress: Progress = silent,
    ) -> JudgePanel:
        """Train every judge that ``folder`` does not hold yet, and return the panel.

        Each judge is stored as soon as it is trained, so that an interrupted fit goes on where it stopped.

        Args:
            reference: to train on.
            validation: to calibrate on.
            seed: of every random step.
            folder: where judges are, or will be.
            device: where they are trained, and stay.
            progress: told of every step.

        Raises:
            ClassifierError: a judge's training diverges, its stored weights cannot be read, or the user's own judge
                cannot be loaded or does not fit the data.
            RunError: a stored judge is damaged, or a judge cannot be stored.
        """
        members: dict[str, list[NetworkJudge]] = {"gate": [], "label": []}
        for group, names in self._groups.items():
            for number, name in enumerate(names):
                member = _Member(name, folder / f"{group}-{number}", derive(seed, "judges", group, number), device)
                members[group].append(member.obtain(self.training, reference, validation, progress))
        if self.own is not None:
            classifier = load_classifier(self.own, reference.class_names, reference.image_shape, device)
            members["gate"].append(NetworkJudge(classifier, fit_temperature(classifier, validation)))
        every = (*members["gate"], *members["label"])
        return JudgePanel(
            gate=Unanimous(tuple(members["gate"])),
            label=Unanimous(tuple(members["label"])),
            accuracy=tuple(judge.classifier.accuracy(validation) for judge in every),
            margin=self.margin,
            shapes=reference.image_shape[2] == 1 if self.shapes is None else self.shapes,
        )


@record(frozen=True)
class _Member:
    network: str
    stem: Path
    seed: int
    device: torch.device | str

    def obtain(
        self, training: Training, reference: LabelledImages, validation: LabelledImages, progress: Progress
    ) -> NetworkJudge:
        height, width, channels = reference.image_shape
        module = build_network(
            self.network,
            channels=channels,
            classes=len(reference.class_names),
            size=max(height, width),
            seed=derive(self.seed, "weights"),
        )
        weights, complete = self.stem.with_suffix(".safetensors"), _complete(self.stem)
        classifier = TorchClassifier(module, reference.class_names, device=self.device)
        if complete.exists():
            load_weights(weights, module)
            return NetworkJudge(classifier, _temperature(complete))

        def named(task: str, done: int, total: int, note: str = "") -> None:
            progress(f"judge {self.stem.name} ({self.network})", done, total, note or task)

        train(module, reference, validation, training, seed=derive(self.seed, "training"), progress=named)
        temperature = fit_temperature(classifier, validation)
        save_weights(weights, module)
        write_json(complete, {"network": self.network, "temperature": temperature})
        return NetworkJudge(classifier, temperature)


def _complete(stem: Path) -> Path:
    """Return the file that is written when a judge is trained."""
    return stem.with_suffix(".json")


def _temperature(path: Path) -> float:
    try:
        return float(read_json(path)["temperature"])
    except (KeyError, TypeError, ValueError):
        raise RunError(
            f"{path}: expected a number under 'temperature'; remove the file to train this judge anew"
        ) from None
