"""Bars of two directions, and a generator that loses nothing."""

import numpy as np
import pytest
import torch

from defuse.classifiers.outlines import Outlines
from defuse.generators import Generator, Posterior
from defuse.judges import JudgePanel, Judges, TypicalityJudge, Unanimous
from defuse.judges.conformal import conformal
from defuse.judges.panel import JudgeTraining
from defuse.judges.shapes import Shapes
from defuse.pixels import to_pixels
from defuse.records import LabelledImages, Splits

SIDE = 16


class Faithful(Generator):
    """Its codes are the pixels."""

    latent, conditional, image_shape = SIDE * SIDE, True, (SIDE, SIDE, 1)

    def encode(self, pixels, labels):
        del labels
        return Posterior(pixels.flatten(1), torch.ones(len(pixels), self.latent))

    def decode(self, z, labels, seed=None):
        del labels, seed
        return z.view(-1, 1, SIDE, SIDE)


def bars(count, label, seed, *, light=(120, 240), both=False, first=0):
    """Bars that lie (class 0) or stand (class 1), or one of each, on a ground with a little noise."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 8, (count, SIDE, SIDE, 1), dtype=np.uint8)
    for image in images:
        start, width, value = rng.integers(4, 9), rng.integers(2, 4), rng.integers(*light)
        if both or label == 0:
            image[start : start + width, 3:13] = value
        if both or label == 1:
            image[3:13, start : start + width] = value
    return LabelledImages(images, np.full(count, label), ("lies", "stands"), np.arange(first, first + count))


KNOWN = LabelledImages.concatenate([bars(60, 0, 0), bars(60, 1, 1, first=60)])
HELD_OUT = LabelledImages.concatenate([bars(40, 0, 2, first=200), bars(40, 1, 3, first=240)])


def p_values(judged, known=KNOWN, held_out=HELD_OUT):
    found = Shapes(Faithful(), known, held_out)
    return found.p_values(to_pixels(judged.images), torch.from_numpy(judged.labels))


def nearest(images, known):
    """Distances by hand, one image at a time."""
    near, far = (Outlines()(to_pixels(part)).double().numpy() for part in (known, images))
    return np.array([np.sqrt(np.square(one - near).sum(axis=1).min()) for one in far])


def test_p_values_are_those_counted_by_hand():
    fresh = LabelledImages.concatenate([bars(20, 0, 4), bars(20, 0, 5, both=True)])
    known, held_out = (part.images[part.labels == 0] for part in (KNOWN, HELD_OUT))
    usual = nearest(held_out, known)
    by_hand = [(1 + (usual >= each - 1e-4).sum()) / 41 for each in nearest(fresh.images, known)]
    assert p_values(fresh).numpy() == pytest.approx(by_hand, abs=1.5 / 41)


def test_a_crossed_bar_has_no_usual_shape_and_a_dark_one_has():
    assert p_values(bars(30, 0, 4, both=True)).max() < 0.06
    assert p_values(bars(30, 0, 5, light=(100, 110))).median() > 0.2


def test_a_shape_is_compared_with_its_own_class_alone():
    lying = bars(30, 0, 6)
    stands = LabelledImages(lying.images, np.ones(30, dtype=np.int64), lying.class_names, lying.rows)
    assert p_values(lying).median() > 0.3
    assert p_values(stands).max() < 0.06


def test_a_held_out_image_among_the_known_is_not_compared_with_itself():
    fresh = bars(30, 0, 7)
    alone = KNOWN.take(KNOWN.labels == 0)
    again = p_values(fresh, alone, alone)
    found = Outlines()(to_pixels(alone.images))
    apart = torch.cdist(found, found).fill_diagonal_(torch.inf).amin(dim=1).sort().values
    expected = conformal(-torch.cdist(Outlines()(to_pixels(fresh.images)), found).amin(dim=1), (-apart).sort().values)
    assert again.tolist() == pytest.approx(expected.tolist(), abs=1.5 / 61)


def test_where_nothing_is_known_or_held_out_every_shape_is_usual():
    fresh, none = bars(5, 0, 8), KNOWN.take(KNOWN.labels > 1)
    assert p_values(fresh, none).tolist() == [1.0] * 5
    assert p_values(fresh, KNOWN, none).tolist() == [1.0] * 5
    assert p_values(fresh.take(fresh.labels > 0)).tolist() == []


def test_conformal_p_values_by_hand():
    usual = torch.tensor([1.0, 2.0, 2.0, 5.0])
    found = conformal(torch.tensor([0.0, 1.0, 2.0, 4.9, 9.0]), usual)
    assert found.tolist() == pytest.approx([1 / 5, 2 / 5, 4 / 5, 4 / 5, 1.0])
    assert conformal(torch.tensor([3.0]), torch.zeros(0)).tolist() == [1.0]


@pytest.mark.parametrize("shapes", [True, False])
def test_a_panel_looks_at_shapes_where_the_settings_say_so(shapes):
    judge = Unanimous(())
    splits = Splits(KNOWN, HELD_OUT, HELD_OUT)
    crossed = bars(10, 0, 4, both=True)
    looked = JudgePanel(judge, judge, (), shapes=shapes).gate_with(Faithful(), splits)
    assert isinstance(looked, TypicalityJudge)
    found = looked.shapes.p_values(to_pixels(crossed.images), torch.from_numpy(crossed.labels))
    assert bool(found.max() < 0.06) == shapes
    assert bool(found.min() == 1.0) != shapes


@pytest.mark.parametrize(("asked", "grey", "colour"), [(None, True, False), (True, True, True), (False, False, False)])
def test_left_open_outlines_are_looked_at_in_grey_images_alone(tmp_path, asked, grey, colour):
    judges = Judges(gate=("cnn",), label=("cnn",), training=JudgeTraining(epochs=1), shapes=asked)
    for channels, expected in ((1, grey), (3, colour)):
        images = LabelledImages(np.repeat(KNOWN.images, channels, axis=3), KNOWN.labels, KNOWN.class_names, KNOWN.rows)
        panel = judges.fit(images, images, seed=0, folder=tmp_path / str(channels))
        assert panel.shapes is expected
