import pytest
import torch

from defuse.generators.networks import Architecture, Autoencoder, LabelNorm


def architecture(**changes):
    defaults = {
        "image_shape": (28, 28, 1), "classes": 3, "conditional": True, "latent": 4, "width": 4, "hidden": 8,
    }  # fmt: skip
    return Architecture(**(defaults | changes))


@pytest.mark.parametrize(
    ("sides", "bottom", "padded"),
    [
        ((8, 8), (4, 4, 4), (8, 8)),
        ((28, 28), (8, 7, 7), (28, 28)),
        ((32, 32), (8, 8, 8), (32, 32)),
        ((33, 45), (16, 5, 6), (40, 48)),
        ((64, 64), (16, 8, 8), (64, 64)),
        ((128, 28), (16, 8, 2), (128, 32)),
    ],
)
def test_layout(sides, bottom, padded):
    shape = architecture(image_shape=(*sides, 1))
    assert shape.bottom == bottom
    assert shape.padded == padded


@pytest.mark.parametrize("image_shape", [(8, 8, 1), (29, 31, 1), (28, 28, 3), (33, 45, 3), (64, 64, 3)])
@pytest.mark.parametrize("conditional", [True, False])
def test_images_of_any_size_pass_through(image_shape, conditional):
    shape = architecture(image_shape=image_shape, conditional=conditional)
    network = Autoencoder(shape).eval()
    height, width, channels = image_shape
    labels = torch.tensor([0, 1, 2])
    condition = network.condition(labels)
    mean, spread = network.encoder(torch.rand(3, channels, height, width), condition)
    assert mean.shape == spread.shape == (3, 4)
    assert network.decoder(mean, condition).shape == (3, channels, height, width)


def test_padding_is_cut_off_where_it_was_put():
    """Encoder margins and decoder crop must agree: a pixel keeps its place through folding and cropping."""
    shape = architecture(image_shape=(29, 31, 1))
    left, right, top, bottom = shape.margins
    assert (left + 31 + right, top + 29 + bottom) == shape.padded[::-1]
    network = Autoencoder(shape).eval()
    full = torch.nn.functional.pixel_shuffle(torch.rand(1, 4, shape.padded[0] // 2, shape.padded[1] // 2), 2)
    network.decoder.head.forward = lambda _: torch.nn.functional.pixel_unshuffle(full, 2)
    cropped = network.decoder(torch.zeros(1, 4), network.condition(torch.tensor([0])))
    torch.testing.assert_close(torch.nn.functional.pad(cropped, shape.margins)[..., 1:30, :31], full[..., 1:30, :31])


@pytest.mark.parametrize("tail", [(), (5, 6)])
def test_label_norm_is_batch_norm_followed_by_each_labels_own_scale_and_shift(tail):
    layer = LabelNorm(4, 3)
    with torch.no_grad():
        layer.scale.normal_()
        layer.shift.normal_()
    plain = torch.nn.BatchNorm2d(4, affine=False) if tail else torch.nn.BatchNorm1d(4, affine=False)
    labels = torch.tensor([0, 1, 2, 1, 0, 2, 2, 0])
    condition = torch.nn.functional.one_hot(labels, 3).float()
    for training in (True, True, False):
        layer.train(training)
        plain.train(training)
        features = 2 + 3 * torch.randn(8, 4, *tail)
        scale, shift = (table[labels].reshape(8, 4, *(1 for _ in tail)) for table in (layer.scale, layer.shift))
        torch.testing.assert_close(layer(features, condition), plain(features) * scale + shift)
    torch.testing.assert_close(layer.running_variance, plain.running_var)


def test_log_variances_stay_bounded_on_absurd_input():
    network = Autoencoder(architecture()).eval()
    with torch.no_grad():
        network.encoder.head.weight.mul_(1e9)
    _, spread = network.encoder(torch.rand(5, 1, 28, 28), network.condition(torch.zeros(5, dtype=torch.int64)))
    assert spread.abs().max() == 8
