from dataclasses import replace

import numpy as np
import pytest
import torch
from identify_toys import BRIGHT, CLASSES, CLEAR, SETTINGS, STD, ToyClassifier, Toys, stored

from defuse.errors import ConfigError
from defuse.identify import BetaNoise, PosteriorNoise, Seeds, StyleTransfer
from defuse.seeds import numpy_rng

VERY = 145
"""A first pixel above it is read as the class after the next."""

ALL = (PosteriorNoise(scale=1.0), StyleTransfer(scale=1.5), BetaNoise(scale=1.0))
FOCUSED = replace(SETTINGS, proposals=ALL, focus="b:a")
LABEL, ANSWER = 1, 0


class TwoWays(ToyClassifier):
    """Misreads bright images as the next class, very bright ones as the class after it."""

    def _forward(self, pixels):
        logits = super()._forward(pixels)
        very = pixels[:, 0, 0, 0] * 255 > VERY + 0.5
        return torch.where(very[:, None], logits.roll(1, dims=1), logits)


def truth(settings, images, seed=7):
    """Yield (proposal, flipped, read as wanted, kept, draw) of every batch, counted with NumPy alone."""
    two = images.images[:, 0, :2, 0]
    kept = two[:, 0] <= BRIGHT
    mean = (two[kept] / np.float32(255)).astype(np.float32)
    seeds = Seeds(images.rows[kept], images.labels[kept], mean, np.full_like(mean, STD), classes=3)
    for shard in range(settings.shards):
        proposal = settings.proposals[shard % len(settings.proposals)]
        rng, left = numpy_rng(seed, "identify", shard), settings.candidates(shard)
        while left:
            draw = proposal.draw(seeds, min(settings.batch_size, left), rng, LABEL)
            values = stored(draw.z)
            flipped = values[:, 0] > BRIGHT
            wanted = values[:, 0] > VERY  # b is read as c when bright, as a when very bright
            yield proposal, flipped, wanted, wanted & (values[:, 1] >= CLEAR), draw, seeds
            left -= len(draw.z)


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    toys = Toys(classifier=TwoWays())
    return toys, toys.run(tmp_path_factory.mktemp("out"), FOCUSED), list(truth(FOCUSED, toys.reference))


def test_only_the_confusion_is_kept_and_counts_are_those_counted_by_hand(case):
    _, found, by_hand = case
    assert set(found.failures.label) == {LABEL}
    assert set(found.failures.predicted) == {ANSWER}
    assert np.array_equal(found.failures.z, np.concatenate([draw.z[keep] for *_, keep, draw, _ in by_hand]))
    assert found.failures.seed.tolist() == [
        row for *_, keep, draw, seeds in by_hand for row in seeds.rows[draw.seed[keep]].tolist()
    ]
    for count in found.search.counts:
        parts = [each[1:4] for each in by_hand if each[0].name == count.proposal]
        assert count.flips == sum(flip.sum() for flip, _, _ in parts)
        assert count.kept == sum(keep.sum() for _, _, keep in parts) > 5
    flips, read, kept = (sum(int(each[part].sum()) for each in by_hand) for part in (1, 2, 3))
    assert kept < read < flips  # other answers were there to be left out
    assert found.search.gates[1:] == (
        ("misclassified", FOCUSED.budget, flips),
        ("read_as", flips, read),
        ("keeps_label", read, kept),
    )
    assert found.search.candidates == FOCUSED.budget


def test_the_judge_is_asked_of_the_confusion_alone(tmp_path):
    toys = Toys(classifier=TwoWays())
    found = toys.run(tmp_path, FOCUSED)
    assert toys.judge.asked == {name: passed for name, _, passed in found.search.gates}["read_as"]


def test_seeds_and_donors_are_of_the_classes_that_they_must_be(case):
    toys, found, _ = case
    labels = dict(zip(toys.reference.rows.tolist(), toys.reference.labels.tolist(), strict=True))
    for name in (proposal.name for proposal in ALL):
        rows = [row for row, drawn in zip(found.failures.seed, found.failures.proposal, strict=True) if drawn == name]
        assert {labels[row] for row in rows} == ({0, 2} if name == "style_transfer" else {LABEL})


def test_the_score_is_the_probability_of_the_answer(case):
    _, found, _ = case
    assert list(found.failures.scores) == ["misclassified", "read_as", "keeps_label"]
    assert np.array_equal(found.failures.scores["read_as"], found.failures.scores["misclassified"])


def test_the_gate_follows_the_one_on_predictions_wherever_that_stands(tmp_path):
    settings = replace(FOCUSED, gates=FOCUSED.gates[::-1])
    found = Toys(classifier=TwoWays()).run(tmp_path, settings)
    assert [name for name, *_ in found.search.gates] == ["reconstructs", "keeps_label", "misclassified", "read_as"]


def test_a_focused_search_goes_on_where_it_stopped(case, tmp_path):
    _, found, _ = case
    Toys(classifier=TwoWays()).run(tmp_path, FOCUSED)
    (tmp_path / "shard-2.parquet").unlink()
    again = Toys(classifier=TwoWays()).run(tmp_path, FOCUSED)
    assert np.array_equal(again.failures.z, found.failures.z)
    assert again.search.gates == found.search.gates


def test_indices_mean_the_same_as_names(case, tmp_path):
    _, found, _ = case
    again = Toys(classifier=TwoWays()).run(tmp_path, replace(FOCUSED, focus="1:0"))
    assert np.array_equal(again.failures.z, found.failures.z)


@pytest.mark.parametrize(
    ("focus", "expected"),
    [
        ("b", "expected LABEL:ANSWER"),
        ("b:d", "unknown class 'd'; use one of the 3 class names, or 0 to 2"),
        ("3:b", "unknown class '3'"),
        ("b:1", "expected two different classes, got 'b:1'"),
    ],
)
def test_bad_input_focus(tmp_path, focus, expected):
    toys = Toys()
    with pytest.raises(ConfigError) as caught:
        toys.run(tmp_path, replace(SETTINGS, focus=focus))
    assert str(caught.value).startswith(f"identify.focus: {expected}")
    assert not toys.generator.batches
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("proposal", "gone"), [(PosteriorNoise(), {LABEL}), (BetaNoise(), {LABEL}), (StyleTransfer(), {0, 2})]
)
def test_bad_input_focus_without_a_seed(tmp_path, proposal, gone):
    images = Toys().reference
    toys = Toys(reference=images.take(~np.isin(images.labels, list(gone))))
    expected = rf"identify\.focus: {proposal.name} finds no reference image to draw 'b' from; drop it from"
    with pytest.raises(ConfigError, match=expected):
        replace(FOCUSED, proposals=(proposal,)).focus_on(toys.reference)
    with pytest.raises(ConfigError, match=expected):
        toys.run(tmp_path, replace(FOCUSED, proposals=(proposal,)))
    assert list(tmp_path.iterdir()) == []


def test_bad_input_focus_without_a_seed_that_reconstructs(tmp_path):
    images = Toys().reference
    pixels = images.images.copy()
    pixels[images.labels == LABEL, 0, 0, 0] = 140
    toys = Toys(reference=replace(images, images=pixels))
    with pytest.raises(ConfigError, match="no reference image that survives its reconstruction to draw 'b' from"):
        toys.run(tmp_path, FOCUSED)
    assert list(tmp_path.iterdir()) == []
    styles = replace(FOCUSED, proposals=(StyleTransfer(),))
    assert styles.focus_on(toys.reference) is not None
    assert toys.run(tmp_path, styles).search.candidates == FOCUSED.budget


def test_no_focus_is_none():
    assert SETTINGS.focus_on(Toys().reference) is None
    assert CLASSES[FOCUSED.focus_on(Toys().reference).label] == "b"
