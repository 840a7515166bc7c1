from dataclasses import replace

import numpy as np
from label_makers import make_region, make_regions

from defuse.label import crossed_out, strike, withhold_names
from defuse.records import Answer, Purpose, RegionSamples, Verdict


def says(annotator, shown, crossed, region="r001", **more):
    return Verdict(region, annotator, Answer.CLASS, 0, machine=False, time="t", shown=shown, crossed=crossed, **more)


def test_more_than_half_of_those_who_were_shown_a_tile_cross_it_out():
    verdicts = [
        says("ada", (0, 1, 2), (0, 1)),
        says("bob", (0, 1, 2, 3), (0, 3)),
        says("cy", (0,), ()),
        says("dan", (0, 1, 2, 3), (2,), adjudicates=True),
        says("ada", (4, 5), (5, 4), region="r002"),
    ]
    assert crossed_out(verdicts) == {"r001": (0, 3), "r002": (4, 5)}


def drawn(purpose, z, kept=None):
    z = np.array(z, np.float32)
    count = len(z)
    kept = np.ones(count, bool) if kept is None else np.array(kept)
    return RegionSamples("r001", purpose, np.zeros((count, 2, 2, 1), np.uint8), z, np.zeros(count, np.int64), kept)


def regions_with(covariance, tiles, *others):
    region = replace(make_region(), covariance=np.array(covariance, float))
    samples = {("r001", each.purpose): each for each in (drawn(Purpose.SHOW, tiles), *others)}
    return replace(make_regions(region), samples=samples)


def test_samples_go_with_their_nearest_tile():
    z = [[0.1, 0], [0.9, 0], [0.6, 0], [0.4, 3]]
    regions = regions_with(
        np.eye(2),
        [[0, 0], [1, 0]],
        drawn(Purpose.REPAIR, z),
        drawn(Purpose.SELECT, z, [True, True, False, True]),
        drawn(Purpose.EVIDENCE, z),
        drawn(Purpose.FINAL, [[0.9, 0]]),
    )
    struck = strike(regions, {"r001": (1,)})
    kept = {purpose: struck.samples["r001", purpose].kept.tolist() for purpose in Purpose}
    assert kept == {
        Purpose.SHOW: [True, True],
        Purpose.REPAIR: [True, False, False, True],
        Purpose.SELECT: [True, False, False, True],
        Purpose.EVIDENCE: [True] * 4,
        Purpose.FINAL: [True],
    }
    assert regions.samples["r001", Purpose.REPAIR].kept.all()


def test_near_is_meant_under_the_regions_own_covariance():
    covariance = np.array([[4.0, 1.9], [1.9, 1.0]])
    rng = np.random.default_rng(0)
    tiles, z = rng.normal(size=(6, 2)), rng.normal(size=(50, 2))
    regions = regions_with(covariance, tiles, drawn(Purpose.REPAIR, z))
    found = strike(regions, {"r001": (0, 3)}).samples["r001", Purpose.REPAIR].kept
    inverse = np.linalg.inv(covariance)
    for one, kept in zip(z.astype(np.float32), found, strict=True):
        distances = [(one - tile) @ inverse @ (one - tile) for tile in tiles.astype(np.float32)]
        assert kept == (np.argmin(distances) not in {0, 3})
    assert 0 < found.sum() < 50


def test_nothing_crossed_out_changes_nothing():
    regions = regions_with(np.eye(2), [[0, 0]], drawn(Purpose.REPAIR, [[1, 1]]))
    for crossed in ({}, {"r009": (0,)}, {"r001": (7,)}):
        struck = strike(regions, crossed)
        assert struck.samples["r001", Purpose.REPAIR].kept.tolist() == [True]


def test_names_are_withheld_of_people_alone():
    machine = Verdict("r001", "judges", Answer.CLASS, 0, machine=True, time="t")
    hidden = withhold_names([says("cy", (), ()), machine, says("ada", (), ()), says("cy", (), (), region="r002")])
    assert [verdict.annotator for verdict in hidden] == ["annotator 1", "judges", "annotator 2", "annotator 1"]
