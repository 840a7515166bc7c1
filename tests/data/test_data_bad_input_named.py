"""What can be wrong with data sets by name: one line that starts with the name."""

import sys

import numpy as np
import pytest
from fake_libraries import Dataset, by_split, by_train, hugging_face, png, vision, whole

from defuse.data import open_source
from defuse.errors import DataError

PIXELS = np.arange(60, dtype=np.uint8).reshape(5, 4, 3)
PNG = png(PIXELS)


def message(source):
    with pytest.raises(DataError) as caught:
        open_source(source).read()
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_bad_input_library_is_missing(monkeypatch):
    for name in ("torchvision", "torchvision.datasets", "datasets"):
        monkeypatch.setitem(sys.modules, name, None)
    assert "torchvision:MNIST: torchvision cannot be imported" in message("torchvision:MNIST")
    assert "pip install 'defuse[vision]'" in message("torchvision:MNIST")
    assert "hf:mnist: the package datasets cannot be imported" in message("hf:mnist")
    assert "pip install 'defuse[hf]'" in message("hf:mnist")


def test_bad_input_torchvision_built_for_another_torch(monkeypatch, tmp_path):
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision/__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert "operator torchvision::nms does not exist" in message("torchvision:MNIST")


def raises(error):
    def init(self, root):  # noqa: ARG001 - as torchvision has it
        raise error

    return type("Raises", (), {"__init__": init, "__getitem__": None})


IMAGES = np.stack([PIXELS] * 4)
KINDS = {
    "missing files": (
        raises(RuntimeError("Dataset not found or corrupted.\nYou can use download=True")),
        "cannot be opened (Dataset not found or corrupted. You can use download=True); put its files under data",
    ),
    "needs more": (raises(TypeError("missing 1 required positional argument: 'split'")), "cannot be opened (missing 1"),
    "no train split": (by_split({"test": (IMAGES, [0, 1, 0, 1])}), "has no train split"),
    "no images": (whole({"train": (["text"] * 4, [0, 1, 0, 1])}), "train, image 0: expected a Pillow image, got str"),
    "boxes": (whole({"train": (IMAGES, [{"box": 1}] * 4)}), "image 0: expected a class index as its label, got dict"),
    "broken": (whole({"train": ([OSError("broken")] * 4, [0] * 4)}), "image 0: cannot be read as an image (broken)"),
    "one class": (by_train({"train": (IMAGES, [0] * 4), "test": (IMAGES, [0] * 4)}), "at least two classes"),
    "negative": (whole({"train": (IMAGES, [0, 1, -1, 1])}), "expected class indices from 0, got -1"),
    "a function": (len, "has no data set of that name"),
}


@pytest.mark.parametrize(("kind", "expected"), KINDS.values(), ids=KINDS)
def test_bad_input_torchvision(monkeypatch, kind, expected):
    vision(monkeypatch, Toy=kind)
    text = message("torchvision:Toy")
    assert text.startswith("torchvision:Toy")
    assert expected in text


@pytest.mark.parametrize("name", ["torchvision:", "torchvision:Nope", "torchvision:__name__"])
def test_bad_input_torchvision_names(monkeypatch, name):
    vision(monkeypatch)
    assert "has no data set of that name" in message(name)


def test_bad_input_hugging_face(monkeypatch):
    good = Dataset({"image": [{"bytes": PNG}] * 4, "label": [0, 1, 0, 1]})
    bad = Dataset({"image": [{"bytes": PNG}] * 4, "label": [0, None, 0, 1]})
    hugging_face(
        monkeypatch,
        nowhere=FileNotFoundError("no\nsuch"),
        empty={},
        test={"test": good},
        null={"train": good, "test": bad},
    )
    assert message("hf:nowhere") == "hf:nowhere: cannot be loaded (no such)"
    assert "expected a split called train, found none" in message("hf:empty")
    assert "expected a split called train, found test" in message("hf:test")
    assert "hf:null: test: column label, row 1: the value is missing (null)" in message("hf:null")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert "would ask the network; set data.download=true" in message("hf:null")
