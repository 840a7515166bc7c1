import json
import math
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load_file, save_file

from defuse.classifiers.base import Classifier
from defuse.correct import (
    UNREPAIRED_MAX_FAILURE_RATE,
    Correct,
    build_suite,
    check,
    keep_accepted,
    load_suite,
    save_suite,
)
from defuse.errors import ClassifierError, SuiteError
from defuse.outcomes import CaseSource, Suite, SuiteCase, Triage
from defuse.records import Rate, Regions

CLASSES = ("left", "right")
FILES = ("suite.json", "images.safetensors", "latents.safetensors")
GENERATOR = "ab" * 32
build = partial(build_suite, generator=GENERATOR, seed=7)


class Mean(Classifier):
    """Reads an image as class 1 when its mean is at least ``limit`` (of 255); takes 8 x 8 images only."""

    finetunable = False

    def __init__(self, limit, class_names=CLASSES):
        super().__init__(class_names)
        self.limit = limit

    def _forward(self, pixels):
        if pixels.shape[1:] != (1, 8, 8):
            raise RuntimeError("mat1 and mat2 shapes\ncannot be multiplied")
        bright = (pixels.mean(dim=(1, 2, 3)) * 255 >= self.limit - 0.5).float()
        return torch.stack([1 - bright, bright], dim=1)


def steps(count=200):
    """Flat images of brightness 0, 1, 2 ..., so that ``Mean(m)`` reads exactly the first m as class 0."""
    return np.broadcast_to(np.arange(count, dtype=np.uint8).reshape(-1, 1, 1, 1), (count, 8, 8, 1)).copy()


def one_case(limit=0.1):
    source = CaseSource(GENERATOR, 7, np.zeros((200, 2), np.float32))
    return Suite(CLASSES, (SuiteCase("r001", 1, 0, steps(), limit, source=source),))


def wilson_upper(k, n, z=1.959963984540054):
    p = k / n
    return (p + z * z / (2 * n) + z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))) / (1 + z * z / n)


@pytest.fixture(scope="module")
def corrected(toy):
    quick = Correct(lambdas=(1.0,), steps=60, batch_size=64, region_batch_size=64, learning_rate=2e-3)
    return quick.run(toy.classifier, toy.splits, toy.regions, toy.labels, seed=0)


PLAIN = ("region", "label", "predicted_before", "max_failure_rate", "measured", "triage")


def same_source(a, b):
    if a is None or b is None:
        return a is b
    return (a.generator, a.seed) == (b.generator, b.seed) and np.array_equal(a.z, b.z)


def same(a, b):
    if a.class_names != b.class_names or len(a.cases) != len(b.cases):
        return False
    return all(
        np.array_equal(x.images, y.images)
        and x.images.dtype == y.images.dtype
        and all(getattr(x, name) == getattr(y, name) for name in PLAIN)
        and same_source(x.source, y.source)
        for x, y in zip(a.cases, b.cases, strict=True)
    )


def test_old_model_fails_the_suite_and_the_repaired_one_passes(toy, corrected):
    suite = build(toy.regions, toy.labels, corrected.repair, corrected.classifier, CLASSES)
    assert [(case.region, case.label, case.predicted_before, len(case.images)) for case in suite.cases] == [
        ("r001", 1, 0, 150)
    ]
    (case,) = suite.cases
    assert (case.triage, case.measured) == (Triage.REPAIRED, corrected.repair.after.failure)
    assert (case.source.generator, case.source.seed) == (GENERATOR, 7)
    np.testing.assert_array_equal(case.source.z, toy.regions.samples["r001", "final"].z)
    (old,), (new,) = check(suite, toy.classifier), check(suite, corrected.classifier)
    assert not old.passed
    assert old.failure == corrected.repair.before.failure
    assert new.passed
    assert new.failure == corrected.repair.after.failure


@pytest.mark.parametrize("wrong", [0, 1, 37])
def test_threshold_is_the_upper_wilson_bound(toy, corrected, wrong):
    final = {
        key: replace(part, images=steps(150)) if key[1].value == "final" else part
        for key, part in toy.regions.samples.items()
    }
    regions = Regions(toy.regions.reported, final, fitted=2)
    suite = build(regions, toy.labels, corrected.repair, Mean(wrong), CLASSES)
    assert suite.cases[0].max_failure_rate == pytest.approx(wilson_upper(wrong, 150), abs=1e-9)


def test_unrepaired_model_gets_the_documented_threshold(toy, corrected):
    kept_old = replace(corrected.repair, chosen=None)
    for repair in (None, kept_old):
        suite = build(toy.regions, toy.labels, repair, Mean(0), CLASSES)
        assert [case.max_failure_rate for case in suite.cases] == [UNREPAIRED_MAX_FAILURE_RATE]
        assert [(case.triage, case.measured) for case in suite.cases] == [(Triage.OPEN, Rate(0, 0))]
        assert not check(suite, toy.classifier)[0].passed


def test_only_kept_images_enter_unless_all_are_asked_for(toy):
    kept = np.arange(150) % 3 == 0
    samples = {
        key: replace(part, kept=kept) if key[1].value == "final" else part for key, part in toy.regions.samples.items()
    }
    regions = Regions(toy.regions.reported, samples, fitted=2)
    (case,) = build(regions, toy.labels, None, toy.classifier, CLASSES).cases
    np.testing.assert_array_equal(case.images, samples["r001", "final"].images[kept])
    (case,) = build(regions, toy.labels, None, toy.classifier, CLASSES, kept_only=False).cases
    assert len(case.images) == 150
    none = {key: replace(part, kept=np.zeros(len(part), dtype=bool)) for key, part in samples.items()}
    assert build(Regions(regions.reported, none, fitted=2), toy.labels, None, toy.classifier, CLASSES).cases == ()


@given(wrong=st.integers(0, 200), limit=st.integers(0, 200))
def test_check_passes_exactly_up_to_the_threshold(wrong, limit):
    (result,) = check(one_case(limit / 200), Mean(wrong))
    assert result.failure == Rate(wrong, 200)
    assert result.passed == (wrong <= limit)


@st.composite
def case_fields(draw):
    """Class names, and the fields of some cases; the records are made in the test, where types are checked."""
    names = tuple(draw(st.lists(st.text(min_size=1, max_size=6), min_size=2, max_size=5, unique=True)))
    regions = draw(st.lists(st.from_regex(r"r[0-9]{3}", fullmatch=True), max_size=4, unique=True))
    index = st.integers(0, len(names) - 1)
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 6), st.integers(1, 6), st.sampled_from([1, 3])))
    images = hnp.arrays(np.uint8, shape)
    cases = []
    for region in regions:
        pixels = draw(images)
        latents = draw(st.none() | hnp.arrays(np.float32, (len(pixels), 3), elements=st.floats(-4, 4, width=32)))
        failures = draw(st.integers(0, 9))
        case = (region, draw(index), draw(index), pixels, draw(st.floats(0, 1)))
        cases.append((*case, failures, draw(st.sampled_from(Triage)), latents))
    return names, cases


def make_case(*fields):
    *case, failures, triage, latents = fields
    source = None if latents is None else CaseSource(GENERATOR, 7, latents)
    return SuiteCase(*case, Rate(failures, 9), triage, source)


@settings(max_examples=40)
@given(case_fields())
def test_suite_round_trip_and_same_bytes(fields):
    names, cases = fields
    suite = Suite(names, tuple(make_case(*case) for case in cases))
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder, "a"), Path(folder, "b")
        save_suite(first, suite)
        loaded = load_suite(first)
        assert same(suite, loaded)
        save_suite(second, loaded)
        for name in FILES:
            assert (first / name).read_bytes() == (second / name).read_bytes()
        assert {path.name for path in first.iterdir()} == set(FILES)


def test_description_is_for_people(tmp_path):
    save_suite(tmp_path, one_case())
    (case,) = json.loads((tmp_path / "suite.json").read_text())["cases"]
    assert case["label"] == {"index": 1, "name": "right"}
    assert case["images"] == 200
    assert check(load_suite(tmp_path), Mean(20))[0].passed
    assert not check(load_suite(tmp_path), Mean(21))[0].passed


def test_bad_input_suite_of_other_classes():
    with pytest.raises(SuiteError, match="made for 2 classes, the classifier has 3"):
        check(one_case(), Mean(0, ("left", "right", "up")))
    with pytest.raises(SuiteError, match="class 0 is 'left', the classifier's is 'right'"):
        check(one_case(), Mean(0, ("right", "left")))


def test_bad_input_suite_of_another_image_size():
    suite = Suite(CLASSES, (SuiteCase("r001", 1, 0, np.zeros((2, 9, 9, 3), np.uint8), 0.1),))
    with pytest.raises(SuiteError, match=r"case r001: .* images of 9 x 9 x 3") as raised:
        check(suite, Mean(0))
    assert "\n" not in str(raised.value)


def edit(folder, change):
    path = folder / "suite.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda c: c.update(version=1), "version"),
        (lambda c: c["cases"][0].update(max_failure_rate=0.9), "was changed"),
        (lambda c: c["cases"][0].update(label={"index": 0, "name": "left"}), "was changed"),
        (lambda c: c["cases"][0].update(triage="fine"), "triage"),
        (lambda c: c["cases"][0]["source"].update(seed=8), "was changed"),
        (lambda c: c.pop("class_names"), "class_names"),
        (lambda c: c["class_names"].reverse(), "class 1 is not 'right'"),
        (lambda c: c["cases"][0].update(max_failure_rate=1.5), "max_failure_rate"),
        (lambda c: c["cases"][0].update(max_failure_rate="0.1"), "max_failure_rate"),
        (lambda c: c["cases"][0].update(extra=1), "extra"),
        (lambda c: c["cases"][0]["label"].update(index=7), "class 7 is not 'right'"),
        (lambda c: c["cases"].append(c["cases"][0]), "same region"),
    ],
)
def test_bad_input_suite_description(tmp_path, change, where):
    save_suite(tmp_path, one_case())
    edit(tmp_path, change)
    with pytest.raises(SuiteError, match=where) as raised:
        load_suite(tmp_path)
    assert "suite.json" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_people_may_change_the_triage_and_an_accepted_region_fails_no_suite(tmp_path):
    save_suite(tmp_path, one_case())
    edit(tmp_path, lambda c: c["cases"][0].update(triage="accepted"))
    (result,) = check(load_suite(tmp_path), Mean(150))
    assert not result.passed
    assert not result.blocks
    assert check(one_case(), Mean(150))[0].blocks


def test_what_people_accepted_stays_so_on_the_same_images(tmp_path):
    assert same(keep_accepted(tmp_path, one_case()), one_case())
    save_suite(tmp_path, one_case())
    assert same(keep_accepted(tmp_path, one_case(0.2)), one_case(0.2))
    edit(tmp_path, lambda c: c["cases"][0].update(triage="accepted"))
    assert [case.triage for case in keep_accepted(tmp_path, one_case(0.2)).cases] == [Triage.ACCEPTED]
    (case,) = one_case().cases
    other = Suite(CLASSES, (replace(case, images=255 - case.images),))
    assert same(keep_accepted(tmp_path, other), other)
    (tmp_path / "images.safetensors").unlink()  # as after a stop before the description of a new suite was written
    assert [case.triage for case in keep_accepted(tmp_path, one_case()).cases] == [Triage.ACCEPTED]


def test_bad_input_a_mistyped_triage_is_named_before_a_new_suite_takes_its_place(tmp_path):
    save_suite(tmp_path, one_case())
    edit(tmp_path, lambda c: c["cases"][0].update(triage="acepted"))
    with pytest.raises(SuiteError, match=r"suite\.json: cases\.0\.triage: "):
        keep_accepted(tmp_path, one_case())


def test_bad_input_suite_latent_was_changed(tmp_path):
    save_suite(tmp_path, one_case())
    save_file({"r001": np.ones((200, 2), np.float32)}, tmp_path / "latents.safetensors")
    with pytest.raises(SuiteError, match=r"latents\.safetensors: the latent codes of r001 were changed"):
        load_suite(tmp_path)


def test_bad_input_suite_image_was_changed(tmp_path):
    save_suite(tmp_path, one_case())
    path = tmp_path / "images.safetensors"
    images = {name: array.copy() for name, array in load_file(path).items()}
    images["r001"][17, 3, 3, 0] ^= 1
    save_file(images, path)
    with pytest.raises(SuiteError, match=r"images\.safetensors: the images of r001 were changed \(hash mismatch\)"):
        load_suite(tmp_path)


@pytest.mark.parametrize(
    "images",
    [
        {"r001": steps()[:10]},
        {"r001": steps().reshape(200, 4, 16, 1)},
        {"r001": steps().view(np.int8)},
        {"r002": steps()},
        {"r001": steps(), "r002": steps()},
    ],
)
def test_bad_input_suite_other_images(tmp_path, images):
    save_suite(tmp_path, one_case())
    save_file(images, tmp_path / "images.safetensors")
    with pytest.raises(SuiteError, match=r"images\.safetensors"):
        load_suite(tmp_path)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "folder"])
def test_bad_input_damaged_suite(tmp_path, name, damage):
    save_suite(tmp_path, one_case())
    path = tmp_path / name
    content = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "missing":
        path.write_bytes(content[: 0 if damage == "empty" else len(content) // 2])
    with pytest.raises(SuiteError, match=name.replace(".", r"\.")) as raised:
        load_suite(tmp_path)
    assert "\n" not in str(raised.value)


def test_bad_input_classifier_with_nan_logits_is_named():
    class Broken(Mean):
        def _forward(self, pixels):
            return super()._forward(pixels) * float("nan")

    with pytest.raises((SuiteError, ClassifierError), match="NaN"):
        check(one_case(), Broken(0))
