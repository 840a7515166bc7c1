from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from identify_toys import (
    BRIGHT,
    CLEAR,
    LOGIT,
    SETTINGS,
    STD,
    SURE,
    ToyClassifier,
    ToyGenerator,
    ToyJudge,
    Toys,
    draws,
    levels,
    reference,
    stored,
)
from pydantic import ValidationError

from defuse.errors import ConfigError, GeneratorError, RunError
from defuse.identify import BetaNoise, GradientSearch, Identify, PosteriorNoise, Reconstructs, Seeds, StyleTransfer
from defuse.judges import KeepsLabel, Misclassified, Plausible, Screen
from defuse.pixels import quantise, to_bytes, to_pixels


def eligible(images, *, gated=True):
    """Return the seeds whose reconstruction is read rightly, by hand."""
    first_two = images.images[:, 0, :2, 0]
    kept = first_two[:, 0] <= BRIGHT if gated else np.ones(len(images), dtype=bool)
    mean = (first_two[kept] / np.float32(255)).astype(np.float32)
    return Seeds(images.rows[kept], images.labels[kept], mean, np.full_like(mean, STD), classes=3)


def expected(settings, images, *, gated=True):
    """Return (proposal, flipped, kept, draw) of every batch, counted with NumPy alone."""
    for name, draw in draws(settings, eligible(images, gated=gated)):
        values = stored(draw.z)
        flipped = values[:, 0] > BRIGHT
        yield name, flipped, flipped & (values[:, 1] >= CLEAR), draw


@pytest.fixture(scope="module", params=["gates in order", "judge first", "no seed gate", "paper's only gate"])
def case(request, tmp_path_factory):
    gates = {
        "gates in order": (Reconstructs(), Misclassified(), KeepsLabel()),
        "judge first": (Reconstructs(), KeepsLabel(), Misclassified()),
        "no seed gate": (Misclassified(), KeepsLabel()),
        "paper's only gate": (Misclassified(),),
    }[request.param]
    toys, settings = Toys(), replace(SETTINGS, gates=gates)
    found = toys.run(tmp_path_factory.mktemp("out"), settings)
    return toys, settings, found, list(expected(settings, toys.reference, gated=Reconstructs() in gates))


class TestPlantedTruth:
    def test_counts_are_those_counted_by_hand(self, case):
        _, settings, found, truth = case
        judged = any(isinstance(gate, KeepsLabel) for gate in settings.gates)
        for count in found.search.counts:
            parts = [(flip, keep if judged else flip) for name, flip, keep, _ in truth if name == count.proposal]
            assert count.candidates == sum(len(flip) for flip, _ in parts)
            assert count.flips == sum(flip.sum() for flip, _ in parts)
            assert count.kept == sum(keep.sum() for _, keep in parts)
            assert 20 < count.kept < count.candidates - 20  # neither nothing nor all
        assert [count.proposal for count in found.search.counts] == ["posterior_noise", "style_transfer"]
        assert found.search.candidates == settings.budget
        assert found.search.kept == len(found.failures)

    def test_failures_are_the_very_candidates_counted_by_hand(self, case):
        toys, settings, found, truth = case
        failures = found.failures
        judged = any(isinstance(gate, KeepsLabel) for gate in settings.gates)
        seeds = eligible(toys.reference, gated=Reconstructs() in settings.gates)
        passed = [(name, keep if judged else flip, draw) for name, flip, keep, draw in truth]
        label = np.concatenate([draw.label[mask] for _, mask, draw in passed])
        assert np.array_equal(failures.z, np.concatenate([draw.z[mask] for _, mask, draw in passed]))
        assert np.array_equal(failures.label, label)
        assert np.array_equal(failures.predicted, (label + 1) % 3)
        assert np.array_equal(failures.seed, np.concatenate([seeds.rows[draw.seed[mask]] for _, mask, draw in passed]))
        assert failures.proposal == tuple(name for name, mask, _ in passed for _ in range(mask.sum()))

    def test_scores_are_the_closed_forms(self, case):
        _, settings, found, _ = case
        names = [gate.name for gate in settings.gates if not isinstance(gate, Reconstructs)]
        assert list(found.failures.scores) == names
        certainty = np.exp(LOGIT) / (np.exp(LOGIT) + 2)
        for name, value in {"misclassified": certainty, "keeps_label": SURE}.items():
            if name in names:
                np.testing.assert_allclose(found.failures.scores[name], value, rtol=1e-6)
                assert len(found.failures.scores[name]) == len(found.failures)

    def test_every_stored_failure_is_one_when_decoded_stored_and_read_anew(self, case):
        toys, settings, found, _ = case
        labels = torch.from_numpy(found.failures.label)
        images = to_bytes(toys.generator.decode(torch.from_numpy(found.failures.z), labels))
        assert np.array_equal(toys.classifier.predict(images), found.failures.predicted)
        assert (found.failures.predicted != found.failures.label).all()
        if any(isinstance(gate, KeepsLabel) for gate in settings.gates):
            assert Screen(settings.label_gates, toys.judge).keeps(to_pixels(images), labels).all()

    def test_gates_are_listed_in_order_and_see_what_earlier_ones_passed(self, case):
        toys, settings, found, truth = case
        flips = sum(int(flip.sum()) for _, flip, _, _ in truth)
        clear = sum(int((stored(draw.z)[:, 1] >= CLEAR).sum()) for _, _, _, draw in truth)
        kept = sum(int(keep.sum()) for _, _, keep, _ in truth)
        by_hand = {
            Reconstructs(): ("reconstructs", len(toys.reference), len(eligible(toys.reference))),
            Misclassified(): ("misclassified", settings.budget, flips),
            KeepsLabel(): ("keeps_label", flips, kept),
        }
        if KeepsLabel() in settings.gates[:-1]:
            by_hand |= {
                KeepsLabel(): ("keeps_label", settings.budget, clear),
                Misclassified(): ("misclassified", clear, kept),
            }
        assert found.search.gates == tuple(by_hand[gate] for gate in settings.gates)

    def test_nobody_is_asked_more_often_than_needed(self, tmp_path):
        toys = Toys()
        found = toys.run(tmp_path)
        assert toys.judge.asked == found.search.flips
        assert toys.classifier.asked == len(toys.reference) + SETTINGS.budget


class TestDetail:
    """Real images have a speckle in the fourth pixel, which the generator never draws."""

    SPECKLE = 60

    class Speckled(ToyClassifier):
        def misreads(self, pixels):
            return levels(pixels)[:, 3] > TestDetail.SPECKLE - 1

    def toys(self, **parts):
        images = reference()
        images.images[:, 0, 3, 0] = self.SPECKLE
        return Toys(reference=images, classifier=self.Speckled(), **parts)

    @pytest.mark.parametrize("detail", [False, True])
    def test_candidates_are_classified_in_the_detail_of_real_images(self, tmp_path, detail):
        """A seed's own code is drawn as the seed was, whose image lends what it lost."""
        settings = replace(SETTINGS, proposals=(PosteriorNoise(scale=1e-6),), detail=detail)
        toys = self.toys()
        found = toys.run(tmp_path, settings)
        assert found.search.flips == (settings.budget if detail else 0)
        assert found.search.kept == len(found.failures)
        z, labels = torch.from_numpy(found.failures.z), torch.from_numpy(found.failures.label)
        pixels = quantise(settings.renderer(toys.reference, toys.generator).render(z, labels).pixels)
        assert toys.classifier.misreads(pixels).all(), "made again from their codes"

    def test_a_gate_that_compares_with_reconstructions_sees_what_was_drawn(self, tmp_path):
        seen = []

        class Usual(ToyJudge):
            def plausibility(self, pixels, labels):
                seen.append(levels(pixels)[:, 3])
                return torch.ones(len(labels))

        settings = replace(SETTINGS, gates=(*SETTINGS.gates, Plausible()), detail=True)
        found = self.toys(judge=Usual()).run(tmp_path, settings)
        assert len(found.failures) > 0
        assert (torch.cat(seen) == 0).all()


class TestQuantisation:
    """A failure counts on the 8-bit image, and on nothing else."""

    class OffTheGrid(ToyClassifier):
        """Misreads images that no 8-bit file can hold."""

        def misreads(self, pixels):
            values = pixels[:, 0, 0, 0] * 255
            return (values - values.round()).abs() > 1e-3

    class OnTheGrid(OffTheGrid):
        """Misreads images that an 8-bit file can hold, grey ones apart so that seeds reconstruct."""

        def misreads(self, pixels):
            return ~super().misreads(pixels) & (pixels[:, 0, 0, 0] > (BRIGHT + 0.5) / 255)

    def test_failures_that_vanish_in_storage_do_not_count(self, tmp_path):
        toys = Toys(classifier=self.OffTheGrid())
        found = toys.run(tmp_path)
        raw = torch.cat(
            [torch.from_numpy(draw.z) for _, draw in draws(SETTINGS, eligible(toys.reference, gated=False))]
        )
        images = toys.generator.decode(raw, torch.zeros(len(raw), dtype=torch.int64))
        assert toys.classifier.misreads(images).float().mean() > 0.9  # nearly every candidate fails before storage
        assert found.search.flips == 0
        assert len(found.failures) == 0

    def test_failures_that_arise_in_storage_count(self, tmp_path):
        toys = Toys(classifier=self.OnTheGrid())
        found = toys.run(tmp_path)
        codes = torch.from_numpy(found.failures.z)
        inside = (codes[:, 0] > 0) & (codes[:, 0] < 1)
        raw = toys.generator.decode(codes[inside], torch.zeros(int(inside.sum()), dtype=torch.int64))
        assert len(raw) > 20
        assert toys.classifier.misreads(raw).float().mean() < 0.1

    def test_images_beyond_black_and_white_are_clipped_first(self, tmp_path):
        class Range(ToyClassifier):
            def misreads(self, pixels):
                return ((pixels < 0) | (pixels > 1)).any(dim=(1, 2, 3))

        settings = replace(SETTINGS, proposals=(BetaNoise(scale=10),))
        assert Toys(classifier=Range()).run(tmp_path, settings).search.flips == 0


class TestBudget:
    @pytest.mark.parametrize(
        ("budget", "shard_size", "batch_size"),
        [(1, 5, 3), (2, 1, 1), (23, 5, 100), (24, 6, 6), (100, 100, 7), (101, 10, 4), (7, 1000, 1000)],
    )
    @pytest.mark.parametrize("kinds", [1, 2, 3])
    def test_the_budget_is_spent_to_the_last_candidate_in_equal_parts(
        self, tmp_path, budget, shard_size, batch_size, kinds
    ):
        proposals = (PosteriorNoise(), StyleTransfer(), BetaNoise())[:kinds]
        sizing = {"budget": budget, "rounds": 1, "shard_size": shard_size, "batch_size": batch_size}
        settings = Identify(**sizing, proposals=proposals, detail=False)
        toys = Toys()
        found = toys.run(tmp_path, settings)
        sizes = [settings.candidates(shard) for shard in range(settings.shards)]
        assert sum(sizes) == found.search.candidates == budget
        assert 1 <= min(sizes) <= max(sizes) <= min(shard_size, min(sizes) + 1)
        assert len(list(tmp_path.iterdir())) == settings.shards
        spent = [count.candidates for count in found.search.counts]
        if budget >= kinds:
            assert len(spent) == kinds
            assert max(spent) - min(spent) <= settings.shards // kinds
        assert max(toys.generator.batches) <= batch_size

    def test_the_shipped_budget_makes_shards_of_the_size_that_was_asked_for(self):
        settings = Identify()
        assert {settings.candidates(shard) for shard in range(settings.shards)} == {settings.shard_size}

    def test_no_failures_are_fine(self, tmp_path):
        class Perfect(ToyClassifier):
            def misreads(self, pixels):
                return torch.zeros(len(pixels), dtype=torch.bool)

        found = Toys(classifier=Perfect()).run(tmp_path)
        assert found.failures.z.shape == (0, 2)
        assert found.search.kept == 0
        assert found.search.gates[-1] == ("keeps_label", 0, 0)


def test_the_seed_decides(tmp_path):
    first, again, other = (
        Toys().run(tmp_path / name, seed=seed) for name, seed in {"first": 7, "again": 7, "other": 8}.items()
    )
    assert np.array_equal(first.failures.z, again.failures.z)
    assert not np.array_equal(first.failures.z[:5], other.failures.z[:5])
    rows = {tuple(row) for row in first.failures.z.tolist()}
    assert len(rows) == len(first.failures)  # no two shards draw the same


def test_progress_tells_counts_after_every_shard(tmp_path):
    told = []
    found = Toys().run(tmp_path, progress=lambda *told_now: told.append(told_now))
    shards = [done for task, done, *_ in told if task == "identify"]
    assert shards == list(range(1, SETTINGS.shards + 1))
    assert {total for task, _, total, *_ in told if task == "identify"} == {SETTINGS.shards}
    share = 100 * found.search.kept / SETTINGS.budget
    assert told[-1][3] == f"{found.search.flips} flips, {found.search.kept} kept ({share:.2f} %)"


def test_the_search_s_own_gates_on_images_serve_the_evidence():
    gates = (KeepsLabel(threshold=0.7), Plausible(level=0.1))
    assert replace(SETTINGS, gates=(Reconstructs(), Misclassified(), *gates)).label_gates == gates
    assert replace(SETTINGS, gates=(Misclassified(),)).label_gates == (KeepsLabel(),)


class TestBadInput:
    def test_bad_input_style_transfer_without_a_conditional_generator(self, tmp_path):
        toys = Toys(generator=ToyGenerator(conditional=False))
        with pytest.raises(ConfigError, match=r"identify\.proposals: style_transfer needs a conditional generator"):
            toys.run(tmp_path)
        assert list(tmp_path.iterdir()) == []
        unconditional = replace(SETTINGS, proposals=(PosteriorNoise(),))
        assert toys.run(tmp_path, unconditional).search.candidates == SETTINGS.budget

    def test_bad_input_plausible_without_a_conditional_generator(self, tmp_path):
        gates = (Misclassified(), Plausible())
        settings = replace(SETTINGS, gates=gates, proposals=(PosteriorNoise(),))
        with pytest.raises(ConfigError, match=r"identify\.gates: plausible needs a conditional generator"):
            Toys(generator=ToyGenerator(conditional=False)).run(tmp_path, settings)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("gates", [(KeepsLabel(),), (Reconstructs(),)])
    def test_bad_input_without_the_gate_on_predictions(self, tmp_path, gates):
        with pytest.raises(ConfigError, match=r"identify\.gates: expected a gate of kind misclassified"):
            Toys().run(tmp_path, replace(SETTINGS, gates=gates))
        assert list(tmp_path.iterdir()) == []

    def test_a_black_box_is_searched_without_gradients_and_that_is_said(self, tmp_path, caplog):
        with_gradients = replace(SETTINGS, proposals=(*SETTINGS.proposals, GradientSearch()))
        found = Toys().run(tmp_path / "with", with_gradients)
        assert caplog.messages == ["identify: without gradient_search, since the classifier has no gradients"]
        assert np.array_equal(found.failures.z, Toys().run(tmp_path / "without").failures.z)

    def test_bad_input_nothing_but_gradients_for_a_black_box(self, tmp_path):
        with pytest.raises(ConfigError, match="gradient_search needs a classifier with gradients, got ToyClassifier"):
            Toys().run(tmp_path, replace(SETTINGS, proposals=(GradientSearch(),)))
        assert list(tmp_path.iterdir()) == []

    def test_bad_input_gate_twice(self, tmp_path):
        gates = (Misclassified(), KeepsLabel(threshold=0.5), KeepsLabel(threshold=0.9))
        with pytest.raises(ConfigError, match="keeps_label more than once"):
            Toys().run(tmp_path, replace(SETTINGS, gates=gates))

    @pytest.mark.parametrize("gates", [(Reconstructs(), Misclassified()), (Misclassified(),)])
    def test_bad_input_generator_that_reconstructs_nothing(self, tmp_path, gates):
        class Blind(ToyClassifier):
            def misreads(self, pixels):
                return torch.ones(len(pixels), dtype=torch.bool)

        with pytest.raises(GeneratorError, match="reads no reconstruction as its label"):
            Toys(classifier=Blind()).run(tmp_path, replace(SETTINGS, gates=gates))
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        "change",
        [
            {"budget": 0},
            {"shard_size": 0},
            {"batch_size": -1},
            {"budget": 1.5},
            {"proposals": ()},
            {"gates": ()},
            {"proposals": ({"kind": "gaussian"},)},
            {"proposals": ({"kind": "beta_noise", "c": 1},)},
            {"gates": ({"kind": "keeps_label", "threshold": 1},)},
            {"buget": 10},
        ],
    )
    def test_bad_input_settings(self, change):
        with pytest.raises(ValidationError):
            Identify(**change)

    @pytest.mark.parametrize("damage", ["empty", "cut", "text", "folder", "foreign", "no counts"])
    def test_bad_input_damaged_shard(self, tmp_path, damage):
        Toys().run(tmp_path)
        path = tmp_path / "shard-2.parquet"
        whole = path.read_bytes()
        path.unlink()
        {
            "empty": lambda: path.write_bytes(b""),
            "cut": lambda: path.write_bytes(whole[: len(whole) // 2]),
            "text": lambda: path.write_text("PAR1 no more PAR1"),
            "folder": path.mkdir,
            "foreign": lambda: pq.write_table(pa.table({"x": [1]}), path),
            "no counts": lambda: pq.write_table(
                pa.table({"seed": [1]}).replace_schema_metadata({b"defuse": b"[]"}), path
            ),
        }[damage]()
        with pytest.raises(RunError, match=r"shard-2\.parquet: damaged shard .*remove it and run again") as caught:
            Toys().run(tmp_path)
        assert "\n" not in str(caught.value)
