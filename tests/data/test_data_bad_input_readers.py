"""What can be wrong with folders, Parquet and .mat files, and with groups: one line that names the place."""

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_makers import write_npz
from fake_libraries import picture, png
from scipy.io import savemat

from defuse.data import ReadSettings, open_source
from defuse.errors import DataError

PIXELS = np.arange(60, dtype=np.uint8).reshape(5, 4, 3)
PNG = png(PIXELS)


def message(source, class_names=None, **settings):
    with pytest.raises(DataError) as caught:
        open_source(source, class_names, ReadSettings(**settings)).read()
    text = str(caught.value)
    assert "\n" not in text
    return text


def fill(root, *paths, content=PNG):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root


FOLDERS = {
    "empty": ([], "expected one folder of images for each class, found none"),
    "images without classes": (["0.png", "1.png"], "expected one folder of images for each class"),
    "one class": (["a/0.png", "a/1.png"], "expected at least two classes, got 1"),
    "one class in train": (["train/a/0.png", "test/a/0.png"], "expected at least two classes"),
    "a class without images": (["a/0.png", "b/notes.txt"], "{root}/b: holds no image"),
    "a test class without images": (
        ["train/a/0.png", "train/b/0.png", "test/a/x.txt"],
        "{root}/test/a: holds no image",
    ),
    "a folder in a class": (["a/0.png", "b/0.png", "b/more/0.png"], "{root}/b/more: a folder within a class folder"),
    "an image in no class": (["a/0.png", "b/0.png", "0.png"], "{root}/0.png: lies in no class folder"),
    "an image in no class of test": (
        ["train/a/0.png", "train/b/0.png", "test/0.png"],
        "{root}/test/0.png: lies in no class folder",
    ),
    "an empty test split": (["train/a/0.png", "train/b/0.png", "test/notes.txt"], "the test split holds no image"),
    "a class of test alone": (
        ["train/a/0.png", "train/b/0.png", "test/c/0.png"],
        "{root}/test/c: there is no class of that name",
    ),
    "no train": (["test/a/0.png", "val/a/0.png"], "expected a folder train that holds one folder for each class"),
    "train and test without classes": (["train/0.png", "test/0.png"], "expected a folder train that holds one folder"),
    "two validation splits": (
        ["train/a/0.png", "train/b/0.png", "val/a/0.png", "valid/a/0.png"],
        "val and valid both could be the validation split",
    ),
    "splits under other names": (["training/a/0.png", "testing/a/0.png"], "testing/a: a folder within a class folder"),
}


@pytest.mark.parametrize(("paths", "expected"), FOLDERS.values(), ids=FOLDERS)
def test_bad_input_folders(tmp_path, paths, expected):
    text = message(fill(tmp_path, *paths))
    assert str(tmp_path) in text
    assert expected.replace("{root}", str(tmp_path)) in text


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a", "b", "c"], "class_names holds 'c', but there is no such folder"),
        (["b"], "the folder 'a' is not in class_names"),
        (["a", "b", "b"], "'b' is given twice"),
    ],
)
def test_bad_input_class_names_of_folders(tmp_path, names, expected):
    assert expected in message(fill(tmp_path, "a/0.png", "b/0.png"), names)


FILES = {
    "nothing": (b"", "it is empty"),
    "text": (b"not an image", "none of PNG, JPEG"),
    "half": (PNG[: len(PNG) // 2], ""),
    "another kind": (b"%PDF-1.4 ...", "none of PNG"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "none of PNG"),
}


@pytest.mark.parametrize(("content", "reason"), FILES.values(), ids=FILES)
def test_bad_input_image_files(tmp_path, content, reason):
    fill(fill(tmp_path, "a/0.png", "b/0.png"), "b/1.png", content=content)
    text = message(tmp_path)
    assert text.startswith(f"{tmp_path}/b/1.png: cannot be read as an image ({reason}")
    assert text.endswith("mend or remove it, or set data.skip_unreadable=true")


def test_bad_input_nothing_left_after_skipping(tmp_path):
    fill(tmp_path, "train/a/0.png", "train/b/0.png")
    fill(tmp_path, "test/a/0.png", content=b"")
    assert "the test split holds no image that can be read" in message(tmp_path, skip_unreadable=True)
    fill(tmp_path, "train/b/0.png", content=b"")
    fill(tmp_path, "test/a/0.png")
    assert "class 1 (b) has no training image" in message(tmp_path, skip_unreadable=True)


def test_bad_input_sizes_that_differ(tmp_path):
    fill(tmp_path, "a/0.png", "b/0.png")
    picture(PIXELS.transpose(1, 0, 2).copy()).save(tmp_path / "b/1.png")
    assert message(tmp_path) == (
        f"{tmp_path}/b/1.png is 4 x 5 pixels (height x width), but {tmp_path}/a/0.png 5 x 4; "
        "set the size to scale to, such as data.size=[5,4]"
    )


@pytest.mark.parametrize("target", ["", "..", "../.."])
def test_bad_input_links_in_circles(tmp_path, target):
    root = fill(tmp_path / "root", "a/0.png", "b/0.png")
    (root / "b/loop").symlink_to(root / "b" / target)
    assert "loop: a folder within a class folder" in message(root)


def test_bad_input_a_link_to_the_whole(tmp_path):
    fill(tmp_path, "a/0.png", "b/0.png")
    (tmp_path / "c").symlink_to(tmp_path)
    assert "a folder within a class folder" in message(tmp_path)


def test_bad_input_an_image_linked_to_itself(tmp_path):
    fill(tmp_path, "a/0.png", "b/0.png")
    (tmp_path / "b/1.png").symlink_to(tmp_path / "b/1.png")
    assert f"{tmp_path}/b/1.png: cannot be read as an image" in message(tmp_path)


def test_bad_input_a_pipe_is_not_waited_for(tmp_path):
    fill(tmp_path, "a/0.png", "b/0.png")
    os.mkfifo(tmp_path / "b/1.png")
    assert "b/1.png: cannot be read as an image (it is no file)" in message(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_bad_input_files_that_may_not_be_read(tmp_path):
    fill(tmp_path, "a/0.png", "b/0.png")
    (tmp_path / "b/0.png").chmod(0)
    assert "Permission denied" in message(tmp_path)
    (tmp_path / "a").chmod(0)
    assert "Permission denied" in message(tmp_path)


def test_bad_input_odd_names(tmp_path):
    fill(tmp_path, "a/0.png", "b/0.png")
    fill(tmp_path, "b/line\nbreak.png", content=b"")
    assert r"b/line\nbreak.png: cannot be read" in message(tmp_path)
    fill(tmp_path, "c\nd/0.png")
    assert r"the folder name 'c\nd' cannot be shown" in message(tmp_path)


def test_bad_input_names_that_are_no_text(tmp_path):
    fill(tmp_path, "a/0.png", "b/0.png")
    os.mkdir(os.fsencode(tmp_path) + b"/\xff\xfe")  # noqa: PTH102 - a name in bytes
    text = message(tmp_path)
    assert "cannot be shown" in text
    text.encode()


STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def table(**changes):
    good = {"image": pa.array([{"bytes": PNG, "path": None}] * 4, STRUCT), "label": [0, 1, 0, 1]} | changes
    return pa.table({name: values for name, values in good.items() if values is not None})


TABLES = {
    "no image column": ({"image": None}, {}, ["expected a column image or img, found label", "data.image_column"]),
    "no label column": ({"label": None}, {}, ["expected a column label or labels", "found image", "data.label_column"]),
    "no such image column": ({}, {"image_column": "scan"}, ["expected a column scan, found image, label"]),
    "no such label column": ({}, {"label_column": "kind"}, ["expected a column kind, found image, label"]),
    "no such group column": ({}, {"groups": "patient"}, ["expected a column patient", "data.groups"]),
    "null image": ({"image": pa.array([PNG, None, PNG, PNG], pa.binary())}, {}, ["column image, row 1", "null"]),
    "null bytes": (
        {"image": pa.array([{"bytes": PNG}] * 3 + [{"bytes": None}], STRUCT)},
        {},
        ["column image, row 3", "null"],
    ),
    "broken bytes": ({"image": [PNG, PNG[:40], PNG, PNG]}, {}, ["column image, row 1: cannot be read as an image"]),
    "no bytes": ({"image": [PNG, b"", PNG, PNG]}, {}, ["column image, row 1", "it is empty"]),
    "missing path": (
        {"image": pa.array([{"bytes": None, "path": "nowhere.png"}] * 4, STRUCT)},
        {},
        ["column image, row 0 (nowhere.png)", "No such file"],
    ),
    "images are numbers": ({"image": [1, 2, 3, 4]}, {}, ["column image, row 0", "expected an image's bytes, got int"]),
    "images are text": ({"image": list("abcd")}, {}, ["column image, row 0", "expected an image's bytes, got str"]),
    "images are lists": ({"image": [[[0]]] * 4}, {}, ["column image, row 0", "expected an image's bytes, got list"]),
    "null label": ({"label": [0, None, 1, 0]}, {}, ["column label, row 1: the value is missing (null)"]),
    "null text label": ({"label": ["a", "b", None, "b"]}, {}, ["column label, row 2: the value is missing (null)"]),
    "labels are floats": ({"label": [0.0, 1.0, 0.0, 1.0]}, {}, ["column label, row 0", "integer or text, got float"]),
    "labels are booleans": ({"label": [True, False] * 2}, {}, ["column label, row 0", "integer or text, got bool"]),
    "labels are lists": ({"label": [[0], [1], [0], [1]]}, {}, ["column label, row 0", "integer or text, got list"]),
    "labels are bytes": ({"label": [b"a", b"b"] * 2}, {}, ["column label, row 0", "integer or text, got bytes"]),
    "a negative label": ({"label": [0, 1, -1, 1]}, {}, ["column label, row 2: expected class indices from 0, got -1"]),
    "a huge label": ({"label": pa.array([0, 1, 2**63, 1], pa.uint64())}, {}, ["column label, row 2", str(2**63)]),
    "a gap in the classes": ({"label": [0, 1, 3, 1]}, {}, ["class 2 (2) has no training image"]),
    "one class": ({"label": ["a"] * 4}, {}, ["at least two classes"]),
    "an empty text label": ({"label": ["a", "", "a", "b"]}, {}, ["the name of class 0 is empty"]),
    "no rows": ({"image": pa.array([], STRUCT), "label": pa.array([], pa.int64())}, {}, ["holds no image"]),
    "null group": ({"who": [1, None, 2, 3]}, {"groups": "who"}, ["column who, row 1: the value is missing (null)"]),
    "groups are floats": ({"who": [1.5] * 4}, {"groups": "who"}, ["groups as integers or text, got float64"]),
    "groups are lists": ({"who": [[1, 2]] * 4}, {"groups": "who"}, ["one group an image", "(4, 2)"]),
}


@pytest.mark.parametrize(("changes", "settings", "expected"), TABLES.values(), ids=TABLES)
def test_bad_input_tables(tmp_path, changes, settings, expected):
    path = tmp_path / "a.parquet"
    pq.write_table(table(**changes), path)
    text = message(path, **settings)
    for part in (str(path), *expected):
        assert part in text


def test_bad_input_text_labels_that_are_not_in_class_names(tmp_path):
    pq.write_table(table(label=["a", "b", "c", "a"]), tmp_path / "a.parquet")
    assert "row 2: 'c' is none of the classes a, b" in message(tmp_path / "a.parquet", ["a", "b"])


def test_bad_input_tables_that_disagree(tmp_path):
    pq.write_table(table(label=["a", "b", "a", "b"]), tmp_path / "train-0.parquet")
    pq.write_table(table(label=["a", "b", "a", "c"]), tmp_path / "test-0.parquet")
    assert "test-0.parquet: column label, row 3: 'c' is none of the classes a, b" in message(tmp_path)
    pq.write_table(table(), tmp_path / "train-0.parquet")
    assert "test-0.parquet: column label, row 0: 'a' is none of the classes 0, 1 ..." in message(tmp_path)
    note = b'{"info": {"features": {"label": {"names": ["a", "b"]}}}}'
    pq.write_table(table().replace_schema_metadata({b"huggingface": note}), tmp_path / "test-0.parquet")
    assert "class names differ from those of" in message(tmp_path)
    pq.write_table(table(image=None), tmp_path / "test-0.parquet")
    assert "test-0.parquet: expected a column image" in message(tmp_path)


def test_bad_input_folder_of_tables_without_train(tmp_path):
    pq.write_table(table(), tmp_path / "training.parquet")
    assert "expected files named train-*.parquet, found training.parquet" in message(tmp_path)


@pytest.mark.parametrize("content", [b"", b"hello", b"PAR1 and no more PAR1"], ids=["empty", "text", "ends alone"])
def test_bad_input_no_parquet(tmp_path, content):
    fill(tmp_path, "a.parquet", content=content)
    assert f"{tmp_path}/a.parquet: cannot be read as Parquet" in message(tmp_path / "a.parquet")


def test_bad_input_damaged_pages(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(table(), path, compression="zstd")
    content = bytearray(path.read_bytes())
    content[4:200] = bytes(196)
    path.write_bytes(content)
    assert f"{path}: cannot be read as Parquet" in message(path)


@pytest.mark.parametrize("name", ["a.parquet", "train_32x32.mat"])
def test_bad_input_missing_files(tmp_path, name):
    assert message(tmp_path / name) == f"{tmp_path / name}: not found"


def test_bad_input_a_folder_named_like_a_mat_file(tmp_path):
    (tmp_path / "train.mat").mkdir()
    assert "Is a directory" in message(tmp_path / "train.mat")


X, Y = np.zeros((5, 4, 3, 4), np.uint8), np.array([[0], [1], [0], [1]])
MATS = {
    "no images": ({"y": Y}, "X is missing"),
    "no labels": ({"X": X}, "y is missing"),
    "images flat": ({"X": X[0], "y": Y}, "X: expected shape (height, width, channels, n), got (4, 3, 4)"),
    "channels first": ({"X": X.transpose(2, 0, 1, 3), "y": Y}, "X: expected 1 or 3 channels, got 4"),
    "images int": ({"X": X.astype(np.int32), "y": Y}, "X: expected images as uint8"),
    "images text": ({"X": "hello", "y": Y}, "X: expected shape"),
    "images are cells": ({"X": np.array([1, "a"], dtype=object), "y": Y}, "X: expected shape"),
    "labels in a row": ({"X": X, "y": Y.T}, "y: expected one label an image"),
    "labels are fractions": ({"X": X, "y": Y + 0.5}, "y: expected labels as integers, got float64"),
    "labels are NaN": ({"X": X, "y": Y * np.nan}, "y: expected labels as integers, got float64"),
    "labels negative": ({"X": X, "y": Y - 1}, "y: expected class indices from 0, got -1"),
    "labels are a struct": ({"X": X, "y": {"a": 1}}, "y: expected"),
    "fewer labels": ({"X": X, "y": Y[:3]}, "y: expected one label an image, got 3 labels for 4 images"),
}


@pytest.mark.parametrize(("variables", "expected"), MATS.values(), ids=MATS)
def test_bad_input_mat_files(tmp_path, variables, expected):
    path = tmp_path / "a.mat"
    savemat(path, variables)
    text = message(path)
    assert str(path) in text
    assert expected in text


def test_bad_input_a_damaged_sibling_is_named(tmp_path):
    savemat(tmp_path / "train_1.mat", {"X": X, "y": Y})
    savemat(tmp_path / "test_1.mat", {"X": X[:3], "y": Y})
    assert "test images are 3 x 4 x 3, but train images 5 x 4 x 3" in message(tmp_path / "train_1.mat")
    fill(tmp_path, "test_1.mat", content=b"MATLAB 5.0 MAT-file, and then nothing")
    assert f"{tmp_path}/test_1.mat: cannot be read as a .mat file" in message(tmp_path / "train_1.mat")


@pytest.mark.parametrize("start", [b"MATLAB 7.3 MAT-file, Platform: GLNXA64", b"\x89HDF\r\n\x1a\n"])
def test_bad_input_mat_files_of_version_7_3(tmp_path, start):
    fill(tmp_path, "a.mat", content=start + bytes(600))
    assert "is of version 7.3 (HDF5); save it in MATLAB with -v7, or store it as .npz" in message(tmp_path / "a.mat")


@pytest.mark.parametrize("cut", [1, 100, 130, 180])
def test_bad_input_mat_files_cut_short(tmp_path, cut):
    savemat(tmp_path / "whole.mat", {"X": X, "y": Y}, do_compression=True)
    fill(tmp_path, "a.mat", content=(tmp_path / "whole.mat").read_bytes()[:cut])
    assert str(tmp_path / "a.mat") in message(tmp_path / "a.mat")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"size": (8, 8)}, "data.size means nothing"),
        ({"skip_unreadable": True}, "data.skip_unreadable means nothing"),
        ({"image_column": "a"}, "data.image_column means nothing"),
        ({"root": "elsewhere"}, "data.root means nothing"),
        ({"download": True}, "data.download means nothing"),
        ({"groups": "track"}, "data.groups: expected PATH.npz:KEY, got 'track'"),
        ({"groups": "tracks.npz"}, "data.groups: expected PATH.npz:KEY"),
        ({"groups": ""}, "data.groups: expected PATH.npz:KEY"),
        ({"groups_within_class": True}, "the source has no groups; name them with data.groups"),
        ({"groups": "~nobody-here/a.npz:track"}, "there is no such home folder"),
    ],
)
def test_bad_input_settings_that_mean_nothing(tmp_path, settings, expected):
    assert expected in message(write_npz(tmp_path), **settings)


GROUPS = {
    "fewer": (np.arange(11), "expected one group a training image, got 11 groups for 12 images"),
    "floats": (np.arange(12) / 2, "integers or text, got float64"),
    "objects": (np.array([None] * 12), "never unpickled"),
    "a table": (np.zeros((12, 2), int), "(12, 2)"),
    "one number": (np.int64(3), "()"),
}


@pytest.mark.parametrize(("groups", "expected"), GROUPS.values(), ids=GROUPS)
def test_bad_input_groups(tmp_path, groups, expected):
    np.savez(tmp_path / "more.npz", track=groups)
    text = message(write_npz(tmp_path), groups=f"{tmp_path / 'more.npz'}:track")
    assert str(tmp_path / "more.npz") in text
    assert expected in text
    text = message(write_npz(tmp_path, train_groups=groups))
    assert "images.npz: train_groups" in text
    assert expected in text


def test_bad_input_groups_that_are_not_there(tmp_path):
    path = write_npz(tmp_path)
    assert message(path, groups=f"{path}:track").endswith(
        "holds no array 'track' for data.groups, only test_images, test_labels, train_images, train_labels"
    )
    assert "nowhere.npz: not found" in message(path, groups=f"{tmp_path / 'nowhere.npz'}:track")


def test_bad_input_home_folders():
    assert "there is no such home folder" in message("~nobody-here/a.npz")
