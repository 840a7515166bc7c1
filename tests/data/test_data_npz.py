import os
from pathlib import Path

import numpy as np
import pytest
from data_makers import KERAS, arrays, write_npz
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from defuse.data import (
    FolderReader,
    GroupedReader,
    GroupFile,
    HuggingFaceReader,
    MatReader,
    NpzReader,
    ParquetReader,
    ReadSettings,
    SignsReader,
    TorchvisionReader,
    open_source,
)


@settings(max_examples=40)
@given(
    images=hnp.arrays(
        np.uint8,
        st.one_of(
            st.tuples(st.integers(2, 6), st.integers(1, 7), st.integers(1, 7)),
            st.tuples(st.integers(2, 6), st.integers(1, 7), st.integers(1, 7), st.sampled_from([1, 3])),
        ),
    ),
    dtype=st.sampled_from([np.uint8, np.int8, np.uint16, np.int32, np.int64, np.uint64]),
    column=st.booleans(),
    keras=st.booleans(),
)
def test_what_was_written_is_read(tmp_path_factory, images, dtype, column, keras):
    n = len(images)
    labels = (np.arange(n) % 2).astype(dtype)
    stored = {"train_images": images, "train_labels": labels.reshape(n, 1) if column else labels}
    path = tmp_path_factory.mktemp("npz") / "a.npz"
    np.savez(path, **{KERAS[key] if keras else key: value for key, value in stored.items()})

    source = NpzReader(path).read()

    assert source.test is None
    assert source.validation is None
    assert source.train.images.shape == (*images.shape[:3], images.shape[3] if images.ndim == 4 else 1)
    assert source.train.images.dtype == np.uint8
    assert np.array_equal(source.train.images.ravel(), images.ravel())
    assert source.train.labels.dtype == np.int64
    assert source.train.labels.tolist() == [i % 2 for i in range(n)]
    assert source.train.rows.tolist() == list(range(n))
    assert source.train.class_names == ("0", "1")


@pytest.mark.parametrize("keras", [False, True])
def test_every_split_is_read(tmp_path, keras):
    stored = arrays(val_images=np.full((2, 5, 4), 9, np.uint8), val_labels=np.array([2, 0]))
    np.savez(tmp_path / "a.npz", **{KERAS[key] if keras else key: value for key, value in stored.items()})
    source = NpzReader(tmp_path / "a.npz").read()
    for split, key in ((source.train, "train"), (source.validation, "val"), (source.test, "test")):
        assert np.array_equal(split.images[..., 0], stored[f"{key}_images"])
        assert np.array_equal(split.labels, stored[f"{key}_labels"])
        assert split.class_names == ("0", "1", "2")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_become_the_nearest_bytes(tmp_path, dtype):
    every = np.arange(256, dtype=np.uint8).reshape(2, 8, 16)
    path = tmp_path / "a.npz"
    np.savez(path, train_images=(every / 255).astype(dtype), train_labels=np.array([0, 1]))
    assert np.array_equal(NpzReader(path).read().train.images[..., 0], every)


def test_floats_between_two_bytes_are_rounded(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, train_images=np.array([[[10.4, 10.6]], [[0.0, 255.0]]]) / 255, train_labels=np.array([0, 1]))
    assert NpzReader(path).read().train.images.ravel().tolist() == [10, 11, 0, 255]


def test_class_names_of_the_file_and_of_the_argument(tmp_path):
    path = write_npz(tmp_path, class_names=np.array(["ant", "bee", "çat"]))
    assert NpzReader(path).read().train.class_names == ("ant", "bee", "çat")
    assert NpzReader(path, ("x", "y", "z")).read().test.class_names == ("x", "y", "z")


def test_other_keys_are_left_alone(tmp_path):
    path = write_npz(tmp_path, thoughts=np.array([{}], dtype=object))
    assert len(NpzReader(path).read().train) == 12


def test_groups_are_numbered(tmp_path):
    for groups in (np.repeat([40, 7, -1], 4), np.repeat(["z", "b", "a"], 4)[:, None]):
        assert (
            NpzReader(write_npz(tmp_path, train_groups=groups)).read().groups.tolist()
            == np.repeat([2, 1, 0], 4).tolist()
        )
    assert NpzReader(write_npz(tmp_path)).read().groups is None


def test_open_source_picks_the_reader(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_source("signs") == SignsReader()
    assert open_source("a/b.NPZ") == NpzReader(Path("a/b.NPZ"))
    assert open_source(Path("b.npz"), ["x", "y"]) == NpzReader(Path("b.npz"), ("x", "y"))
    assert open_source("~/c.npz") == NpzReader(tmp_path / "c.npz")
    assert open_source("train_32x32.MAT", ["x"]) == MatReader(Path("train_32x32.MAT"), ("x",))
    assert open_source("a.Parquet") == ParquetReader(Path("a.Parquet"))
    assert open_source("torchvision:CIFAR10") == TorchvisionReader("CIFAR10")
    assert open_source("hf:me/birds") == HuggingFaceReader("me/birds")
    assert open_source(tmp_path) == FolderReader(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train-0.parquet").touch()
    assert open_source(tmp_path) == ParquetReader(tmp_path)


def test_open_source_hands_settings_on(tmp_path):
    settings = ReadSettings(size=(8, 9), skip_unreadable=True)
    assert open_source(tmp_path, settings=settings) == FolderReader(tmp_path, None, settings)
    by_file = open_source("a.npz", settings=ReadSettings(groups="x.npz:b.npz:track", groups_within_class=True))
    assert by_file == GroupedReader(
        NpzReader(Path("a.npz")), GroupFile(Path("x.npz:b.npz"), "track"), within_class=True
    )
    by_column = open_source("a.parquet", settings=ReadSettings(groups="patient"))
    assert by_column.group_column == "patient"


def test_mnist_is_read_whole():
    folder = Path(os.environ.get("DEFUSE_DATA", Path(__file__).parents[2] / "../shared/data"))
    path = folder / "mnist.npz"
    if not path.exists():
        pytest.skip("needs mnist.npz in the folder that DEFUSE_DATA names")
    source = open_source(path).read()
    assert source.train.images.shape == (60000, 28, 28, 1)
    assert np.bincount(source.test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert source.train.class_names == tuple("0123456789")
