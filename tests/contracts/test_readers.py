"""What every reader promises: the same records from the same images. A new one joins with a row in ``WRITERS``."""

from importlib import import_module
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.io import savemat

from defuse.data import GroupedReader, GroupFile, SplitSettings, open_source, split

LABELS = {"train": np.repeat([0, 1, 2], [7, 6, 5]), "test": np.repeat([0, 1, 2], [2, 1, 3])}


def write_npz(folder, images, _):
    stored = {f"{name}_images": images[name] for name in LABELS} | {f"{k}_labels": v for k, v in LABELS.items()}
    np.savez(folder / "a.npz", **stored)
    return folder / "a.npz"


def write_folder(folder, images, fakes):
    for name, labels in LABELS.items():
        for row, label in enumerate(labels):
            (folder / name / str(label)).mkdir(parents=True, exist_ok=True)
            (folder / name / str(label) / f"{row:03d}.png").write_bytes(fakes.png(images[name][row]))
    return folder


def write_parquet(folder, images, fakes):
    for name, labels in LABELS.items():
        encoded = [{"bytes": fakes.png(image), "path": None} for image in images[name]]
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        half = len(labels) // 2
        for part, rows in enumerate((slice(None, half), slice(half, None))):
            table = pa.table({"image": pa.array(encoded[rows], kind), "label": labels[rows]})
            pq.write_table(table, folder / f"{name}-{part:05d}-of-00002.parquet")
    return folder


def write_parquet_of_bytes(folder, images, fakes):
    (folder / "data").mkdir()
    for name, labels in LABELS.items():
        table = pa.table({"img": [fakes.png(image) for image in images[name]], "fine_label": labels.astype(str)})
        pq.write_table(table, folder / "data" / f"{name}.parquet")
    return folder


def write_mat(folder, images, _):
    for name, labels in LABELS.items():
        stored = {"X": images[name].transpose(1, 2, 3, 0), "y": np.where(labels == 0, 10, labels)[:, None]}
        savemat(folder / f"{name}_32x32.mat", stored, do_compression=True)
    return folder / "train_32x32.mat"


def make_vision(monkeypatch, images, fakes):
    parts = {name: (images[name], labels.tolist()) for name, labels in LABELS.items()}
    fakes.vision(monkeypatch, Toy=fakes.by_train(parts, classes=["0", "1", "2"]))
    return "torchvision:Toy"


def make_hugging_face(monkeypatch, images, fakes):
    found = {
        name: fakes.Dataset(
            {"image": [{"bytes": fakes.png(image), "path": None} for image in images[name]], "label": labels.tolist()},
            names="012",
        )
        for name, labels in LABELS.items()
    }
    fakes.hugging_face(monkeypatch, toy=found)
    return "hf:toy"


WRITERS = {
    "npz": write_npz,
    "folder": write_folder,
    "parquet": write_parquet,
    "parquet of bytes, text labels": write_parquet_of_bytes,
    "mat": write_mat,
}
LIBRARIES = {"torchvision": make_vision, "hugging face": make_hugging_face}


@pytest.fixture(params=[1, 3], ids=["grey", "colour"])
def images(request):
    rng = np.random.default_rng(0)
    return {k: rng.integers(0, 256, (len(v), 32, 32, request.param), dtype=np.uint8) for k, v in LABELS.items()}


@pytest.fixture(params=[*WRITERS, *LIBRARIES])
def reader(request, images, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "data")
    fakes = import_module("fake_libraries")
    if request.param in WRITERS:
        return open_source(WRITERS[request.param](tmp_path, images, fakes))
    return open_source(LIBRARIES[request.param](monkeypatch, images, fakes))


def test_the_same_records_from_the_same_images(reader, images):
    source = reader.read()
    assert source.validation is None
    assert source.groups is None
    assert source.skipped == ()
    for name, records in (("train", source.train), ("test", source.test)):
        assert records.images.dtype == np.uint8
        assert records.images.flags.c_contiguous
        assert np.array_equal(records.images, images[name])
        assert records.labels.dtype == records.rows.dtype == np.int64
        assert np.array_equal(records.labels, LABELS[name])
        assert np.array_equal(records.rows, np.arange(len(LABELS[name])))
        assert records.class_names == ("0", "1", "2")


def test_reading_again_gives_the_same(reader):
    first, again = reader.read(), reader.read()
    assert np.array_equal(first.train.images, again.train.images)
    assert np.array_equal(first.train.labels, again.train.labels)


def test_the_splits_do_not_depend_on_the_reader(reader, images, tmp_path):
    folder = tmp_path / "reference"
    folder.mkdir()
    settings = SplitSettings(validation=0.3)
    mine = split(reader.read(), settings, seed=1)
    theirs = split(open_source(write_npz(folder, images, None)).read(), settings, seed=1)
    assert np.array_equal(mine.validation.rows, theirs.validation.rows)
    assert np.array_equal(mine.reference.images, theirs.reference.images)


def test_groups_from_a_file_suit_every_reader(reader, tmp_path):
    groups = np.arange(18) // 2 + 5
    np.savez(tmp_path / "groups.npz", track=groups)
    source = GroupedReader(reader, GroupFile(tmp_path / "groups.npz", "track")).read()
    assert np.array_equal(source.groups, groups - 5)
    assert source.groups.dtype == np.int64
