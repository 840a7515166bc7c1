"""What every classifier must do, whatever is behind it: one row per implementation."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

from defuse.classifiers import NETWORKS, CallableClassifier, Classifier, TorchClassifier, build_network
from defuse.pixels import to_pixels
from defuse.records import LabelledImages, Rate

CLASSES = 5
NAMES = tuple("abcde")
SHAPE = (20, 16, 3)


@dataclass(frozen=True)
class Row:
    name: str
    make: Callable[[], Classifier]
    finetunable: bool = True


def linear(inputs: int) -> nn.Module:
    generator = torch.Generator().manual_seed(3)
    module = nn.Sequential(nn.Flatten(), nn.Linear(inputs, CLASSES))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return module


def lively(name: str) -> nn.Module:
    """A built-in network whose batch-norm statistics are not the trivial ones, left in training mode."""
    module = build_network(name, 3, CLASSES, 20, seed=1)
    module.train()
    with torch.no_grad():
        module(torch.rand(32, 3, 20, 16, generator=torch.Generator().manual_seed(4)) * 0.5)
    return module


def built_in(name: str) -> Row:
    return Row(name, lambda: TorchClassifier(lively(name), NAMES))


def scores(images):
    """A black box: sums of the image's rows."""
    return images.astype(np.float64).mean(axis=(2, 3))[:, :CLASSES]


def shares(images):
    return torch.softmax(torch.from_numpy(scores(images) / 255), dim=1)


ROWS = [
    *map(built_in, NETWORKS),
    Row("linear", lambda: TorchClassifier(linear(20 * 16 * 3), NAMES, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))),
    Row("resized-grey", lambda: TorchClassifier(linear(8 * 9), NAMES, input_size=(8, 9), channels=1, mean=[0.4])),
    Row("double", lambda: TorchClassifier(linear(20 * 16 * 3), NAMES, dtype=torch.float64)),
    Row("callable-numpy", lambda: CallableClassifier(scores, NAMES), finetunable=False),
    Row("callable-tensor", lambda: CallableClassifier(shares, NAMES, outputs="probabilities"), finetunable=False),
]

every = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
trainable = pytest.mark.parametrize("row", [row for row in ROWS if row.finetunable], ids=lambda row: row.name)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, size=(7, *SHAPE), dtype=np.uint8)


@every
def test_shape_and_dtype(row, images):
    classifier = row.make()
    logits = classifier.logits(to_pixels(images))
    assert logits.shape == (7, CLASSES)
    assert logits.dtype == torch.float32
    assert logits.device == torch.device("cpu")
    assert classifier.predict_logits(images).dtype == np.float32
    answers = classifier.predict(images)
    assert answers.shape == (7,)
    assert answers.dtype == np.int64
    assert classifier.finetunable is row.finetunable
    assert classifier.class_names == NAMES


@every
def test_no_images_give_no_answers(row, images):
    assert row.make().predict_logits(images[:0]).shape == (0, CLASSES)
    assert row.make().predict(images[:0]).shape == (0,)


@every
def test_the_same_images_give_the_same_logits(row, images):
    classifier = row.make()
    first = classifier.predict_logits(images)
    np.testing.assert_array_equal(classifier.predict_logits(images), first)
    np.testing.assert_array_equal(row.make().predict_logits(images), first)


@every
def test_an_answer_does_not_depend_on_its_batch(row, images):
    classifier = row.make()
    whole = classifier.predict_logits(images)
    np.testing.assert_allclose(classifier.predict_logits(images, batch=1), whole, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        classifier.predict_logits(images[::-1].copy(), batch=3)[::-1], whole, rtol=1e-4, atol=1e-5
    )


@every
def test_stored_images_and_pixels_give_the_same_logits(row, images):
    classifier = row.make()
    by_hand = torch.from_numpy(images.astype(np.float32) / 255).permute(0, 3, 1, 2)
    with torch.no_grad():
        logits = classifier.logits(by_hand).numpy()
    np.testing.assert_allclose(classifier.predict_logits(images), logits, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(classifier.predict(images), logits.argmax(axis=1))


@every
def test_accuracy_is_the_share_of_answers_that_are_the_label(row, images):
    classifier = row.make()
    labels = classifier.predict(images)
    labels[:3] = (labels[:3] + 1) % CLASSES
    data = LabelledImages(images, labels, NAMES, np.arange(len(images)))
    assert classifier.reads_right(data).tolist() == [False] * 3 + [True] * 4
    assert classifier.accuracy(data) == Rate(4, 7)
    assert classifier.accuracy(data.take(np.zeros(7, dtype=bool))) == Rate(0, 0)


@every
def test_pixels_are_not_changed(row, images):
    pixels = to_pixels(images)
    row.make().logits(pixels)
    assert torch.equal(pixels, to_pixels(images))


@trainable
def test_modes_are_as_before_and_batch_norm_does_not_learn(row, images):
    classifier = row.make()
    assert isinstance(classifier, TorchClassifier)
    classifier.module.train()
    frozen = list(classifier.module.modules())[-1]
    frozen.eval()
    before = {key: value.clone() for key, value in classifier.module.state_dict().items()}
    classifier.logits(to_pixels(images))
    assert all(part.training is (part is not frozen) for part in classifier.module.modules())
    assert all(torch.equal(value, before[key]) for key, value in classifier.module.state_dict().items())


@trainable
def test_the_mode_of_the_module_does_not_matter(row, images):
    classifier = row.make()
    assert isinstance(classifier, TorchClassifier)
    classifier.module.train()
    training = classifier.predict_logits(images)
    classifier.module.eval()
    np.testing.assert_array_equal(training, classifier.predict_logits(images))


@trainable
def test_gradients_reach_pixels_and_weights(row, images):
    classifier = row.make()
    assert isinstance(classifier, TorchClassifier)
    pixels = to_pixels(images).requires_grad_()
    classifier.logits(pixels).square().sum().backward()
    assert pixels.grad is not None
    assert pixels.grad.abs().sum() > 0
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in classifier.module.parameters())


@trainable
def test_another_module_gets_the_same_preprocessing(row, images):
    classifier = row.make()
    assert isinstance(classifier, TorchClassifier)
    other = classifier.with_module(row.make().module)
    np.testing.assert_array_equal(other.predict_logits(images), classifier.predict_logits(images))
    with torch.no_grad():
        as_module = classifier.as_module().eval()(to_pixels(images)).float().numpy()
    np.testing.assert_array_equal(as_module, classifier.predict_logits(images))


@trainable
def test_gradient_is_the_slope_of_the_logits(row, images):
    """Central differences in float64 along one direction; a small step avoids kinks, a little noise ties of 8 bits."""
    classifier = row.make()
    assert isinstance(classifier, TorchClassifier)
    module = classifier.module.double().eval()
    prepared = classifier.preprocess(to_pixels(images[:2]).double()).double().detach()
    rng = torch.Generator().manual_seed(5)
    direction = torch.randn(prepared.shape, generator=rng, dtype=torch.float64)
    prepared += 1e-3 * torch.randn(prepared.shape, generator=rng, dtype=torch.float64)
    prepared.requires_grad_()
    (slope,) = torch.autograd.grad(module(prepared)[:, 0].sum(), prepared)
    step = 1e-7
    with torch.no_grad():
        ends = [module(prepared + sign * step * direction)[:, 0].sum() for sign in (1, -1)]
    assert float((slope * direction).sum()) == pytest.approx(float(ends[0] - ends[1]) / (2 * step), rel=1e-4, abs=1e-6)


def test_closed_form_linear_module(images):
    mean, std = np.array([0.1, 0.2, 0.3]), np.array([0.5, 0.6, 0.7])
    module = linear(20 * 16 * 3)
    weight, bias = (parameter.detach().numpy().astype(np.float64) for parameter in module.parameters())
    inputs = ((images / 255 - mean) / std).transpose(0, 3, 1, 2).reshape(len(images), -1)
    found = TorchClassifier(module, NAMES, mean=mean.tolist(), std=std.tolist()).predict_logits(images)
    np.testing.assert_allclose(found, inputs @ weight.T + bias, rtol=1e-4, atol=1e-4)


def test_closed_form_black_box(images):
    logits = CallableClassifier(scores, NAMES).predict_logits(images)
    np.testing.assert_allclose(logits, images[:, :CLASSES].mean(axis=(2, 3)), rtol=1e-6)
    shown = []
    probabilities = np.array([[1.0, 0, 0, 0, 0], [0.1, 0.2, 0.3, 0.4, 0]])
    box = CallableClassifier(lambda x: (shown.append(x), probabilities)[1], NAMES, outputs="probabilities")
    with np.errstate(all="raise"):
        answer = box.predict_logits(images[:2])
    np.testing.assert_array_equal(shown[0], images[:2])
    assert shown[0].dtype == np.uint8
    np.testing.assert_allclose(torch.softmax(torch.from_numpy(answer), dim=1).numpy(), probabilities, atol=1e-6)


@pytest.mark.parametrize("size", [(8, 9), (40, 32), (20, 16)])
def test_resize_is_torchs_antialiased_bilinear(images, size):
    pixels = to_pixels(images)
    classifier = TorchClassifier(linear(size[0] * size[1] * 3), NAMES, input_size=size)
    expected = interpolate(pixels, size, mode="bilinear", align_corners=False, antialias=True)
    with torch.no_grad():
        torch.testing.assert_close(classifier.preprocess(pixels), expected)
        torch.testing.assert_close(classifier.logits(pixels), classifier.module(expected))


def test_grey_is_repeated_and_colour_becomes_luma(images):
    grey = to_pixels(images[..., :1])
    to_rgb = TorchClassifier(nn.Flatten(), NAMES, channels=3, mean=(0.1, 0.2, 0.3))
    expected = torch.cat([grey - 0.1, grey - 0.2, grey - 0.3], dim=1)
    torch.testing.assert_close(to_rgb.preprocess(grey), expected)
    to_grey = TorchClassifier(nn.Flatten(), NAMES, channels=1, std=(2.0,))
    luma = (images / 255) @ np.array([0.299, 0.587, 0.114]) / 2
    np.testing.assert_allclose(to_grey.preprocess(to_pixels(images))[:, 0].numpy(), luma, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(to_grey.preprocess(grey), grey / 2)
