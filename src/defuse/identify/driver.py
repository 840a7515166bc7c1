"""The search: one driver owns budget, seeds, shards and the check that a failure is one."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass as record
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from defuse.classes import ClassPair, PairText, read_pair
from defuse.classifiers import Classifier
from defuse.errors import ConfigError
from defuse.generators import Detail, Generator, Renderer
from defuse.identify.budget import round_ends, share_out, yields
from defuse.identify.coverage import coverage_curve
from defuse.identify.proposals import (
    AggregatePosterior,
    AnyProposal,
    Drawer,
    GradientSearch,
    Models,
    PosteriorNoise,
    StyleTransfer,
)
from defuse.identify.seeds import Reconstructs, Seeds, encode_seeds
from defuse.identify.shards import Shard, counts, gate_counts, join, read_shard, write_shard
from defuse.judges import Candidates, Gate, Judge, KeepsLabel, LabelGate, Legible, Misclassified, Plausible, ReadAs
from defuse.pixels import quantise
from defuse.progress import Progress, silent
from defuse.records import Failures, LabelledImages, ProposalCount, Search
from defuse.seeds import numpy_rng
from defuse.types import STRICT, Labels

_LOG = logging.getLogger(__name__)

AnyGate = Annotated[Reconstructs | Misclassified | Legible | KeepsLabel | Plausible, Field(discriminator="kind")]
Count = Annotated[int, Field(gt=0)]


@record(frozen=True)
class Identified:
    """The failures that passed every gate, and how the search went."""

    failures: Failures
    search: Search


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Identify:
    """Draw candidates, decode and quantise them, classify, and keep what passes every gate.

    Source: arXiv:2102.06162, section 3. Deviations in preset ``default``: seeds must reconstruct, judges must
    agree that a candidate still shows its label, and styles are carried across classes.

    Attributes:
        budget: number of candidates in all; one that is searched for by gradient counts as many, see ``Proposal.cost``.
        rounds: the first divides its part of the budget equally over the proposals; each later one by how many distinct
            failures each proposal has yielded in all rounds before.
        shard_size: candidates per shard at most; a shard is the unit of resuming.
        batch_size: candidates decoded at once.
        proposals: take turns, a shard each, as often as the round gives them.
        gates: in order, each kind once.
        focus: spend the whole budget on one confusion, such as ``50:80``: candidates are drawn for class 50 alone, and
            only those read as 80 are kept. Class names, or class indices where no name fits.
        detail: candidates, and later all samples of regions, have the fine detail of real images, see ``Detail``, so
            that what is found is misread in images as sharp as real ones. Of six regions of rendered signs that were
            found on smooth images, five were of classes of which the classifier reads each of 4,000 renders rightly.
    """

    budget: Count = 300_000
    rounds: Count = 4
    shard_size: Count = 5_000
    batch_size: Count = 1_000
    proposals: Annotated[tuple[AnyProposal, ...], Field(min_length=1)] = (
        PosteriorNoise(),
        StyleTransfer(),
        GradientSearch(),
    )
    gates: Annotated[tuple[AnyGate, ...], Field(min_length=1)] = (
        Reconstructs(),
        Misclassified(),
        Legible(),
        KeepsLabel(),
        Plausible(),
    )
    focus: PairText | None = None
    detail: bool = True

    def renderer(self, reference: LabelledImages, generator: Generator) -> Renderer:
        """Return what makes images of codes; ``reference`` images lend them detail where the settings say so."""
        return Renderer(generator, Detail(reference, generator) if self.detail else None)

    @property
    def label_gates(self) -> tuple[LabelGate, ...]:
        """The gates on images alone, or the standard one (for evidence only) where the search runs without."""
        return tuple(gate for gate in self.gates if isinstance(gate, LabelGate)) or (KeepsLabel(),)

    @property
    def shards(self) -> int:
        """Number of shards: equally many for every proposal, unless the budget is smaller than their number."""
        turns = -(-self.budget // (self.shard_size * len(self.proposals)))
        return min(turns * len(self.proposals), self.budget)

    def candidates(self, shard: int) -> int:
        """How much of the budget a shard spends; shards differ by one at most."""
        return self.budget * (shard + 1) // self.shards - self.budget * shard // self.shards

    def focus_on(self, reference: LabelledImages) -> ClassPair | None:
        """Return the confusion that the budget is spent on; None for all.

        Raises:
            ConfigError: ``focus`` is no pair of two classes, or no reference image is a start for its candidates.
        """
        if self.focus is None:
            return None
        pair = read_pair(self.focus, reference.class_names, "identify.focus")
        self._require_starts(pair, reference.labels, reference.class_names)
        return pair

    def run(
        self,
        reference: LabelledImages,
        generator: Generator,
        classifier: Classifier,
        judge: Judge,
        *,
        seed: int,
        shard_path: Callable[[int], Path],
        progress: Progress = silent,
    ) -> Identified:
        """Search, going on after the last complete shard.

        Args:
            reference: seeds and style donors.
            generator: must be conditional for ``StyleTransfer``.
            classifier: the model under test.
            judge: the gate's judge.
            seed: of the run; shard i draws from (seed, "identify", i).
            shard_path: where shard i is or will be.
            progress: told after every shard.

        Raises:
            ConfigError: a proposal or a gate needs a conditional generator, or the gate on predictions is missing, or
                a gate is there twice, or the search cannot be focused as wanted, or no proposal suits the classifier.
            ClassifierError: a search by gradient was asked for and the classifier's module gives none.
            GeneratorError: no seed survives its reconstruction.
            RunError: a shard is damaged or cannot be written.
        """
        self._require_fit(generator)
        suited = self._suited(classifier)
        if suited != self:
            return suited.run(
                reference, generator, classifier, judge, seed=seed, shard_path=shard_path, progress=progress
            )
        focus = self.focus_on(reference)
        began = time.monotonic()
        paths = [shard_path(number) for number in range(self.shards)]
        worker: _Worker | None = None
        shards: list[Shard] = []
        turns: list[int] = []
        for number, path in enumerate(paths):
            if number == len(turns):
                turns += self._round(turns, shards)
            if not path.exists():
                worker = worker or self._worker(reference, generator, classifier, judge, focus, seed, progress)
                write_shard(path, worker.search(number, turns[number]))
            shards.append(read_shard(path))
            progress("identify", number + 1, self.shards, _note(shards))
        gates = self._seed_gate(shards[0]) + gate_counts(shards)
        search = Search(counts(shards), gates, time.monotonic() - began, coverage_curve(shards))
        return Identified(join([shard.failures for shard in shards]), search)

    def _round(self, turns: list[int], shards: list[Shard]) -> list[int]:
        """Return whose turn each shard of the next round is."""
        costs = [proposal.cost for proposal in self.proposals]
        weights = yields(turns, shards, costs) if shards else [1.0] * len(costs)
        ends = round_ends(self.shards, self.rounds, len(costs))
        return share_out(next(end for end in ends if end > len(turns)) - len(turns), weights)

    def _suited(self, classifier: Classifier) -> "Identify":
        """Return the search without the proposals that this classifier has nothing for, and say so."""
        suited = tuple(proposal for proposal in self.proposals if proposal.suits(classifier))
        left_out = [proposal.kind for proposal in self.proposals if proposal not in suited]
        if not suited:
            raise ConfigError(
                f"identify.proposals: {left_out[0]} needs a classifier with gradients, got "
                f"{type(classifier).__name__}; add another kind, or pass the classifier as a torch.nn.Module"
            )
        if left_out:
            _LOG.warning("identify: without %s, since the classifier has no gradients", ", ".join(left_out))
        return replace(self, proposals=suited)

    @property
    def _reconstructs(self) -> bool:
        return any(isinstance(gate, Reconstructs) for gate in self.gates)

    def _seed_gate(self, shard: Shard) -> tuple[tuple[str, int, int], ...]:
        return (("reconstructs", *shard.seeds),) if self._reconstructs else ()

    def _worker(
        self,
        reference: LabelledImages,
        generator: Generator,
        classifier: Classifier,
        judge: Judge,
        focus: ClassPair | None,
        seed: int,
        progress: Progress,
    ) -> "_Worker":
        seeds, reconstructs = encode_seeds(reference, generator, classifier, batch=self.batch_size, progress=progress)
        eligible = seeds.take(reconstructs) if self._reconstructs else seeds
        if focus is not None:
            self._require_starts(focus, eligible.labels, reference.class_names, " that survives its reconstruction")
        gates = self._gates_on_candidates(focus)
        models = Models(self.renderer(reference, generator), classifier)
        proposals = tuple(proposal.prepared(eligible, models, seed) for proposal in self.proposals)
        return _Worker(self, proposals, gates, focus, eligible, len(seeds), models, judge, seed)

    def _gates_on_candidates(self, focus: ClassPair | None) -> tuple[Gate, ...]:
        """Return the gates on candidates in order; a focus puts its own right after the gate on predictions."""
        gates: list[Gate] = []
        for gate in self.gates:
            if isinstance(gate, Gate):
                gates.append(gate)
            if focus is not None and isinstance(gate, Misclassified):
                gates.append(ReadAs(focus.answer))
        return tuple(gates)

    def _require_starts(self, focus: ClassPair, labels: Labels, names: tuple[str, ...], kind: str = "") -> None:
        for proposal in self.proposals:
            if not proposal.starts(labels, focus.label).any():
                raise ConfigError(
                    f"identify.focus: {proposal.name} finds no reference image{kind} to draw {names[focus.label]!r} "
                    "from; drop it from identify.proposals, or focus on another class"
                )

    def _require_fit(self, generator: Generator) -> None:
        kinds = [gate.kind for gate in self.gates]
        if "misclassified" not in kinds:
            raise ConfigError("identify.gates: expected a gate of kind misclassified, got none; add it")
        twice = [kind for kind in dict.fromkeys(kinds) if kinds.count(kind) > 1]
        if twice:
            raise ConfigError(f"identify.gates: expected each gate once, got {twice[0]} more than once; drop one")
        if generator.conditional:
            return
        needy = (StyleTransfer, AggregatePosterior, GradientSearch, Plausible)
        for section, parts in (("proposals", self.proposals), ("gates", self.gates)):
            for part in parts:
                if isinstance(part, needy):
                    raise ConfigError(
                        f"identify.{section}: {part.kind} needs a conditional generator, got an unconditional one; "
                        f"set generator.conditional=true or drop it from {section}"
                    )


@record(frozen=True)
class _Worker:
    """Searches one shard, given everything that all shards share; ``tested`` seeds were tried for ``seeds``."""

    settings: Identify
    proposals: tuple[Drawer, ...]
    gates: tuple[Gate, ...]
    focus: ClassPair | None
    seeds: Seeds
    tested: int
    models: Models
    judge: Judge
    seed: int

    @torch.inference_mode()
    def search(self, number: int, turn: int) -> Shard:
        settings, proposal = self.settings, self.proposals[turn]
        rng = numpy_rng(self.seed, "identify", number)
        size = max(1, settings.candidates(number) // settings.proposals[turn].cost)
        batches = [min(settings.batch_size, size - start) for start in range(0, size, settings.batch_size)]
        parts = [self._batch(proposal, n, rng) for n in batches]
        gates = {name: (tested, passed) for name, tested, passed in gate_counts(parts)}
        return Shard(join([part.failures for part in parts]), counts(parts)[0], gates, parts[0].seeds)

    def _batch(self, proposal: Drawer, n: int, rng: np.random.Generator) -> Shard:
        draw = proposal.draw(self.seeds, n, rng, self.focus.label if self.focus else None)
        labels = torch.from_numpy(draw.label)
        rendered = self.models.renderer.render(torch.from_numpy(draw.z), labels)
        pixels = quantise(rendered.pixels)
        candidates = Candidates(pixels, labels, self.models.classifier.logits(pixels), quantise(rendered.drawn))
        flips = int((candidates.logits.argmax(dim=1) != labels).sum())
        alive = torch.arange(n)
        scores: dict[str, Tensor] = {}
        gates: dict[str, tuple[int, int]] = {}
        for gate in self.gates:
            passed = gate.check(candidates, self.judge)
            gates[gate.name] = (len(alive), int(passed.mask.sum()))
            scores = {name: score[passed.mask] for name, score in {**scores, gate.name: passed.score}.items()}
            alive, candidates = alive[passed.mask], candidates.take(passed.mask)
        row = alive.numpy()
        failures = Failures(
            seed=self.seeds.rows[draw.seed[row]],
            label=draw.label[row],
            predicted=candidates.logits.argmax(dim=1).numpy(),
            proposal=(proposal.name,) * len(row),
            z=draw.z[row],
            scores={name: score.numpy() for name, score in scores.items()},
        )
        count = ProposalCount(proposal.name, n, flips, len(row))
        return Shard(failures, count, gates, (self.tested, len(self.seeds)))


def _note(shards: list[Shard]) -> str:
    found = sum(shard.count.flips for shard in shards)
    kept = sum(shard.count.kept for shard in shards)
    drawn = sum(shard.count.candidates for shard in shards)
    return f"{found} flips, {kept} kept ({100 * kept / drawn:.2f} %)"
