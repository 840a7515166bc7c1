import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from defuse.augment import _transforms, augmented
from defuse.classifiers import NETWORKS, TorchClassifier, Training, build_network, train
from defuse.classifiers.training import COARSE, _schedule, blended, coarsened
from defuse.errors import ClassifierError
from defuse.records import LabelledImages

CORNERS = ("top left", "top right", "bottom left", "bottom right")


def corners(n: int, seed: int) -> LabelledImages:
    """Images with one bright quarter; the label says which."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, size=n)
    images = rng.integers(0, 60, size=(n, 16, 16, 1), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(int(label), 2)
        image[8 * row : 8 * row + 8, 8 * column : 8 * column + 8] += 120
    return LabelledImages(images, labels.astype(np.int64), CORNERS, np.arange(n))


def trained(name="cnn", seed=1, **changes):
    module = build_network(name, 1, 4, 16, seed=seed)
    settings_ = Training(**{"epochs": 2, "batch_size": 32, **changes})
    history = train(module, corners(256, 0), corners(64, 1), settings_, seed=seed)
    return module, history


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_learns_which_corner_is_bright(name):
    module, history = trained(name, augment="affine", epochs=4)
    assert history.accuracy[-1] == 1.0
    assert history.loss[-1] < history.loss[0]
    assert not any(part.training for part in module.modules())
    fresh = corners(200, 2)
    assert (TorchClassifier(module, CORNERS).predict(fresh.images) == fresh.labels).all()


@pytest.mark.parametrize("augment", ["none", "shift", "affine", "affine_light"])
def test_seed_decides_everything(augment):
    torch.manual_seed(1)
    first, history = trained(augment=augment)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    second, again = trained(augment=augment)
    assert torch.equal(torch.get_rng_state(), before)
    assert history == again
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
    other, _ = trained(augment=augment, seed=2)
    assert not torch.equal(next(iter(first.parameters())), next(iter(other.parameters())))


def test_one_step_is_adamw_by_hand():
    """A linear module, one batch: PyTorch's own AdamW at the schedule's first learning rate gives the same weights."""
    data = corners(24, 3)
    settings_ = Training(epochs=1, batch_size=24, learning_rate=0.01, weight_decay=0.3, augment="none")
    module = nn.Sequential(nn.Flatten(), nn.Linear(256, 4))
    expected = nn.Linear(256, 4)
    expected.load_state_dict(module[1].state_dict())
    optimiser = torch.optim.AdamW(
        [{"params": [expected.weight], "weight_decay": 0.3}, {"params": [expected.bias], "weight_decay": 0.0}], lr=0.01
    )
    inputs = torch.from_numpy(data.images.reshape(24, -1) / np.float32(255))
    loss = nn.functional.cross_entropy(expected(inputs), torch.from_numpy(data.labels))
    loss.backward()
    optimiser.step()
    history = train(module, data, data, settings_, seed=0)
    assert history.loss[0] == pytest.approx(loss.item(), rel=1e-5)
    torch.testing.assert_close(module[1].weight, expected.weight, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(module[1].bias, expected.bias, rtol=1e-4, atol=1e-5)


def test_every_image_is_seen_once_an_epoch_and_no_batch_is_tiny():
    seen: list[torch.Tensor] = []

    class Spy(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(256, 4)

        def forward(self, x):
            if self.training:
                seen.append(x[:, 0, 0, 0])
            return self.linear(x.flatten(1))

    data = corners(65, 4)
    data.images[:, 0, 0, 0] = np.arange(65)
    train(Spy(), data, data, Training(epochs=2, batch_size=32, augment="none"), seed=0)
    assert [len(part) for part in seen] == [22, 22, 21] * 2
    epochs = [torch.cat(seen[:3]), torch.cat(seen[3:])]
    assert all(sorted((255 * epoch).round().int().tolist()) == list(range(65)) for epoch in epochs)
    assert not torch.equal(*epochs)


def test_progress_counts_to_the_end():
    calls = []
    train(
        build_network("cnn", 1, 4, 16),
        corners(64, 0),
        corners(16, 1),
        Training(epochs=2, batch_size=16),
        seed=0,
        progress=lambda *call: calls.append(call),
    )
    assert [call[1] for call in calls] == [*range(1, 9), 8]
    assert {call[2] for call in calls} == {8}
    assert "validation accuracy" in calls[-1][3]


@given(total=st.integers(1, 3000))
@settings(max_examples=50)
def test_learning_rate_rises_once_and_falls_to_almost_nothing(total):
    rates = [_schedule(step, total) for step in range(total)]
    peak = int(np.argmax(rates))
    assert all(0 < rate <= 1 for rate in rates)
    assert max(rates) == 1
    assert all(np.diff(rates[: peak + 1]) > 0)
    assert all(np.diff(rates[peak:]) < 0)


@pytest.mark.parametrize("augment", ["none", "shift", "affine", "affine_light"])
def test_augmentation_stays_in_range_and_keeps_a_constant_image(augment):
    pixels = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    changed = augmented(pixels, augment, torch.Generator().manual_seed(1))
    assert changed.shape == pixels.shape
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert torch.equal(changed, pixels) is (augment == "none")
    flat = augmented(torch.full((8, 3, 16, 16), 0.5), augment, torch.Generator().manual_seed(1))
    assert flat.std(dim=(1, 2, 3)).max() < 1e-6
    if augment == "affine_light":
        assert 0.2 <= flat.min() < flat.max() <= 0.7
    else:
        torch.testing.assert_close(flat, torch.full_like(flat, 0.5))


@pytest.mark.parametrize("augment", ["shift", "affine"])
def test_augmentation_is_cropped_from_the_same_ramp(augment):
    """Of a linear ramp, every map of the documented family is again a linear ramp, with slopes known from the map."""
    side = 64
    ramp = (torch.arange(side) / side).expand(1, 1, side, side) * 0.5 + 0.25
    changed = augmented(ramp.expand(200, 1, side, side), augment, torch.Generator().manual_seed(2))
    middle = changed[:, 0, 24:40, 24:40]
    across, down = middle.diff(dim=2) * side / 0.5, middle.diff(dim=1) * side / 0.5
    moved = (middle.mean(dim=(1, 2)) - 0.5) / 0.5
    assert moved.abs().max() <= 0.07 + 0.02
    assert moved.abs().max() > 0.05
    for slope in (across, down):
        assert slope.std(dim=(1, 2)).max() < 1e-3
    if augment == "shift":
        torch.testing.assert_close(across, torch.ones_like(across), rtol=0, atol=1e-3)
        torch.testing.assert_close(down, torch.zeros_like(down), rtol=0, atol=1e-3)
    else:
        slopes = torch.stack([across.mean(dim=(1, 2)), down.mean(dim=(1, 2))], dim=1)
        assert slopes[:, 0].min() > 0.85 * np.cos(np.radians(12)) - 0.01
        assert slopes[:, 0].max() < 1.15 + 0.01
        assert slopes[:, 1].abs().max() < 1.15 * (np.sin(np.radians(12)) + 0.1) + 0.01
        assert slopes[:, 1].abs().max() > 0.2


@pytest.mark.parametrize(("height", "width"), [(64, 128), (128, 32)])
def test_augmentation_turns_images_that_are_not_square_by_the_same_angles(height, width):
    """The map of pixels, not that of coordinates from -1 to 1, is that of a square image."""
    sides = torch.tensor([width, height]) / 2
    square, oblong = (
        _transforms((50, 1, *size), "affine", torch.Generator().manual_seed(3))[:, :, :2]
        for size in ((64, 64), (height, width))
    )
    torch.testing.assert_close(sides[:, None] * oblong / sides, square)


def test_bad_input_divergence_is_named():
    data = corners(64, 0)
    with pytest.raises(ClassifierError, match=r"loss became nan in epoch 1; lower learning_rate \(now 0.004\)"):
        train(Divergent(), data, data, Training(), seed=0)


def test_bad_input_nothing_to_train():
    data = corners(16, 0)
    with pytest.raises(ClassifierError, match="no trainable weights"):
        train(nn.Flatten(), data, data, Training(), seed=0)


class Divergent(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(256, 4)

    def forward(self, x):
        return self.linear(x.flatten(1)) * float("nan")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_cnn_reads_mnist():
    path = Path(os.environ.get("DEFUSE_DATA", "../shared/data")) / "mnist.npz"
    if not path.exists():
        pytest.skip(f"{path} is not there; set DEFUSE_DATA to the folder of mnist.npz")
    with np.load(path, allow_pickle=False) as data:
        arrays = {key: data[key] for key in data.files}
    names = tuple("0123456789")

    def split(part, rows):
        labels = arrays[f"{part}_labels"][rows].astype(np.int64)
        return LabelledImages(arrays[f"{part}_images"][rows, ..., None], labels, names, np.asarray(rows))

    reference, test = split("train", np.arange(54_000)), split("test", np.arange(10_000))
    module = build_network("cnn", 1, 10, 28, seed=1)
    history = train(module, reference, test, Training(), seed=1)
    assert history.accuracy[-1] >= 0.988


@given(n=st.integers(1, 40), share=st.floats(0, 1), seed=st.integers(0, 99))
@settings(max_examples=50)
def test_blended_images_and_targets_are_blended_alike(n, share, seed):
    """An image whose every pixel is linear in its target stays so; only the first ``share`` of a batch may change."""
    targets = torch.nn.functional.one_hot(torch.arange(n) % 5, 5).float()
    slope = torch.arange(5.0) / 4
    pixels = (targets @ slope).view(n, 1, 1, 1).expand(n, 3, 4, 4)
    mixed, meant = blended(pixels, targets, share, torch.Generator().manual_seed(seed))
    torch.testing.assert_close(mixed, (meant @ slope).view(n, 1, 1, 1).expand(n, 3, 4, 4))
    torch.testing.assert_close(meant.sum(1), torch.ones(n))
    assert (meant >= 0).all()
    untouched = slice(round(share * n), None)
    assert torch.equal(mixed[untouched], pixels[untouched])
    assert torch.equal(meant[untouched], targets[untouched])


@given(n=st.integers(1, 20), share=st.floats(0, 1), seed=st.integers(0, 2**32 - 1))
def test_coarsened_images_hold_no_detail_and_no_class(n, share, seed):
    """What is finer than the coarse grid is gone, the mean stays, and the target names no class."""
    rng = torch.Generator().manual_seed(seed)
    pixels, targets = torch.rand(n, 3, 24, 24, generator=rng), torch.eye(5)[torch.arange(n) % 5]
    coarse, meant = coarsened(pixels, targets, share, rng)
    changed = round(share * n)
    assert torch.equal(coarse[: n - changed], pixels[: n - changed])
    assert torch.equal(meant[: n - changed], targets[: n - changed])
    torch.testing.assert_close(meant[n - changed :], torch.full((changed, 5), 0.2))
    for image in coarse[n - changed :]:
        assert torch.linalg.matrix_rank(image[0], atol=1e-4) < COARSE[1]


def test_a_judge_of_faint_images_learns_not_to_tell():
    images = corners(256, 0)
    faint = LabelledImages(images.images // 16, images.labels, images.class_names, images.rows)
    module = build_network("cnn", 1, 4, 16, seed=1)
    settings_ = Training(epochs=6, batch_size=32, augment="none", faint=0.1)
    train(module, faint, faint, settings_, seed=1)
    classifier = TorchClassifier(module, images.class_names)
    logits = torch.from_numpy(classifier.predict_logits(faint.images))
    assert torch.softmax(logits, dim=1).amax() < 0.3
