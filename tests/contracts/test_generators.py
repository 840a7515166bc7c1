"""What every generator promises. A new one joins with a row in ``GENERATORS``."""

import numpy as np
import pytest
import torch

from defuse.generators import VAE, Generator, load_generator, reconstruct, save_generator
from defuse.generators.likelihood import log_variance, wavelets
from defuse.records import LabelledImages

CLASSES = ("left", "right", "middle")


def images(shape, count=150):
    """Return blobs: the class is their column, the style their row and brightness."""
    rng = np.random.default_rng(0)
    height, width, channels = shape
    labels = np.arange(count, dtype=np.int64) % 3
    stored = np.full((count, height, width, channels), 30, dtype=np.uint8)
    for image, label in zip(stored, labels, strict=True):
        row, column = rng.integers(1, height - 4), (0, width - 4, width // 2 - 2)[label]
        image[row : row + 4, column : column + 4] = rng.integers(120, 256)
    return LabelledImages(stored, labels, CLASSES, np.arange(count, dtype=np.int64))


def fitted(shape, *, conditional):
    data = images(shape)
    vae = VAE(conditional=conditional, latent=3, width=8, hidden=32, epochs=30, batch_size=10, learning_rate=1e-2)
    return vae.fit(data, data, seed=0).generator


GENERATORS = {
    "conditional, grey": ((12, 12, 1), lambda shape: fitted(shape, conditional=True)),
    "conditional, colour, odd sides": ((13, 17, 3), lambda shape: fitted(shape, conditional=True)),
    "unconditional, grey": ((12, 12, 1), lambda shape: fitted(shape, conditional=False)),
    "unconditional, colour": ((16, 16, 3), lambda shape: fitted(shape, conditional=False)),
}


@pytest.fixture(scope="module", params=GENERATORS)
def case(request):
    shape, make = GENERATORS[request.param]
    data = images(shape)
    pixels = torch.from_numpy(data.images).permute(0, 3, 1, 2).float() / 255
    return make(shape), pixels, torch.from_numpy(data.labels), data


def test_shapes_and_ranges(case):
    generator, pixels, labels, data = case
    assert isinstance(generator, Generator)
    assert generator.image_shape == data.image_shape
    posterior = generator.encode(pixels, labels)
    assert posterior.mean.shape == posterior.std.shape == (len(pixels), generator.latent)
    assert posterior.mean.dtype == posterior.std.dtype == torch.float32
    assert (posterior.std > 0).all()
    far = 100 * torch.randn(len(pixels), generator.latent, generator=torch.Generator().manual_seed(0))
    for z in (posterior.mean, far):
        decoded = generator.decode(z, labels)
        assert decoded.shape == pixels.shape
        assert decoded.dtype == torch.float32
        assert decoded.min() >= 0
        assert decoded.max() <= 1


def test_same_input_same_output_and_no_global_randomness(case):
    generator, pixels, labels, _ = case
    before = torch.random.get_rng_state()
    first, second = generator.encode(pixels, labels), generator.encode(pixels, labels)
    assert torch.equal(first.mean, second.mean)
    assert torch.equal(first.std, second.std)
    assert torch.equal(generator.decode(first.mean, labels, pixels), generator.decode(first.mean, labels, pixels))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_an_image_does_not_depend_on_its_neighbours_in_the_batch(case):
    generator, pixels, labels, _ = case
    together = generator.encode(pixels, labels).mean
    alone = torch.cat([generator.encode(pixels[i : i + 1], labels[i : i + 1]).mean for i in range(5)])
    torch.testing.assert_close(alone, together[:5], atol=1e-4, rtol=1e-4)
    decoded = torch.cat([generator.decode(together[i : i + 1], labels[i : i + 1], pixels[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(decoded, generator.decode(together, labels, pixels)[:5], atol=1e-4, rtol=1e-4)


def test_no_images_are_fine(case):
    generator, pixels, labels, _ = case
    posterior = generator.encode(pixels[:0], labels[:0])
    assert posterior.mean.shape == (0, generator.latent)
    assert generator.decode(posterior.mean, labels[:0], pixels[:0]).shape == (0, *pixels.shape[1:])


def test_reconstructions_resemble_their_own_image(case):
    """Far nearer to it than to the next image of the same class, and than the mean image would be."""
    generator, _, _, data = case
    back = reconstruct(generator, data).astype(float).reshape(len(data), -1)
    real = data.images.astype(float).reshape(len(data), -1)
    own, neighbour = np.square(back - real).mean(1), np.square(back - np.roll(real, 3, axis=0)).mean(1)
    assert own.mean() < 0.3 * neighbour.mean()
    assert own.mean() < 0.4 * np.square(real - real.mean(0)).mean()


def test_the_label_matters_to_conditional_generators_alone(case):
    generator, pixels, labels, _ = case
    other = (labels + 1) % len(CLASSES)
    posterior = generator.encode(pixels, labels)
    same_codes = torch.equal(posterior.mean, generator.encode(pixels, other).mean)
    same_images = torch.equal(
        generator.decode(posterior.mean, labels, pixels), generator.decode(posterior.mean, other, pixels)
    )
    assert same_images is not generator.conditional
    if not generator.conditional:
        assert same_codes


def test_a_conditional_decoder_draws_the_class_it_is_given(case):
    """The blob of ``decode(z, y')`` lies in the column of y', whatever image z came from."""
    generator, pixels, labels, _ = case
    if not generator.conditional:
        pytest.skip("an unconditional generator draws the class that the code holds")
    codes = generator.encode(pixels, labels).mean
    width = pixels.shape[3]
    centres = torch.tensor([1.5, width - 2.5, width // 2 - 0.5])
    for label in range(len(CLASSES)):
        drawn = generator.decode(codes, torch.full_like(labels, label)).mean(1)
        light = (drawn - drawn.amin((1, 2), keepdim=True)).square().sum(1)
        column = (light * torch.arange(width)).sum(1) / light.sum(1)
        nearest = (column[:, None] - centres[None]).abs().argmin(1)
        assert (nearest == label).float().mean() > 0.9


def test_the_likelihood_is_its_two_parts_in_the_closed_form(case):
    """By torch's own distributions: log p(x | mean code) less the divergence of the posterior from N(0, I)."""
    generator, pixels, labels, _ = case
    posterior = generator.encode(pixels, labels)
    decoded = generator.decode(posterior.mean, labels, pixels)
    if pixels.shape[1] == 1:
        noise = torch.distributions.ContinuousBernoulli(probs=decoded)
        each = noise.log_prob(pixels) - noise._cont_bern_log_norm()
    else:
        spread = torch.exp(0.5 * log_variance(generator.network.pixel_noise))
        parts = zip(wavelets(pixels - decoded), spread, strict=True)
        each = [torch.distributions.Normal(0.0, one.view(3, 1, 1)).log_prob(part).flatten(1) for part, one in parts]
        each = torch.cat(each, dim=1)[:, None, None]
    prior = torch.distributions.Normal(0.0, 1.0)
    apart = torch.distributions.kl_divergence(torch.distributions.Normal(posterior.mean, posterior.std), prior)
    expected = each.sum((1, 2, 3)) - apart.sum(1)
    found = generator.log_likelihood(pixels, labels)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=0.05)
    assert generator.log_likelihood(pixels[:0], labels[:0]).shape == (0,)


def test_images_are_likelier_under_their_own_label(case):
    generator, pixels, labels, _ = case
    own, other = (generator.log_likelihood(pixels, each) for each in (labels, (labels + 1) % len(CLASSES)))
    if generator.conditional:
        assert (own > other).float().mean() > 0.95
    else:
        assert torch.equal(own, other)


def test_gradients_reach_codes_and_images_but_no_weights(case):
    generator, pixels, labels, _ = case
    pixels = pixels[:4].clone().requires_grad_()
    generator.decode(generator.encode(pixels, labels[:4]).mean, labels[:4], pixels).sum().backward()
    assert pixels.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in generator.network.parameters())


def test_storage_round_trip_draws_the_same_images(case, tmp_path):
    generator, pixels, labels, _ = case
    save_generator(tmp_path, generator)
    loaded = load_generator(tmp_path)
    assert loaded.latent == generator.latent
    assert loaded.conditional == generator.conditional
    assert loaded.image_shape == generator.image_shape
    first, second = generator.encode(pixels, labels), loaded.encode(pixels, labels)
    assert torch.equal(first.mean, second.mean)
    assert torch.equal(first.std, second.std)
    assert torch.equal(generator.decode(first.mean, labels), loaded.decode(first.mean, labels))
