"""Which generator of colour images finds the most failures that are real and distinct per CPU minute?

python benchmarks/colour_generator.py --source gtsrb.npz --groups gtsrb_meta.npz:train_track --run RUN

Every variant is trained on every third frame of the reference tracks and searched with the same classifier, judges,
gates, budget and seed. One JSON per variant under --out: a run that was stopped goes on with the next. An oracle that
no variant sees says which of the kept failures are real. Distinct: within one confusion, images nearer than ``NEAR``
count once.
"""

import argparse
import json
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from main_job import RESULTS
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from defuse.bench.oracle import confirmed, train_oracle
from defuse.config import build_config, read_config
from defuse.generators import VAE, ConvVAE, Generator, reconstruction_accuracy
from defuse.generators.likelihood import Bound, bands, divergence, gaussian, log_variance
from defuse.generators.networks import Architecture, Autoencoder, Residual
from defuse.generators.training import Progression, train
from defuse.identify import AggregatePosterior
from defuse.pipeline import Run
from defuse.pixels import to_bytes
from defuse.progress import silent
from defuse.records import Failures, LabelledImages
from defuse.types import ByteImages, Codes, Labels, LabelTensor, Mask, Pixels
from defuse.versions import provenance

THUMBNAIL = 8
"""Side to which images are shrunk to compare them."""

NEAR = 0.06
"""Root mean square distance of two thumbnails, in [0, 1], below which they are one finding."""

PURE = 0.95
"""Share of real failures at which variants are compared."""

TIMED = 2_560
"""Training images over which the cost of training is measured, beside the search: both on the same idle machine."""

BATCH = 1_000

EPOCHS = 12


class Single(Autoencoder):
    """The Gaussian likelihood with one learned variance for all pixels, as is usual."""

    def __init__(self, shape: Architecture) -> None:
        super().__init__(shape)
        self.pixel_noise = nn.Parameter(torch.zeros(()))

    def log_likelihood(self, logits: Pixels, pixels: Pixels) -> Tensor:
        """Return log p(x | z, y) in nats."""
        noise = log_variance(self.get_parameter("pixel_noise"))
        return gaussian(pixels - torch.sigmoid(logits), noise.expand(bands(*pixels.shape[2:]), 3))


class Logistic(Single):
    """A discretised logistic likelihood over the 256 grey values, with one learned scale (Kingma et al., 2016)."""

    def log_likelihood(self, logits: Pixels, pixels: Pixels) -> Tensor:
        """Return log p(x | z, y) in nats: a mass, not a density, so not comparable with the Gaussian's."""
        scale = torch.exp(0.5 * log_variance(self.get_parameter("pixel_noise"))) * 3**0.5 / torch.pi
        mean, half = torch.sigmoid(logits), 0.5 / 255
        above = torch.where(pixels > 1 - half, 1.0, torch.sigmoid((pixels + half - mean) / scale))
        below = torch.where(pixels < half, 0.0, torch.sigmoid((pixels - half - mean) / scale))
        return (above - below).clamp(min=1e-7).log().sum((1, 2, 3))


class Features(Single):
    """The Gaussian likelihood and, while training, the distance between features of a judge's first layers."""

    weight = 300.0

    def bound(self, pixels: Pixels, labels: LabelTensor, noise: Codes) -> Bound:
        """Return the bound; in training the reconstruction's part holds the features' distance too."""
        if not self.training:
            return super().bound(pixels, labels, noise)
        decoded, result = _decoded(self, pixels, labels, noise)
        eyes: nn.Module = _HELD["eyes"]
        misfit = (eyes(decoded) - eyes(pixels)).square().mean((1, 2, 3))
        return Bound(result.reconstruction + self.weight * misfit, result.divergence)


class Adversarial(Single):
    """The Gaussian likelihood and, while training, a small patch discriminator's hinge loss (Lim and Ye, 2017)."""

    weight = 30.0

    def bound(self, pixels: Pixels, labels: LabelTensor, noise: Codes) -> Bound:
        """Return the bound; in training the discriminator takes a step and its score of the decoded is added."""
        if not self.training:
            return super().bound(pixels, labels, noise)
        decoded, result = _decoded(self, pixels, labels, noise)
        critic, optimiser = _critic(self)
        optimiser.zero_grad()
        hinge = functional.relu(1 - critic(pixels)).mean() + functional.relu(1 + critic(decoded.detach())).mean()
        hinge.backward()
        optimiser.step()
        score = critic(decoded).mean((1, 2, 3))  # its gradient on the critic is wiped before the critic's next step
        return Bound(result.reconstruction - self.weight * score, result.divergence)


class Deep(Single):
    """A residual block after every step up of the decoder."""

    def __init__(self, shape: Architecture) -> None:
        super().__init__(shape)
        labels, up = shape.labels, self.decoder.up
        self.decoder.up = nn.ModuleList(_Both(block, Residual(block.norm.scale.shape[1], labels)) for block in up)
        self.to(memory_format=torch.channels_last)


class _Both(nn.Module):
    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        return self.second(self.first(features, condition), condition)


def _decoded(network: Autoencoder, pixels: Pixels, labels: LabelTensor, noise: Codes) -> tuple[Pixels, Bound]:
    condition = network.condition(labels)
    mean, spread = network.encoder(pixels, condition)
    logits = network.decoder(mean + torch.exp(0.5 * spread) * noise, condition)
    return torch.sigmoid(logits), Bound(-network.log_likelihood(logits, pixels), divergence(mean, spread))


_HELD: dict[str, Any] = {}
"""What a variant needs beside its weights: the judge's layers, the discriminator. One variant at a time."""


def _critic(network: Autoencoder) -> tuple[nn.Module, torch.optim.Optimizer]:
    if _HELD.get("of") is not network:
        critic = nn.Sequential(
            nn.Conv2d(3, 32, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(32, 64, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(64, 1, 3, 1, 1),
        )
        _HELD.update(of=network, critic=(critic, torch.optim.Adam(critic.parameters(), 4e-4, betas=(0.5, 0.9))))
    return _HELD["critic"]


@dataclass(frozen=True)
class Variant:
    """One generator, and how it is searched.

    Attributes:
        kind: the networks with their likelihood.
        latent: dimension of the code.
        balanced: whether each class is seen in proportion to the root of its size.
        trained_as: whose weights it shares; its own when empty.
        proposals: how candidates are drawn; as ``defuse run`` does when empty.
    """

    kind: type[Autoencoder] = Single
    latent: int = 32
    balanced: bool = False
    trained_as: str = ""
    proposals: tuple[AggregatePosterior, ...] = ()


VARIANTS = {
    "gaussian": Variant(),
    "feature loss": Variant(Features),
    "discretised logistic": Variant(Logistic),
    "64 latents": Variant(latent=64),
    "adversarial term": Variant(Adversarial),
    "residual decoder": Variant(Deep),
    "wavelet bands": Variant(Autoencoder),
    "wavelet bands, 64 latents": Variant(Autoencoder, latent=64),
    "wavelet bands, balanced classes": Variant(Autoencoder, balanced=True),
    "wavelet bands, ex-post density": Variant(
        Autoencoder, trained_as="wavelet bands", proposals=(AggregatePosterior(),)
    ),
}
"""Each changes one thing of the first, or of "wavelet bands", which is what ``defuse.generators`` does."""


def main() -> None:
    """Measure the variants that the folder does not hold yet, then write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="examples/gtsrb.yaml")
    parser.add_argument("--source", required=True, help="the data set")
    parser.add_argument("--groups", required=True, help="FILE:COLUMN that says which images show one sign")
    parser.add_argument("--run", type=Path, required=True, help="a run's folder, for its classifier and judges")
    parser.add_argument("--out", type=Path, default=Path("runs/colour-generator"))
    parser.add_argument("--oracle", type=Path, default=Path("runs/oracle-gtsrb"))
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS), metavar="NAME")
    parser.add_argument("--budget", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=RESULTS / "colour_generator.json")
    parser.add_argument("--quick", action="store_true", help="one epoch, a small search")
    options = parser.parse_args()
    settings = [f"data.source={options.source}", f"data.groups={options.groups}", f"identify.budget={options.budget}"]
    config = build_config({**read_config(Path(options.config)), "seed": options.seed}, settings)
    options.out.mkdir(parents=True, exist_ok=True)
    run = Run(config, options.run)
    made = provenance(f"python benchmarks/colour_generator.py --budget {options.budget} --seed {options.seed}")
    cells = {}
    for name in options.variants:
        cell = _cell(options, name, "json")
        if not cell.exists():
            cell.write_text(json.dumps(_measure(run, name, options), indent=2) + "\n", encoding="utf-8")
        cells[name] = json.loads(cell.read_text(encoding="utf-8"))
        print(name, cells[name], flush=True)
    result = {
        "figures": {f"{name}.{key}": value for name, cell in cells.items() for key, value in cell.items()},
        **made,
        "budget": options.budget,
        "seed": options.seed,
        "seconds": round(sum(cell["search_cpu_seconds"] for cell in cells.values()), 1),
    }
    options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _measure(run: Run, name: str, options: argparse.Namespace) -> dict[str, float]:
    reference, held_out = _third(run.splits.reference), run.splits.validation
    seen = _balanced(reference) if VARIANTS[name].balanced else reference
    generator, trained = _trained(run, name, seen, options)
    quality = reconstruction_accuracy(generator, run.classifier.predict, held_out)
    cost = _training_cost(name, seen, options)
    judge = run.panel.gate_with(generator, replace(run.splits, reference=reference))
    proposals = VARIANTS[name].proposals or run.config.identify.proposals
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        found = replace(run.config.identify, proposals=proposals).run(
            reference,
            generator,
            run.classifier,
            judge,
            seed=options.seed,
            shard_path=lambda number: Path(folder) / f"{number}.parquet",
        )
    searched = time.process_time() - began
    failures = found.failures
    images, labels, answers = _decode(generator, failures), failures.label, failures.predicted
    np.savez(_cell(options, name, "npz"), images=images, label=labels, predicted=answers)
    oracle = train_oracle(run.splits, options.oracle, epochs=1 if options.quick else 10)
    real = confirmed(oracle, images, labels)
    pure = real & _purest(real, failures.scores["keeps_label"])
    distinct = _distinct(images[real], labels[real], answers[real])
    at_equal_purity = _distinct(images[pure], labels[pure], answers[pure])
    return {
        **trained,
        "train_cpu_ms_per_image": round(cost, 2),
        "search_cpu_seconds": round(searched, 1),
        "reconstruction_kept": round(quality.kept.value, 4),
        "flips": sum(count.flips for count in found.search.counts),
        "kept": len(failures),
        "real": round(float(real.mean()), 4) if len(real) else 0.0,
        "confusions": len({*zip(labels[real].tolist(), answers[real].tolist(), strict=True)}),
        "distinct_real": distinct,
        "distinct_real_per_cpu_minute": round(60 * distinct / searched, 2),
        "at_equal_purity_per_cpu_minute": round(60 * at_equal_purity / searched, 2),
    }


def _trained(
    run: Run, name: str, reference: LabelledImages, options: argparse.Namespace
) -> tuple[ConvVAE, dict[str, float]]:
    """Return a variant's generator and how its training went; it is trained once."""
    settings = _settings(name, options)
    _HELD["eyes"] = run.panel.gate.members[0].classifier.module[0:2]
    network = _network(name, reference, options)
    owner = VARIANTS[name].trained_as or name
    weights, notes = _cell(options, owner, "safetensors"), _cell(options, owner, "training.json")
    if notes.exists():
        network.load_state_dict(load_file(weights))
        return ConvVAE(network), json.loads(notes.read_text(encoding="utf-8"))
    history = train(
        Progression.start(network),
        reference,
        run.splits.validation,
        settings.schedule,
        seed=options.seed,
        checkpoint=None,
        progress=silent,
    )
    trained = {
        "best_epoch": history.best.number,
        "held_out_nats": round(history.best.held_out, 1),
        "train_nats": round(history.best.train, 1),
        "divergence_nats": round(history.best.divergence, 1),
    }
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, weights)
    notes.write_text(json.dumps(trained) + "\n", encoding="utf-8")
    return ConvVAE(network), trained


def _training_cost(name: str, reference: LabelledImages, options: argparse.Namespace) -> float:
    """Return the CPU time of training, in milliseconds per image and epoch."""
    few = reference.take(np.arange(TIMED))
    state = Progression.start(_network(name, reference, options))
    schedule = replace(_settings(name, options).schedule, epochs=1)
    began = time.process_time()
    train(state, few, few.take(np.arange(1)), schedule, seed=0, checkpoint=None, progress=silent)
    return 1_000 * (time.process_time() - began) / TIMED


def _settings(name: str, options: argparse.Namespace) -> VAE:
    return VAE(latent=VARIANTS[name].latent, epochs=1 if options.quick else EPOCHS)


def _network(name: str, images: LabelledImages, options: argparse.Namespace) -> Autoencoder:
    torch.manual_seed(options.seed)
    return VARIANTS[name].kind(_settings(name, options).architecture(images))


def _cell(options: argparse.Namespace, name: str, ending: str) -> Path:
    return options.out / f"{name.replace(' ', '_').replace(',', '')}.{ending}"


def _third(images: LabelledImages) -> LabelledImages:
    """Return every third image: frames of a track follow each other, so every track stays."""
    return images.take(np.argsort(images.rows)[::3])


def _balanced(images: LabelledImages) -> LabelledImages:
    """Return about as many images, of each class in proportion to the root of its size: some left out or repeated."""
    share = np.sqrt(np.bincount(images.labels, minlength=len(images.class_names)))
    counts = np.round(len(images) * share / share.sum()).astype(int)
    rows = [np.flatnonzero(images.labels == label) for label in range(len(counts))]
    chosen = [of[np.arange(n) * len(of) // n] for of, n in zip(rows, counts, strict=True) if n]
    return images.take(np.concatenate(chosen))


@torch.inference_mode()
def _decode(generator: Generator, failures: Failures) -> ByteImages:
    z, labels = torch.from_numpy(failures.z), torch.from_numpy(failures.label)
    rows = range(0, max(len(z), 1), BATCH)
    return np.concatenate([to_bytes(generator.decode(z[i : i + BATCH], labels[i : i + BATCH])) for i in rows])


def _purest(real: Mask, scores: np.ndarray) -> Mask:
    """Return the largest set of the best-scored failures of which a share ``PURE`` is real."""
    order = np.argsort(-scores, kind="stable")
    share = np.cumsum(real[order]) / np.arange(1, len(order) + 1)
    enough = np.flatnonzero(share >= PURE)
    chosen = np.zeros(len(order), dtype=bool)
    chosen[order[: enough[-1] + 1 if len(enough) else 0]] = True
    return chosen


def _distinct(images: ByteImages, labels: Labels, answers: Labels) -> int:
    """Count images, leaving out each that is near one counted before in the same confusion."""
    if not len(images):
        return 0
    side = images.shape[1] // THUMBNAIL
    small = images[:, : side * THUMBNAIL, : side * THUMBNAIL].astype(np.float32) / 255
    small = small.reshape(len(images), THUMBNAIL, side, THUMBNAIL, side, -1).mean((2, 4)).reshape(len(images), -1)
    counted: dict[tuple[int, int], list[np.ndarray]] = {}
    for thumbnail, label, answer in zip(small, labels, answers, strict=True):
        near = counted.setdefault((int(label), int(answer)), [])
        if all(np.sqrt(np.square(thumbnail - other).mean()) >= NEAR for other in near):
            near.append(thumbnail)
    return sum(map(len, counted.values()))


if __name__ == "__main__":
    main()
