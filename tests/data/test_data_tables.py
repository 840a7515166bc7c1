"""Parquet files and SVHN's .mat files."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_libraries import png
from scipy.io import savemat

from defuse.data import MatReader, ParquetReader, ReadSettings, open_source

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)
BYTES = [png(image) for image in IMAGES]
LABELS = [0, 1, 2, 0, 1, 2]
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write(path, names=None, **columns):
    columns = {
        "image": pa.array([{"bytes": content, "path": None} for content in BYTES], STRUCT),
        "label": LABELS,
    } | columns
    table = pa.table({name: values for name, values in columns.items() if values is not None})
    if names is not None:
        note = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({b"huggingface": json.dumps(note).encode()})
    path.parent.mkdir(exist_ok=True)
    pq.write_table(table, path)
    return path


def test_one_file_is_all_train(tmp_path):
    source = open_source(write(tmp_path / "birds.parquet")).read()
    assert np.array_equal(source.train.images, IMAGES)
    assert source.train.labels.tolist() == LABELS
    assert source.train.class_names == ("0", "1", "2")
    assert source.test is None
    assert source.groups is None


@pytest.mark.parametrize("binary", [pa.binary(), pa.large_binary()])
def test_plain_bytes(tmp_path, binary):
    source = ParquetReader(write(tmp_path / "a.parquet", image=pa.array(BYTES, binary))).read()
    assert np.array_equal(source.train.images, IMAGES)


def test_paths_count_from_the_file_s_folder(tmp_path):
    (tmp_path / "x").mkdir()
    for row, content in enumerate(BYTES):
        (tmp_path / "x" / f"{row}.png").write_bytes(content)
    paths = pa.array([{"bytes": None, "path": f"x/{row}.png"} for row in range(6)], STRUCT)
    assert np.array_equal(ParquetReader(write(tmp_path / "a.parquet", image=paths)).read().train.images, IMAGES)


def test_class_names_come_from_the_metadata_or_the_argument(tmp_path):
    path = write(tmp_path / "a.parquet", names=["ant", "bee", "cat"])
    assert ParquetReader(path).read().train.class_names == ("ant", "bee", "cat")
    assert ParquetReader(path, ("x", "y", "z")).read().train.class_names == ("x", "y", "z")


OTHER_METADATA = [
    b"",
    b"{",
    b"[]",
    b'{"info": null}',
    b'{"info": {"features": {"label": {"names": 3}}}}',
]


@pytest.mark.parametrize("metadata", OTHER_METADATA)
def test_other_metadata_is_left_alone(tmp_path, metadata):
    path = write(tmp_path / "a.parquet")
    pq.write_table(pq.read_table(path).replace_schema_metadata({b"huggingface": metadata}), path)
    assert ParquetReader(path).read().train.class_names == ("0", "1", "2")


@pytest.mark.parametrize("kind", ["plain", "large", "dictionary"])
def test_text_labels(tmp_path, kind):
    text = pa.array(["cat", "ant", "bee"] * 2, pa.large_string() if kind == "large" else pa.string())
    path = write(tmp_path / "a.parquet", label=text.dictionary_encode() if kind == "dictionary" else text)
    source = ParquetReader(path).read()
    assert source.train.class_names == ("ant", "bee", "cat")
    assert source.train.labels.tolist() == [2, 0, 1] * 2
    assert ParquetReader(path, ("cat", "ant", "bee")).read().train.labels.tolist() == LABELS


@pytest.mark.parametrize("column", ["label", "labels", "fine_label", "target"])
def test_usual_columns_are_found(tmp_path, column):
    path = write(
        tmp_path / "a.parquet", **{"label": None, "img": BYTES, "image": None, "more": LABELS[::-1]} | {column: LABELS}
    )
    assert ParquetReader(path).read().train.labels.tolist() == LABELS


def test_columns_can_be_named(tmp_path):
    path = write(tmp_path / "a.parquet", scan=BYTES[::-1], species=LABELS[::-1])
    source = open_source(path, settings=ReadSettings(image_column="scan", label_column="species")).read()
    assert np.array_equal(source.train.images, IMAGES[::-1])
    assert source.train.labels.tolist() == LABELS[::-1]


@pytest.mark.parametrize("inner", ["", "data"])
@pytest.mark.parametrize("validation", ["val", "valid", "validation"])
def test_a_folder_of_files(tmp_path, inner, validation):
    folder = tmp_path / inner
    for name in ("train-00001-of-00002", "train-00000-of-00002", "test", f"{validation}-0", "extra-0", ".train-9"):
        write(folder / f"{name}.parquet", names=["a", "b", "c"])
    (tmp_path / "README.md").touch()
    source = open_source(tmp_path).read()
    assert len(source.train) == 12
    assert source.train.rows.tolist() == list(range(12))
    assert len(source.test) == len(source.validation) == 6
    assert source.train.class_names == ("a", "b", "c")


def test_unreadable_rows_are_skipped_on_request(tmp_path):
    images = pa.array([BYTES[0], None, b"", *BYTES[3:]], pa.binary())
    path = write(tmp_path / "a.parquet", image=images, label=[0, 0, 0, 1, 1, 1], patient=list("uvwxyz"))
    source = open_source(path, settings=ReadSettings(skip_unreadable=True, groups="patient")).read()
    assert source.train.rows.tolist() == [0, 3, 4, 5]
    assert [image.row for image in source.skipped] == [1, 2]
    assert source.skipped[0].where == f"{path}: column image, row 1"
    assert source.groups.tolist() == [0, 3, 4, 5]


def test_a_column_of_groups(tmp_path):
    for split in ("train-0", "train-1"):
        write(tmp_path / f"{split}.parquet", patient=[7, 7, 3, 3, 9, 9])
    write(tmp_path / "test-0.parquet")  # needs none
    assert (
        open_source(tmp_path, settings=ReadSettings(groups="patient")).read().groups.tolist() == [1, 1, 0, 0, 2, 2] * 2
    )


def mat(path, images, labels, **more):
    savemat(path, {"X": images.transpose(1, 2, 3, 0), "y": labels, **more})
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float64])
def test_svhn(tmp_path, dtype):
    labels = np.array([[10], [1], [2], [10], [1], [2]], dtype=dtype)
    path = mat(tmp_path / "train_32x32.mat", IMAGES, labels, notes="hello", cells=np.array([1, "a"], dtype=object))
    source = open_source(path).read()
    assert np.array_equal(source.train.images, IMAGES)
    assert source.train.labels.tolist() == LABELS
    assert source.test is None
    mat(tmp_path / "test_32x32.mat", IMAGES[:1], labels[:1])
    assert MatReader(path).read().test.labels.tolist() == [0]


def test_labels_with_a_zero_are_taken_as_they_are(tmp_path):
    labels = np.arange(11)
    path = mat(tmp_path / "a.mat", np.zeros((11, 3, 3, 1), np.uint8), labels[:, None])
    assert MatReader(path).read().train.labels.tolist() == list(range(11))


def test_a_test_file_alone_is_train(tmp_path):
    path = mat(tmp_path / "test_32x32.mat", IMAGES, np.array(LABELS)[:, None])
    assert open_source(path, ["a", "b", "c"]).read().train.class_names == ("a", "b", "c")
