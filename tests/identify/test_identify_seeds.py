import numpy as np
import pytest
from identify_toys import BRIGHT, STD, ToyClassifier, ToyGenerator, reference
from scipy.stats import chisquare

from defuse.identify import Seeds, encode_seeds


@pytest.fixture
def seeds():
    labels = np.array([2, 0, 0, 2, 2, 2, 0, 2, 2], dtype=np.int64)  # class 1 has none, class 0 comes late
    mean = np.arange(18, dtype=np.float32).reshape(9, 2)
    return Seeds(100 + np.arange(9), labels, mean, np.ones_like(mean), classes=3)


EVERYWHERE = np.ones(9, dtype=bool)


def test_uniform_draws_take_every_image_equally_often(seeds):
    drawn = seeds.draw_uniformly(9_000, np.random.default_rng(0), EVERYWHERE)
    assert chisquare(np.bincount(drawn, minlength=9)).pvalue > 1e-3
    assert np.array_equal(drawn, np.random.default_rng(0).integers(9, size=9_000))
    some = np.arange(9) % 2 == 1
    few = seeds.draw_uniformly(9_000, np.random.default_rng(0), some)
    assert chisquare(np.bincount(few, minlength=9)[some]).pvalue > 1e-3
    assert some[few].all()


def test_balanced_draws_take_every_present_class_and_its_images_equally_often(seeds):
    drawn = seeds.draw_balanced(9_000, np.random.default_rng(0), EVERYWHERE)
    per_image = np.bincount(drawn, minlength=9)
    expected = np.where(seeds.labels == 0, 9_000 / 2 / 3, 9_000 / 2 / 6)
    assert chisquare(per_image, expected).pvalue > 1e-3


def test_balanced_draws_among_some_images_leave_out_the_others(seeds):
    some = np.isin(np.arange(9), (2, 3, 5, 8))  # one of class 0, three of class 2
    drawn = seeds.draw_balanced(9_000, np.random.default_rng(0), some)
    per_image = np.bincount(drawn, minlength=9)
    assert chisquare(per_image[some], [4_500, 1_500, 1_500, 1_500]).pvalue > 1e-3
    assert some[drawn].all()
    assert set(seeds.draw_balanced(900, np.random.default_rng(0), seeds.labels == 0)) == {1, 2, 6}


def test_take_keeps_rows_labels_and_codes_together(seeds):
    taken = seeds.take(seeds.labels == 0)
    assert taken.rows.tolist() == [101, 102, 106]
    assert np.array_equal(taken.mean, seeds.mean[[1, 2, 6]])
    assert taken.classes == 3
    assert len(taken) == 3


def test_a_reconstruction_is_read_as_it_would_be_stored():
    class Between(ToyGenerator):
        """Draws each value three tenths of a level too bright."""

        def decode(self, z, labels, seed=None):
            return super().decode(z, labels, seed) + 0.3 / 255

    class OnlyStored(ToyClassifier):
        def misreads(self, pixels):
            values = pixels[:, 0, 0, 0] * 255
            return (values - values.round()).abs() > 1e-3

    _, mask = encode_seeds(reference(), Between(), OnlyStored(), batch=20)
    assert mask.all()


@pytest.mark.parametrize("batch", [1, 7, 60, 1000])
def test_codes_and_survivors_are_those_of_the_images_whatever_the_batch(batch):
    images, told = reference(), []
    seeds, mask = encode_seeds(
        images, ToyGenerator(), ToyClassifier(), batch=batch, progress=lambda *now: told.append(now)
    )
    values = images.images[:, 0, :2, 0]
    assert np.array_equal(seeds.mean, values / np.float32(255))
    assert np.array_equal(seeds.std, np.full((60, 2), STD, np.float32))
    assert np.array_equal(seeds.rows, images.rows)
    assert np.array_equal(seeds.labels, images.labels)
    assert np.array_equal(mask, values[:, 0] <= BRIGHT)
    assert 0 < mask.sum() < len(mask)
    assert told[-1][1:3] == (60, 60)
