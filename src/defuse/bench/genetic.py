"""A genetic search in the latent space, in the manner of SINVAD, in place of Defuse's own search."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Float64

from defuse.bench.methods import Chain
from defuse.bench.peers import ANY_FLIP
from defuse.classifiers import Classifier
from defuse.generators import Generator
from defuse.identify import Identified, Seeds, encode_seeds
from defuse.identify.shards import Shard, counts, gate_counts, join, read_shard, write_shard
from defuse.pipeline import Run
from defuse.pixels import quantise
from defuse.records import Failures, ProposalCount, Search
from defuse.seeds import numpy_rng
from defuse.types import Labels

NAME = "genetic"
NOT_FLIPPED = 1e6
"""Added to the fitness of an individual that the classifier still reads rightly."""


@dataclass(frozen=True)
class Genetic:
    """Evolves codes round a seed until they are misread, then nearer to the seed.

    Source: Kang, Feldt and Yoo, "SINVAD: Search-based Image Space Navigation for DNN Image Classifier Test Input
    Generation", ICSE workshops 2020: a population of codes round a seed's, uniform crossover, Gaussian mutation, and a
    fitness that is the distance from the seed for what is misread. Deviations: among individuals that are not misread
    yet, the classifier's margin decides, so that the search has a direction; the values are ours.

    Attributes:
        population: individuals per seed.
        generations: per seed.
        together: seeds evolved at once.
        spread: of the first population, and of mutations, in standard deviations of all codes.
        mutation: probability that a coordinate is changed.
    """

    population: int = 40
    generations: int = 25
    together: int = 25
    spread: float = 0.3
    mutation: float = 0.2

    def rounds(self, budget: int) -> int:
        """Return how many groups of seeds the budget pays for, one at least."""
        return max(1, budget // (self.population * self.generations * self.together))

    @torch.inference_mode()
    def search(self, seeds: Seeds, generator: Generator, classifier: Classifier, rng: np.random.Generator) -> Shard:
        """Evolve one group of seeds; keep each seed's best individual if it is misread."""
        chosen = seeds.draw_balanced(self.together, rng, np.ones(len(seeds), dtype=bool))
        home, labels = seeds.mean[chosen][:, None], seeds.labels[chosen]
        scale = self.spread * seeds.mean.std(axis=0)
        shape = (self.together, self.population, seeds.mean.shape[1])
        codes = (home + scale * rng.standard_normal(shape)).astype(np.float32)
        fitness, answers = self._rate(codes, home, labels, generator, classifier)
        flips = int((answers != labels[:, None]).sum())
        for _ in range(self.generations - 1):
            young = self._bred(codes, fitness, scale, rng)
            rated, read = self._rate(young, home, labels, generator, classifier)
            flips += int((read != labels[:, None]).sum())
            codes, fitness, answers = _survivors((codes, young), (fitness, rated), (answers, read))
        best = answers[:, 0] != labels
        failures = Failures(
            seed=seeds.rows[chosen[best]],
            label=labels[best],
            predicted=answers[best, 0],
            proposal=(NAME,) * int(best.sum()),
            z=codes[best, 0],
            scores={"misclassified": np.ones(int(best.sum()), dtype=np.float32)},
        )
        drawn = self.together * self.population * self.generations
        count = ProposalCount(NAME, drawn, flips, len(failures))
        return Shard(failures, count, {"misclassified": (drawn, len(failures))}, (len(seeds), len(seeds)))

    def _bred(
        self,
        codes: Float32[np.ndarray, "seeds size latent"],
        fitness: Float64[np.ndarray, "seeds size"],
        scale: Float32[np.ndarray, " latent"],
        rng: np.random.Generator,
    ) -> Float32[np.ndarray, "seeds size latent"]:
        """Return as many young: two parents each, both winners of a tournament of two."""
        rows = np.arange(len(codes))[:, None]
        parents = []
        for _ in range(2):
            rivals = rng.integers(self.population, size=(2, *fitness.shape))
            first = fitness[rows, rivals[0]] <= fitness[rows, rivals[1]]
            parents.append(codes[rows, np.where(first, rivals[0], rivals[1])])
        mixed = np.where(rng.random(codes.shape) < 0.5, *parents)  # noqa: PLR2004 -- either parent
        changed = rng.random(codes.shape) < self.mutation
        return (mixed + changed * scale * rng.standard_normal(codes.shape)).astype(np.float32)

    def _rate(
        self,
        codes: Float32[np.ndarray, "seeds size latent"],
        home: Float32[np.ndarray, "seeds 1 latent"],
        labels: Labels,
        generator: Generator,
        classifier: Classifier,
    ) -> tuple[Float64[np.ndarray, "seeds size"], np.ndarray]:
        """Return fitness, lower is better, and answers, both (seeds, population)."""
        flat = torch.from_numpy(codes.reshape(-1, codes.shape[2]))
        own = torch.from_numpy(np.repeat(labels, self.population))
        logits = classifier.logits(quantise(generator.decode(flat, own)))
        answers = logits.argmax(dim=1)
        right = logits.gather(1, own[:, None])[:, 0]
        margin = (right - logits.scatter(1, own[:, None], -torch.inf).amax(dim=1)).double().numpy()
        distance = np.linalg.norm(codes - home, axis=2).reshape(-1)
        fitness = np.where((answers != own).numpy(), distance, NOT_FLIPPED + margin)
        return fitness.reshape(codes.shape[:2]).astype(np.float64), answers.numpy().reshape(codes.shape[:2])


def _survivors(
    codes: tuple[np.ndarray, np.ndarray], fitness: tuple[np.ndarray, np.ndarray], answers: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the better half of old and young, the best first."""
    everyone = np.concatenate(fitness, axis=1)
    order = np.argsort(everyone, axis=1, kind="stable")[:, : fitness[0].shape[1]]
    rows = np.arange(len(order))[:, None]
    return (
        np.concatenate(codes, axis=1)[rows, order],
        everyone[rows, order],
        np.concatenate(answers, axis=1)[rows, order],
    )


class GeneticRun(Run):
    """A run that searches by evolution; everything else is Defuse's own."""

    @cached_property
    def identified(self) -> Identified:
        """The failures, one shard for each group of seeds."""
        settings = Genetic()
        with self.timings.of("identify"):
            paths = [self.folder.shard(number) for number in range(settings.rounds(self.config.identify.budget))]
            shards = [self._shard(settings, number, path) for number, path in enumerate(paths)]
        search = Search(counts(shards), gate_counts(shards), 0.0)
        return Identified(join([shard.failures for shard in shards]), search)

    @cached_property
    def _seeds(self) -> Seeds:
        batch = self.config.identify.batch_size
        seeds, kept = encode_seeds(self.splits.reference, self.generator, self.classifier, batch=batch)
        return seeds.take(kept)

    def _shard(self, settings: Genetic, number: int, path: Path) -> Shard:
        if not path.exists():
            rng = numpy_rng(self.config.seed, NAME, number)
            write_shard(path, settings.search(self._seeds, self.generator, self.classifier, rng))
        shard = read_shard(path)
        self.progress("identify", number + 1, settings.rounds(self.config.identify.budget))
        return shard


GENETIC = Chain(NAME, changes=(ANY_FLIP,), opener=GeneticRun)
"""The genetic search; grouping, evidence and repair are the default's, so that the search alone differs."""
