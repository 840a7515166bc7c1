"""Data sets by name; both libraries are stand-ins."""

import numpy as np
import pytest
from fake_libraries import Dataset, by_split, by_train, hugging_face, png, vision, whole

from defuse.data import HuggingFaceReader, ReadSettings, TorchvisionReader, open_source

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)
LABELS = [0, 1, 2, 0, 1, 2]
PARTS = {"train": (IMAGES, LABELS), "test": (IMAGES[:2], LABELS[:2]), "val": (IMAGES[:1], LABELS[:1])}


def table(count=6, **columns):
    images = [{"bytes": png(image), "path": None} for image in IMAGES[:count]]
    return Dataset({"image": images, "label": LABELS[:count], **columns}, names=["ant", "bee", "cat"])


def test_splits_as_a_switch(monkeypatch):
    kind = by_train(PARTS, classes=["ant", "bee", "cat"])
    vision(monkeypatch, Toy=kind)
    source = open_source("torchvision:Toy").read()
    assert np.array_equal(source.train.images, IMAGES)
    assert source.train.class_names == ("ant", "bee", "cat")
    assert len(source.test) == 2
    assert source.validation is None
    assert kind.opened == [{"root": "data", "download": False}] * 2


def test_splits_by_word(monkeypatch):
    vision(monkeypatch, Toy=by_split(PARTS))
    source = TorchvisionReader("Toy", ("x", "y", "z")).read()
    assert (len(source.train), len(source.test), len(source.validation)) == (6, 2, 1)
    assert source.train.class_names == ("x", "y", "z")


def test_words_that_it_does_not_know_are_no_splits(monkeypatch):
    vision(monkeypatch, Toy=by_split({"train": PARTS["train"]}))
    source = TorchvisionReader("Toy").read()
    assert source.test is None
    assert source.train.class_names == ("0", "1", "2")


def test_no_splits_at_all(monkeypatch):
    vision(monkeypatch, Toy=whole(PARTS, classes=[("ant", "emmet"), ("bee",), "cat"]))
    source = TorchvisionReader("Toy").read()
    assert source.test is None
    assert source.train.class_names == ("ant, emmet", "bee", "cat")


def test_root_and_download_are_handed_on(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    kind = by_train(PARTS)
    vision(monkeypatch, Toy=kind)
    open_source("torchvision:Toy", settings=ReadSettings(root="~/sets", download=True)).read()
    assert kind.opened[0] == {"root": "/home/me/sets", "download": True}


def test_an_image_that_torchvision_cannot_read_is_skipped_on_request(monkeypatch):
    images = [*IMAGES[:5], OSError("image file is truncated")]
    vision(monkeypatch, Toy=whole({"train": (images, LABELS)}))
    source = open_source("torchvision:Toy", settings=ReadSettings(skip_unreadable=True, size=(3, 3))).read()
    assert source.train.images.shape == (5, 3, 3, 3)
    assert source.skipped[0].where == "torchvision:Toy: train, image 5"
    assert source.skipped[0].reason == "image file is truncated"


def test_hugging_face(monkeypatch):
    asked = hugging_face(monkeypatch, **{"me/birds": {"train": table(), "validation": table(3), "extra": table(1)}})
    source = open_source("hf:me/birds:small").read()
    assert asked == [("me/birds", "small")]
    assert np.array_equal(source.train.images, IMAGES)
    assert source.train.class_names == ("ant", "bee", "cat")
    assert source.validation.labels.tolist() == [0, 1, 2]
    assert source.test is None


def test_hugging_face_columns_and_groups(monkeypatch):
    columns = {
        "scan": [{"bytes": png(image)} for image in IMAGES[::-1]],
        "kind": list("abcabc"),
        "who": [4, 4, 4, 2, 2, 2],
    }
    asked = hugging_face(monkeypatch, toy={"train": table(**columns)})
    settings = ReadSettings(image_column="scan", label_column="kind", groups="who", size=(2, 2))
    source = open_source("hf:toy", settings=settings).read()
    assert asked == [("toy", None)]
    assert source.train.images.shape == (6, 2, 2, 3)
    assert source.train.class_names == ("a", "b", "c")
    assert source.groups.tolist() == [1, 1, 1, 0, 0, 0]


@pytest.mark.parametrize("allowed", ["variable", "older variable", "setting"])
def test_the_network_is_asked_only_when_allowed(monkeypatch, allowed):
    hugging_face(monkeypatch, toy={"train": table()})
    monkeypatch.delenv("HF_HUB_OFFLINE")
    if allowed == "older variable":
        monkeypatch.setenv("HF_DATASETS_OFFLINE", "true")
    elif allowed == "variable":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert len(HuggingFaceReader("toy", settings=ReadSettings(download=allowed == "setting")).read().train) == 6
