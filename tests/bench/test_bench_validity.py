import numpy as np
import pytest
import torch

from defuse.bench.oracle import SURE, Neighbours, Oracle, known_to_oracles
from defuse.bench.table import validity_lines
from defuse.bench.validity import RegionValidity, Validity, gathered, look, pooled, purity, results
from defuse.data import SignSettings, render
from defuse.errors import ConfigError
from defuse.judges import Judge
from defuse.pipeline import Run
from defuse.pixels import to_pixels
from defuse.records import LabelledImages, Splits
from defuse.rundir import write_json
from tiny_run import NAMES, draw, make_finished, make_tiny


def labelled(count, seed):
    images, labels = draw(count, np.random.default_rng(seed))
    return LabelledImages(images[..., None], labels.astype(np.int64), NAMES, np.arange(count))


class Told(Judge):
    """Reads the first pixel: the probability, in 255ths, that it gives to class 0."""

    def _probabilities(self, pixels):
        own = pixels[:, 0, 0, 0]
        return torch.stack([own, 1 - own], dim=1)


def told(values, labels):
    images = np.zeros((len(values), 4, 4, 1), dtype=np.uint8)
    images[:, 0, 0, 0] = np.round(255 * np.array(values))
    return LabelledImages(images, np.array(labels), ("left", "right"), np.arange(len(values)))


@pytest.mark.parametrize(
    ("values", "labels", "sure", "confirmed"),
    [
        ([0.9, 0.8, 0.1], [0, 0, 1], SURE, 3),
        ([0.9, 0.8, 0.6, 0.1], [0, 0, 1, 1], 0.8, 3),
        ([0.9, 0.8], [1, 1], 1.0, 0),
    ],
)
def test_an_oracle_is_sure_from_where_its_answers_on_held_out_images_are_right(values, labels, sure, confirmed):
    oracle = Oracle.fitted(Told(), told(values, labels))
    assert oracle.sure == pytest.approx(sure, abs=1 / 255)
    assert (oracle.held_out.successes, oracle.held_out.trials) == (confirmed, len(values))


def test_an_oracle_confirms_what_it_is_sure_of():
    oracle = Oracle.fitted(Told(), told([0.9, 0.8, 0.6, 0.1], [0, 0, 1, 1]))
    images = told([0.95, 0.7, 0.05], [0, 0, 0]).images
    assert oracle.confirms(images, np.array([0, 0, 1])).tolist() == [True, False, True]
    assert oracle.confirms(images[:0], np.array([], dtype=np.int64)).tolist() == []


def test_neighbours_are_those_with_the_same_outlines():
    judge = Neighbours(labelled(300, 0))
    fresh = labelled(90, 1)
    shares = judge.probabilities(to_pixels(fresh.images)).numpy()
    assert shares.shape == (90, 3)
    assert np.allclose(shares.sum(axis=1), 1)
    assert (shares.argmax(axis=1) == fresh.labels).mean() > 0.9


def test_a_class_that_was_never_seen_has_no_neighbours():
    seen = labelled(90, 0)
    shares = Neighbours(seen.take(seen.labels != 1)).probabilities(to_pixels(labelled(30, 1).images))
    assert shares.shape == (30, 3)
    assert not shares[:, 1].any()


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    base, folder = tmp_path_factory.getbasetemp(), tmp_path_factory.mktemp("validity")
    with Run(make_tiny(base).build(), make_finished(base).copy(folder / "run")) as run:
        return look(run, folder / "oracles", epochs=1), run.regions, run.identified, folder


def test_every_reported_region_and_every_proposal_is_looked_at(scored):
    run, regions, identified, _ = scored
    assert (run.data, run.preset) == ("bars", "default")
    assert [region.region for region in run.regions] == [region.name for region in regions.reported]
    assert [(part.proposal, part.kept) for part in run.proposals] == [
        (count.proposal, count.kept) for count in identified.search.counts
    ]
    assert set(run.oracles) == {"networks", "neighbours"}
    for part in (*run.regions, *run.proposals):
        assert part.both <= min(part.networks, part.neighbours) <= part.failing


def test_the_same_run_scores_the_same_again(scored, tmp_path_factory):
    run, _, _, folder = scored
    with Run(make_tiny(tmp_path_factory.getbasetemp()).build(), folder / "run") as again:
        seen = look(again, folder / "oracles", epochs=1)
    assert seen.model_copy(update={"seconds": run.seconds}) == run


def region(failing, networks, neighbours, both, name="r001", label="a", predicted="b"):
    return RegionValidity(
        region=name,
        label=label,
        predicted=predicted,
        failing=failing,
        networks=networks,
        neighbours=neighbours,
        both=both,
    )


def test_figures_are_over_all_samples_and_all_regions(scored):
    run = scored[0].model_copy(
        update={
            "regions": (
                region(10, 9, 8, 8),
                region(30, 15, 20, 10, "r002", predicted="c"),
                region(10, 10, 5, 5, "r003"),
            )
        }
    )
    assert pooled(run.regions).model_dump() == {"failing": 50, "networks": 34, "neighbours": 33, "both": 23}
    assert purity(run.regions) == pytest.approx(2 / 3)
    figures = results([run], "defuse bench validity run")["figures"]
    head = "validity.bars.default.seed3"
    assert figures[f"{head}.real_bug_rate"] == pytest.approx(34 / 50)
    assert figures[f"{head}.real_bug_rate_both"] == pytest.approx(23 / 50)
    assert figures[f"{head}.real_bug_rate_low"] < 34 / 50
    assert figures[f"{head}.distinct_pairs"] == 2
    assert figures[f"{head}.regions"] == 3


def test_a_run_without_regions_has_no_rate(scored):
    run = scored[0].model_copy(update={"regions": (), "proposals": ()})
    figures = results([run], "")["figures"]
    assert not any("real_bug_rate" in name or "purity" in name for name in figures)
    assert "nothing to look at" in validity_lines(run)[1]


def test_results_join_those_of_other_presets_and_replace_their_own(scored, tmp_path):
    run, path = scored[0], tmp_path / "validity.json"
    paper = run.model_copy(update={"preset": "paper"})
    write_json(path, results([run, paper], "before"))
    newer = run.model_copy(update={"commit": "newer"})
    assert gathered(path, [newer]) == [newer, paper]
    assert all(isinstance(one, Validity) for one in gathered(path, []))
    path.write_text('{"figures": {}}')
    with pytest.raises(ConfigError, match="something else than results"):
        gathered(path, [run])


def test_oracles_of_rendered_signs_learn_from_renders_of_their_own(monkeypatch):
    monkeypatch.setattr("defuse.bench.oracle.RENDERS", 30)
    images = render(SignSettings(), 20, seed=1).images
    splits = Splits(images, images, images)
    assert known_to_oracles("mnist.npz", splits) is splits
    learned = known_to_oracles("signs", splits)
    assert len(learned.reference) == 30
    assert learned.test is images
    assert not {one.tobytes() for one in learned.reference.images} & {one.tobytes() for one in images.images}
