from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from defuse.correct import export_regions
from defuse.correct.export import folder_name
from defuse.data import open_source
from defuse.errors import RunError
from defuse.records import Purpose, RegionLabel, Splits

SPLITS = {"train": Purpose.REPAIR, "validation": Purpose.SELECT, "test": Purpose.FINAL}


BOTH = tuple(
    RegionLabel(name, label, "majority", (("x", 1),), machine=False) for name, label in (("r001", 1), ("r002", 0))
)
"""Both regions, one of each class, so that our own readers find every class."""


def expected(toy, purpose):
    """Pixels and labels, as a set."""
    return {
        (image.tobytes(), label)
        for name, label in (("r001", 1), ("r002", 0))
        for image in toy.regions.samples[name, purpose].images
    }


def found(part):
    return {(image.tobytes(), label) for image, label in zip(part.images, part.labels.tolist(), strict=True)}


@pytest.mark.parametrize("layout", ["images", "parquet"])
def test_our_own_readers_read_back_every_image_with_its_label(toy, tmp_path, layout):
    counts = export_regions(tmp_path / "out", toy.regions, BOTH, toy.splits)
    assert counts == {"train": 400, "validation": 200, "test": 300}
    source = open_source(str(tmp_path / "out" / layout), None).read()
    assert source.train.class_names == ("left", "right")
    for split, purpose in SPLITS.items():
        assert found(getattr(source, split)) == expected(toy, purpose)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("layout", ["images", "parquet"])
def test_real_images_come_along_on_demand(toy, tmp_path, layout):
    export_regions(tmp_path / "out", toy.regions, toy.labels, toy.splits, with_real=True)
    source = open_source(str(tmp_path / "out" / layout), None).read()
    for split, real in (("train", "reference"), ("validation", "validation"), ("test", "test")):
        generated = {(image.tobytes(), 1) for image in toy.regions.samples["r001", SPLITS[split]].images}
        assert found(getattr(source, split)) == found(getattr(toy.splits, real)) | generated


def test_parquet_has_hugging_face_s_layout(toy, tmp_path):
    export_regions(tmp_path / "out", toy.regions, toy.labels, toy.splits)
    table = pq.read_table(tmp_path / "out" / "parquet" / "train-00000-of-00001.parquet")
    assert str(table.schema.field("image").type) == "struct<bytes: binary, path: string>"
    assert set(table["label"].to_pylist()) == {1}
    assert set(table["region"].to_pylist()) == {"r001"}
    assert b'"_type": "Image"' in table.schema.metadata[b"huggingface"]
    assert b'"names": ["left", "right"]' in table.schema.metadata[b"huggingface"]


def test_only_kept_samples_go_unless_all_are_asked_for(toy, tmp_path):
    half = {key: replace(part, kept=np.arange(len(part)) < 50) for key, part in toy.regions.samples.items()}
    regions = replace(toy.regions, samples=half)
    assert export_regions(tmp_path / "a", regions, toy.labels, toy.splits)["train"] == 50
    assert export_regions(tmp_path / "b", regions, toy.labels, toy.splits, kept_only=False)["train"] == 200


def test_nothing_labelled_writes_nothing(toy, tmp_path):
    for labels in ((), toy.with_region_labels(None).labels):
        assert export_regions(tmp_path / "out", toy.regions, labels, toy.splits) == {}
    assert not (tmp_path / "out").exists()


def test_class_names_that_no_folder_can_have(toy, tmp_path):
    assert [folder_name(name) for name in ("a/b", ".x", "50 %", "<b>ß</b>", "a.b")] == [
        "a%2Fb", "%2Ex", "50 %25", "<b>ß<%2Fb>", "a.b",
    ]  # fmt: skip
    names = ("../left", "right")
    splits = Splits(*(replace(part, class_names=names) for part in (toy.splits.reference,) * 3))
    export_regions(tmp_path / "out", toy.regions, BOTH, splits)
    assert sorted(path.name for path in (tmp_path / "out" / "images" / "train").iterdir()) == ["%2E.%2Fleft", "right"]


def test_bad_input_folder_to_export_to(toy, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    (tmp_path / "file").touch()
    for name in ("full", "file"):
        with pytest.raises(RunError, match="not an empty folder; name another with --to"):
            export_regions(tmp_path / name, toy.regions, toy.labels, toy.splits)
    (tmp_path / "empty").mkdir()
    assert export_regions(tmp_path / "empty", toy.regions, toy.labels, toy.splits)
    with pytest.raises(RunError, match="cannot be written"):
        export_regions(tmp_path / "file" / "below", toy.regions, toy.labels, toy.splits)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "full"]
