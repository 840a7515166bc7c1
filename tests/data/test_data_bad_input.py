"""Everything that a user can hand over by mistake: one line that names the file and the key."""

import os
import pickle
import zipfile

import numpy as np
import pytest
from data_makers import arrays, labelled, write_npz

from defuse.data import NpzReader, SignSettings, SignsReader, Source, SplitSettings, open_source, render, split
from defuse.errors import DataError


def message(action):
    with pytest.raises(DataError) as caught:
        action()
    text = str(caught.value)
    assert "\n" not in text
    return text


def of_bytes(values):
    return np.full((12, 5, 4), values, dtype=np.uint8)


def floats(*special):
    values = np.full((12, 5, 4), 0.5, dtype=np.float32)
    values.flat[: len(special)] = special
    return values


BAD_ARRAYS = {
    "images are objects": ({"train_images": np.array([None] * 12)}, ["train_images", "object", "never unpickled"]),
    "labels are objects": ({"test_labels": np.array([{}] * 6)}, ["test_labels", "object", "never unpickled"]),
    "names are objects": ({"class_names": np.array(["a", None, "c"])}, ["class_names", "object"]),
    "images int64": ({"train_images": of_bytes(3).astype(np.int64)}, ["train_images", "uint8", "int64"]),
    "images bool": ({"train_images": of_bytes(1).astype(bool)}, ["train_images", "uint8", "bool"]),
    "images complex": ({"train_images": of_bytes(1).astype(complex)}, ["train_images", "complex128"]),
    "images text": ({"train_images": np.full((12, 5, 4), "x")}, ["train_images", "uint8", "<U1"]),
    "floats NaN": ({"train_images": floats(0.1, np.nan)}, ["train_images", "NaN"]),
    "floats infinite": ({"train_images": floats(np.inf)}, ["train_images", "[0, 1]", "inf"]),
    "floats negative": ({"train_images": floats(-0.01)}, ["train_images", "[0, 1]", "-0.01"]),
    "floats up to 255": ({"train_images": floats(255.0)}, ["train_images", "[0, 1]", "255", "divide by 255"]),
    "images flat": ({"train_images": np.zeros((12, 20), np.uint8)}, ["train_images", "(12, 20)"]),
    "images too deep": ({"train_images": np.zeros((12, 1, 5, 4, 1), np.uint8)}, ["train_images", "(12, 1, 5, 4, 1)"]),
    "images scalar": ({"train_images": np.uint8(3)}, ["train_images", "()"]),
    "no image": ({"train_images": np.zeros((0, 5, 4), np.uint8)}, ["train_images", "at least one image"]),
    "no test image": (
        {"test_images": np.zeros((0, 5, 4), np.uint8), "test_labels": np.zeros(0, int)},
        ["test_images", "at least one image"],
    ),
    "no pixel": ({"train_images": np.zeros((12, 0, 4), np.uint8)}, ["train_images", "at least one pixel"]),
    "two channels": ({"train_images": np.zeros((12, 5, 4, 2), np.uint8)}, ["train_images", "1 or 3 channels", "got 2"]),
    "transparency": ({"train_images": np.zeros((12, 5, 4, 4), np.uint8)}, ["train_images", "1 or 3 channels", "got 4"]),
    "channels first": ({"train_images": np.zeros((12, 3, 5, 4), np.uint8)}, ["train_images", "channels last"]),
    "labels float": ({"train_labels": np.arange(12) % 3 * 1.0}, ["train_labels", "integers", "float64"]),
    "labels text": ({"train_labels": np.array(list("abc" * 4))}, ["train_labels", "integers", "<U1"]),
    "labels bool": ({"train_labels": np.arange(12) % 2 == 0}, ["train_labels", "integers", "bool"]),
    "labels one-hot": ({"train_labels": np.eye(3, dtype=int)[np.arange(12) % 3]}, ["train_labels", "(12, 3)"]),
    "labels scalar": ({"train_labels": np.int64(3)}, ["train_labels", "()"]),
    "labels negative": ({"train_labels": np.arange(12) % 3 - 1}, ["train_labels", "from 0", "-1"]),
    "labels huge": ({"train_labels": np.array([0, 1, 2, 2**62] * 3)}, ["class 3", "no training image"]),
    "labels beyond int64": ({"train_labels": np.full(12, 2**63, np.uint64)}, ["train_labels", str(2**63)]),
    "label above the names": ({"class_names": np.array(["a", "b"])}, ["label 2", "train", "2 class names"]),
    "test label above the names": (
        {"class_names": np.array(["a", "b", "c"]), "test_labels": np.arange(6) % 4},
        ["label 3", "test", "3 class names"],
    ),
    "test label unseen in train": ({"test_labels": np.arange(6) % 4}, ["class 3", "no training image"]),
    "fewer labels": ({"train_labels": np.arange(11) % 3}, ["train_labels", "11 labels for 12 images"]),
    "no labels": ({"test_labels": np.zeros(0, int)}, ["test_labels", "0 labels for 6 images"]),
    "a gap in the classes": ({"train_labels": np.array([0, 1, 3] * 4)}, ["class 2", "no training image"]),
    "labels from 1": ({"train_labels": np.arange(12) % 3 + 1}, ["class 0", "no training image", "renumber"]),
    "one class": (
        {"train_labels": np.zeros(12, int), "test_labels": np.zeros(6, int)},
        ["at least two classes", "got 1"],
    ),
    "more names than classes": ({"class_names": np.array(list("abcd"))}, ["class 3 (d)", "no training image"]),
    "a name twice": ({"class_names": np.array(["a", "b", "a"])}, ["class_names", "'a'", "twice"]),
    "an empty name": ({"class_names": np.array(["a", " ", "c"])}, ["class_names", "class 1", "empty"]),
    "names are numbers": ({"class_names": np.arange(3)}, ["class_names", "text", "int64"]),
    "names in a table": ({"class_names": np.array([["a", "b", "c"]])}, ["class_names", "(1, 3)"]),
    "other size in test": ({"test_images": np.zeros((6, 5, 5), np.uint8)}, ["test images are 5 x 5 x 1", "5 x 4 x 1"]),
    "other channels in test": ({"test_images": np.zeros((6, 5, 4, 3), np.uint8)}, ["5 x 4 x 3", "5 x 4 x 1"]),
    "other size in val": (
        {"val_images": np.zeros((2, 9, 4), np.uint8), "val_labels": np.array([0, 1])},
        ["validation images are 9 x 4 x 1"],
    ),
    "no train labels": ({"train_labels": None}, ["train_images is there", "train_labels is missing"]),
    "no train images": ({"train_images": None}, ["train_labels is there", "train_images is missing"]),
    "no test labels": ({"test_labels": None}, ["test_images is there", "test_labels is missing"]),
    "no test images": ({"test_images": None}, ["test_images is missing"]),
    "only val images": ({"val_images": of_bytes(1)}, ["val_images is there", "val_labels is missing"]),
}


@pytest.mark.parametrize(("changes", "expected"), BAD_ARRAYS.values(), ids=BAD_ARRAYS)
def test_bad_input_in_arrays(tmp_path, changes, expected):
    path = write_npz(tmp_path, **changes)
    text = message(NpzReader(path).read)
    for part in (str(path), *expected):
        assert part in text


def test_bad_input_wrong_keys(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, images=of_bytes(1), labels=np.arange(12) % 3)
    text = message(NpzReader(path).read)
    assert "train_images and train_labels (MedMNIST)" in text
    assert "x_train and y_train (Keras)" in text
    assert "got images, labels" in text


def test_bad_input_empty_archive(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path)
    assert "got none" in message(NpzReader(path).read)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("a", "b"), "only 2 class names"),
        (("a", "b", "c", "d"), "class 3 (d) has no training image"),
        (("a", "b", "b"), "'b' is given twice"),
        (("a", "", "c"), "the name of class 1 is empty"),
    ],
)
def test_bad_input_class_names_argument(tmp_path, names, expected):
    path = write_npz(tmp_path)
    text = message(open_source(path, names).read)
    assert expected in text
    assert str(path) in text


def test_bad_input_missing_file(tmp_path):
    text = message(NpzReader(tmp_path / "nowhere.npz").read)
    assert text == f"{tmp_path / 'nowhere.npz'}: not found"


def test_bad_input_file_where_a_folder_should_be(tmp_path):
    (tmp_path / "file").touch()
    assert "Not a directory" in message(NpzReader(tmp_path / "file" / "a.npz").read)


def test_bad_input_folder(tmp_path):
    folder = tmp_path / "a.npz"
    folder.mkdir()
    text = message(open_source(folder).read)
    assert str(folder) in text
    assert "Is a directory" in text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_bad_input_unreadable_file(tmp_path):
    path = write_npz(tmp_path)
    path.chmod(0)
    assert "Permission denied" in message(NpzReader(path).read)


def test_bad_input_link_to_itself(tmp_path):
    """Unreadable for everyone, root included."""
    path = tmp_path / "a.npz"
    path.symlink_to(path)
    text = message(NpzReader(path).read)
    assert f"{path}: cannot be read" in text


def npy_bytes(folder):
    np.save(folder / "b.npy", of_bytes(1))
    return (folder / "b.npy").read_bytes()


NO_NPZ = {
    "empty": lambda _: b"",
    "text": lambda _: b"train_images,train_labels\n1,2\n",
    "one array": npy_bytes,
    "pickle": lambda _: pickle.dumps({"train_images": 1}),
    "cut short": lambda folder: write_npz(folder, "whole.npz").read_bytes()[:400],
}


@pytest.mark.parametrize("content", NO_NPZ.values(), ids=NO_NPZ)
def test_bad_input_no_npz(tmp_path, content):
    path = tmp_path / "a.npz"
    path.write_bytes(content(tmp_path))
    text = message(NpzReader(path).read)
    assert str(path) in text
    assert "is no .npz file" in text


def test_bad_input_zip_behind_other_bytes(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(b"something else" + write_npz(tmp_path, "whole.npz").read_bytes())
    assert f"{path}: cannot be read" in message(NpzReader(path).read)


def test_bad_input_flipped_bytes(tmp_path):
    path = write_npz(tmp_path)
    content = bytearray(path.read_bytes())
    content[150:190] = bytes(40)
    path.write_bytes(content)
    text = message(NpzReader(path).read)
    assert f"{path}: train_images is damaged" in text


def test_bad_input_members_that_are_no_arrays(tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train_images", "hello")
        archive.writestr("train_labels", "hello")
    assert "train_images is no NumPy array" in message(NpzReader(path).read)


def test_bad_input_never_unpickled(tmp_path):
    """A payload that would make a file stays dead."""
    trace = tmp_path / "trace"

    class Payload:
        def __reduce__(self):
            return (open, (str(trace), "w"))

    write_npz(tmp_path, train_images=np.array([Payload()] * 12, dtype=object))
    message(NpzReader(tmp_path / "images.npz").read)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("source", "expected"),
    [("photos.tar", "'.tar'"), ("photos", "cannot read that"), ("", "what can be read"), ("a.npz.txt", "'.txt'")],
)
def test_bad_input_unknown_source(source, expected):
    text = message(lambda: open_source(source))
    assert expected in text
    assert "what can be read: an .npz file, a folder of class folders, " in text
    assert "or the word 'signs'" in text


def test_bad_input_names_for_signs():
    assert "leave class_names out" in message(lambda: open_source("signs", ["a", "b"]))


@pytest.mark.parametrize("missing", ["test", "validation"])
def test_bad_input_class_too_small_to_divide(missing):
    parts = {"test": labelled([1, 1]), "validation": labelled([1, 1])} | {missing: None}
    text = message(lambda: split(Source(train=labelled([9, 1]), **parts), SplitSettings(), seed=0))
    assert "class 1 (b)" in text
    assert f"{missing} split" in text


def test_bad_input_class_too_small_for_both_cuts():
    text = message(lambda: split(Source(train=labelled([2, 9])), SplitSettings(), seed=0))
    assert "class 0 (a)" in text


def test_bad_input_limit_below_the_number_of_classes():
    source = Source(train=labelled([9, 9, 9]), test=labelled([1, 1, 1]))
    assert "data.split.limit" in message(lambda: split(source, SplitSettings(limit=2), seed=0))


@pytest.mark.parametrize(
    ("factors", "expected"),
    [
        ({"lihgt": (0, 1)}, "no factor 'lihgt'"),
        ({"size": (16, 32)}, "no factor 'size'"),
        ({"light": (0.5, 0.1)}, "light"),
        ({"light": (0.5, 1.1)}, "within 0 to 1"),
        ({"light": (0.5, float("nan"))}, "light"),
        ({"rotation": (0, float("inf"))}, "rotation"),
        ({"blur": (-1, 0)}, "blur"),
    ],
)
def test_bad_input_factors(factors, expected):
    text = message(lambda: render(SignSettings(), 3, seed=0, factors=factors))
    assert text.startswith("signs: ")
    assert expected in text


def test_bad_input_sign_settings():
    for wrong in ({"size": 15}, {"light": (1.0, 0.0)}, {"noise": (-1.0, 0.0)}, {"colour": (0, 1)}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            SignSettings(**wrong)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [([0, 1], "2 labels for 3 images"), ([0, 1, 10], "below 10, got 10"), ([0, -1, 2], "from 0, got -1")],
)
def test_bad_input_sign_labels(labels, expected):
    text = message(lambda: render(SignSettings(), 3, seed=0, labels=np.array(labels)))
    assert text.startswith("signs: labels")
    assert expected in text


def test_bad_input_too_few_signs():
    assert "at least 1 sign" in message(lambda: render(SignSettings(), 0, seed=0))
    assert "at least 10 training signs" in message(SignsReader(train=9).read)


def test_good_arrays_are_good(tmp_path):
    """The base of every case above is read without complaint."""
    assert len(NpzReader(write_npz(tmp_path, **arrays())).read().train) == 12
