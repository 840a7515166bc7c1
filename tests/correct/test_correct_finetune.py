import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from torch import nn

from defuse.classifiers import TorchClassifier
from defuse.correct.finetune import Answers, Recipe, draw_batches, fine_tune, moved, objective, own_answers
from defuse.correct.targets import Pool
from defuse.pixels import to_pixels
from defuse.progress import silent
from defuse.records import LabelledImages, Purpose


def linear(size=4, classes=3):
    torch.manual_seed(3)
    return nn.Sequential(nn.Flatten(), nn.Linear(size * size, classes, bias=False))


def random_images(count, seed, size=4, classes=3):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, size, size, 1)).astype(np.uint8)
    return images, rng.integers(0, classes, count).astype(np.int64)


def softmax_gradient(weight, images, labels):
    """The closed form for a linear softmax model: (p - y)^T x / n, in NumPy and double precision."""
    x = images.reshape(len(images), -1).astype(np.float64) / 255
    scores = x @ weight.T
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    return (p - np.eye(len(weight))[labels]).T @ x / len(x)


def state(classifier):
    return {name: value.clone() for name, value in classifier.module.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def tune(toy, weight, **changes):
    samples = Pool(toy.regions.samples["r001", Purpose.REPAIR].images, np.ones(200, dtype=np.int64))
    settings = {"weight": weight, "recipe": Recipe(1e-3), "seed": 5, "progress": silent} | changes
    samples = settings.pop("samples", samples)
    batches = draw_batches(600, len(samples), steps=12, batch_size=32, region_batch_size=16, seed=5)
    return fine_tune(toy.classifier, toy.splits.reference, samples, batches, **settings)


@pytest.mark.parametrize("weight", [0.25, 1.0, 7.0])
def test_region_term_has_lambda_times_the_closed_form_gradient(weight):
    module = linear()
    parameter = module[1].weight
    (images, labels), (region, towards) = random_images(20, 1), random_images(9, 2)
    answers = Answers(module(to_pixels(images)), torch.from_numpy(labels))
    fresh = Answers(module(to_pixels(region)), torch.from_numpy(towards))
    (alone,) = torch.autograd.grad(objective(answers, None, weight), parameter, retain_graph=True)
    (both,) = torch.autograd.grad(objective(answers, fresh, weight), parameter)
    at = parameter.detach().numpy().astype(np.float64)
    np.testing.assert_allclose(alone.numpy(), softmax_gradient(at, images, labels), atol=1e-6)
    np.testing.assert_allclose((both - alone).numpy(), weight * softmax_gradient(at, region, towards), atol=1e-5)


@pytest.mark.parametrize("weight", [0.0, 0.5, 50.0])
def test_first_step_is_adams_step_along_the_closed_form_gradient(weight):
    """Adam's first step is lr * g / (|g| + eps), whatever its moments' decay."""
    module = linear()
    images, labels = random_images(20, 1)
    region, towards = random_images(9, 2)
    names = ("a", "b", "c")
    batches = draw_batches(20, 9, steps=1, batch_size=20, region_batch_size=9, seed=0)
    tuned = fine_tune(
        TorchClassifier(module, names),
        LabelledImages(images, labels, names, np.arange(20)),
        Pool(region, towards),
        batches,
        weight=weight,
        recipe=Recipe(0.01),
        seed=0,
        progress=silent,
    )
    at = module[1].weight.detach().numpy().astype(np.float64)
    gradient = softmax_gradient(at, images, labels) + weight * softmax_gradient(at, region, towards)
    expected = at - 0.01 * gradient / (np.abs(gradient) + 1e-8)
    np.testing.assert_allclose(tuned.module[1].weight.detach().numpy(), expected, atol=1e-6)


def test_control_is_plain_fine_tuning_on_reference_images(toy):
    module = copy.deepcopy(toy.classifier.module)
    module[4] = nn.Identity()  # no dropout: its masks are ours alone
    classifier = TorchClassifier(module, toy.classifier.class_names)
    reference = toy.splits.reference
    batches = draw_batches(600, 5, steps=12, batch_size=32, region_batch_size=16, seed=5)
    samples = Pool(reference.images[:5], reference.labels[:5])
    settings = {"weight": 0.0, "recipe": Recipe(1e-3), "seed": 5, "progress": silent}
    tuned = fine_tune(classifier, reference, samples, batches, **settings)

    expected = copy.deepcopy(module).eval()  # no dropout left, so evaluation mode only fixes the batch norm
    optimizer = torch.optim.Adam(expected.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=12)
    for rows in batches.reference:
        answers = expected(to_pixels(reference.images[rows]))
        optimizer.zero_grad()
        nn.functional.cross_entropy(answers, torch.from_numpy(reference.labels[rows])).backward()
        optimizer.step()
        schedule.step()
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(tuned.module.state_dict()[name], value, rtol=1e-4, atol=1e-5)


def test_own_answers_are_the_model_s_where_it_is_right_and_the_labels_elsewhere():
    module, names = linear(), ("a", "b", "c")
    images, labels = random_images(40, 6)
    classifier = TorchClassifier(module, names)
    wanted = own_answers(classifier.logits(to_pixels(images)), torch.from_numpy(labels)).detach().numpy()
    scores = classifier.predict_logits(images).astype(np.float64)
    right = scores.argmax(1) == labels
    assert 0 < right.sum() < 40
    np.testing.assert_allclose(wanted[right], softmax(scores[right], axis=1), atol=1e-6)
    assert np.array_equal(wanted[~right], np.eye(3)[labels[~right]])


def test_a_model_has_nothing_to_learn_from_its_own_answers():
    """Right everywhere, it stays where it is: the gradient of cross-entropy at its own answers is zero."""
    module, names = linear().double(), ("a", "b", "c")
    images, _ = random_images(40, 7)
    classifier = TorchClassifier(module, names, dtype=torch.float64)
    pixels, labels = to_pixels(images).double(), torch.from_numpy(classifier.predict(images))
    given = classifier.logits(pixels).detach()
    answers = Answers(module(pixels), own_answers(given, labels))
    (gradient,) = torch.autograd.grad(objective(answers, None, 0.0), module[1].weight)
    np.testing.assert_allclose(gradient.numpy(), 0, atol=1e-6)


def test_logits_have_moved_by_what_changes_between_classes_on_images_that_were_read_right():
    given = torch.tensor([[3.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 1.0]])
    labels = torch.tensor([0, 1, 0])  # the last is read wrong
    assert moved(given + torch.tensor([[5.0], [-2.0], [1.0]]), given, labels).item() == pytest.approx(0, abs=1e-12)
    changed = given.clone()
    changed[0, 0] += 3.0  # centred: 2, -1, -1
    changed[2, 0] += 100.0
    assert moved(changed, given, labels).item() == pytest.approx((4 + 1 + 1) / 3 / 3)


def test_the_more_logits_are_kept_the_less_they_move(toy):
    reference = to_pixels(toy.splits.reference.images)
    labels = torch.from_numpy(toy.splits.reference.labels)
    given = toy.classifier.logits(reference)
    keep = [Recipe(1e-2, keep_answers=True, keep_logits=weight) for weight in (0.0, 0.1, 10.0)]
    far = [moved(tune(toy, 1.0, recipe=recipe).logits(reference), given, labels).item() for recipe in keep]
    assert far[0] > far[1] > far[2]


@pytest.mark.parametrize("recipe", [Recipe(1e-3, "affine"), Recipe(1e-3, keep_answers=True)])
def test_recipe_counts_and_leaves_the_same_seed_the_same_weights(toy, recipe):
    first = state(tune(toy, 1.0, recipe=recipe))
    assert same(first, state(tune(toy, 1.0, recipe=recipe)))
    assert not same(first, state(tune(toy, 1.0)))


@pytest.mark.parametrize(
    ("recipe", "changed"),
    [
        (Recipe(1e-3), True),
        (Recipe(1e-3, keep_answers=True), False),
        (Recipe(1e-3, keep_answers=True, keep_logits=0.1), True),
    ],
)
def test_reference_images_are_changed_to_learn_labels_or_to_keep_logits_not_to_keep_answers(toy, recipe, changed):
    """Without the region term (lambda 0) nothing else is left to augment."""
    augmented = state(tune(toy, 0.0, recipe=replace(recipe, augment="affine")))
    assert same(augmented, state(tune(toy, 0.0, recipe=recipe))) != changed


def test_lambda_zero_is_the_control_bit_by_bit_whatever_the_region_holds(toy):
    images, labels = random_images(200, 4, size=8, classes=2)
    assert same(state(tune(toy, 0.0)), state(tune(toy, 0.0, samples=Pool(images, labels))))
    assert not same(state(tune(toy, 0.0)), state(tune(toy, 1e-3)))


def test_same_seed_same_weights_and_the_global_generator_is_left_alone(toy):
    torch.manual_seed(1)
    first = state(tune(toy, 1.0))
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert same(first, state(tune(toy, 1.0)))
    assert torch.equal(before, torch.get_rng_state())
    assert not same(first, state(tune(toy, 1.0, seed=6))), "the seed draws the dropout masks"


def test_users_module_is_unchanged_and_the_copy_is_ready_to_answer(toy):
    before = state(toy.classifier)
    tuned = tune(toy, 1.0)
    assert same(before, state(toy.classifier))
    assert all(parameter.grad is None for parameter in copy.deepcopy(toy.classifier.module).parameters())
    assert not any(layer.training for layer in tuned.module.modules())


def test_running_statistics_stay_and_affine_weights_learn(toy):
    before, after = state(toy.classifier), state(tune(toy, 1.0))
    for name in ("1.running_mean", "1.running_var", "1.num_batches_tracked"):
        assert torch.equal(before[name], after[name])
    for name in ("1.weight", "1.bias", "0.weight", "5.weight"):
        assert not torch.equal(before[name], after[name])


def test_frozen_parameters_stay(toy):
    module = copy.deepcopy(toy.classifier.module)
    module[0].requires_grad_(requires_grad=False)
    module[5].bias.requires_grad_(requires_grad=False)
    classifier = TorchClassifier(module, toy.classifier.class_names)
    before = state(classifier)
    samples = Pool(toy.splits.reference.images[:9], toy.splits.reference.labels[:9])
    batches = draw_batches(600, 9, steps=5, batch_size=32, region_batch_size=16, seed=5)
    tuned = fine_tune(
        classifier,
        toy.splits.reference,
        samples,
        batches,
        weight=1.0,
        recipe=Recipe(0.01),
        seed=0,
        progress=silent,
    )
    after = state(tuned)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"1.weight", "1.bias", "5.weight"}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_tuned_in_single_and_rounded_at_the_end(toy, dtype):
    rounded = copy.deepcopy(toy.classifier.module).to(dtype)
    half = TorchClassifier(copy.deepcopy(rounded), toy.classifier.class_names, dtype=dtype)
    single = TorchClassifier(rounded, toy.classifier.class_names)
    tuned, expected = (tune(replace(toy, classifier=model), 1.0) for model in (half, single))
    assert tuned.dtype == dtype
    changed = 0
    for name, value in tuned.module.state_dict().items():
        assert torch.equal(value, expected.module.state_dict()[name].to(value.dtype))
        changed += int((value != half.module.state_dict()[name]).sum())
    assert changed > 0


def test_nan_loss_stops_the_fine_tuning(toy):
    assert tune(toy, 1.0, recipe=Recipe(1e30)) is None


def test_progress_ends_at_the_last_step(toy):
    calls = []
    tune(toy, 0.3, progress=lambda task, done, total, _note="": calls.append((task, done, total)))
    assert calls == [("correct: lambda 0.3", 10, 12), ("correct: lambda 0.3", 12, 12)]


@given(
    count=st.integers(1, 40),
    steps=st.integers(1, 12),
    batch=st.integers(1, 30),
    seed=st.integers(0, 2**62),
)
def test_every_row_comes_equally_often(count, steps, batch, seed):
    batches = draw_batches(count, 3, steps=steps, batch_size=batch, region_batch_size=2, seed=seed)
    assert batches.reference.shape == (steps, batch)
    assert batches.steps == steps
    seen = np.bincount(batches.reference.ravel(), minlength=count)
    assert len(seen) == count
    assert seen.max() - seen.min() <= 1
    assert seen.max() == math.ceil(steps * batch / count)
    again = draw_batches(count, 7, steps=steps, batch_size=batch, region_batch_size=5, seed=seed)
    np.testing.assert_array_equal(batches.reference, again.reference, "reference batches know nothing of the regions")
