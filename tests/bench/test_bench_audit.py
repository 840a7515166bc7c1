import base64
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from defuse.bench.audit import Answers, draw_sheet, read_answers, read_key, score_audit, write_sheet
from defuse.errors import DataError
from defuse.records import Evidence, LabelledImages, Purpose, Rate, Region, Regions, RegionSamples

NAMES = ("bar", "ring", "cross")


def marked(count, first):
    """Images that differ in their first pixel, so that each can be found again."""
    images = np.zeros((count, 6, 6, 1), dtype=np.uint8)
    images[:, 0, 0, 0] = np.arange(first, first + count)
    return images


def region(name, label, predicted, images):
    """Every third sample is read right, every fourth was not kept."""
    count = len(images)
    evidence = Evidence(Rate(9, 10), Rate(8, 9), ((predicted, 8), (label, 1)), 0.001, 0.002)
    answers = np.where(np.arange(count) % 3 == 0, label, predicted)
    kept = np.arange(count) % 4 != 0
    samples = RegionSamples(name, Purpose.FINAL, images, np.zeros((count, 2), np.float32), answers, kept)
    return Region(name, label, predicted, np.zeros(2), np.eye(2), 1.0, 50, evidence), samples


@pytest.fixture
def regions():
    made = [region("r001", 0, 1, marked(40, 0)), region("r002", 2, 0, marked(40, 40))]
    return Regions(tuple(one for one, _ in made), {(one.name, Purpose.FINAL): of for one, of in made}, 2)


@pytest.fixture
def test_images():
    return LabelledImages(marked(30, 100), np.arange(30) % 3, NAMES, np.arange(30))


@pytest.fixture
def sheet(regions, test_images):
    return draw_sheet(regions, test_images, reported=12, real=7)


def test_a_sheet_holds_kept_and_misread_samples_and_real_images_each_once_with_its_truth(test_images, sheet):
    marks = sheet.images[:, 0, 0, 0].tolist()
    assert len(set(marks)) == len(marks) == 19
    for mark, truth in zip(marks, sheet.key.images, strict=True):
        if mark >= 100:
            assert (truth.region, truth.label) == (None, NAMES[test_images.labels[mark - 100]])
        else:
            row = mark % 40
            assert row % 3, "read right"
            assert row % 4, "not kept"
            assert (truth.region, truth.label) == (("r001", "bar") if mark < 40 else ("r002", "cross"))
    assert sum(mark >= 100 for mark in marks) == 7
    real = [mark >= 100 for mark in marks]
    assert real != sorted(real), "shuffled"
    assert real != sorted(real, reverse=True)


def test_the_seed_decides_the_sheet(regions, test_images, sheet):
    same, other = (draw_sheet(regions, test_images, reported=12, real=7, seed=seed) for seed in (0, 1))
    assert same.key == sheet.key
    assert other.key.sheet != sheet.key.sheet


def test_the_page_shows_the_images_in_order_and_tells_no_truth(tmp_path, sheet):
    page, key = write_sheet(tmp_path / "audit", sheet)
    text = page.read_text(encoding="utf-8")
    shown = [
        np.array(Image.open(io.BytesIO(base64.b64decode(found))))
        for found in re.findall(r"data:image/png;base64,([^\"]+)", text)
    ]
    np.testing.assert_array_equal(np.stack(shown)[..., None], sheet.images)
    assert "r001" not in text
    assert sheet.key.sheet in text
    assert read_key(key) == sheet.key


def answered(sheet, changes):
    right = {number: truth.label for number, truth in enumerate(sheet.key.images, start=1)}
    return Answers(sheet=sheet.key.sheet, answers={**right, **changes})


def test_scores_are_counted_by_hand(sheet):
    numbers = {region: [n for n, truth in enumerate(sheet.key.images, 1) if truth.region == region]
               for region in ("r001", "r002", None)}  # fmt: skip
    changes = {numbers["r001"][0]: "ring", numbers["r001"][1]: "ring", numbers["r002"][0]: "?", numbers[None][0]: "?"}
    found = score_audit(sheet.key, answered(sheet, changes))
    assert (found.real.successes, found.real.trials, found.cannot_tell) == (9, 12, 1)
    assert (found.real.low, found.real.high) == Rate(9, 12).interval
    assert (found.reader.successes, found.reader.trials) == (6, 7)
    assert found.missed == {"r001": {"ring": 2}, "r002": {"?": 1}}


def test_answers_are_read_as_the_page_saves_them(tmp_path, sheet):
    told = answered(sheet, {1: "?"})
    path = tmp_path / "answers.json"
    path.write_text(json.dumps({"sheet": told.sheet, "answers": {str(n): of for n, of in told.answers.items()}}))
    assert read_answers(path, sheet.key) == told


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda told: told["answers"].pop("3"), "1 of 19 images have no answer, first image 3; add them"),
        (
            lambda told: told["answers"].update({"2": "rnig"}),
            "image 2: no class is called 'rnig'; did you mean 'ring'?",
        ),
        (
            lambda told: told["answers"].update({"20": "ring"}),
            "an answer for image 20, but the sheet has images 1 to 19",
        ),
        (lambda told: told.update(sheet="other"), "answers of sheet other, expected of"),
        (
            lambda told: told.pop("answers"),
            "answers: Field required; give the answers.json that the sheet's page saves",
        ),
        (lambda told: told["answers"].update({"one": "ring"}), "answers.one.[key]: Input should be a valid integer"),
    ],
)
def test_bad_answers_are_refused_in_one_line(tmp_path, sheet, spoil, expected):
    told = {"sheet": sheet.key.sheet, "answers": {str(n): of for n, of in answered(sheet, {}).answers.items()}}
    spoil(told)
    path = tmp_path / "answers.json"
    path.write_text(json.dumps(told))
    with pytest.raises(DataError, match=re.escape(expected)) as raised:
        read_answers(path, sheet.key)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


def test_missing_and_broken_files_are_named(tmp_path, sheet):
    with pytest.raises(
        DataError, match=r"nowhere\.json: not found; give the key\.json that was written with the sheet"
    ):
        read_key(tmp_path / "nowhere.json")
    (tmp_path / "answers.json").write_text("{")
    with pytest.raises(DataError, match=r"answers\.json: Invalid JSON"):
        read_answers(tmp_path / "answers.json", sheet.key)


def test_a_run_without_a_misread_sample_has_nothing_to_audit(regions, test_images):
    right = {
        key: replace(of, predicted=np.full(len(of), 0 if key[0] == "r001" else 2))
        for key, of in regions.samples.items()
    }
    with pytest.raises(DataError, match="reports no region with a misread sample"):
        draw_sheet(replace(regions, samples=right), test_images, reported=12, real=7)
