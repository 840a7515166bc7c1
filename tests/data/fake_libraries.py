"""Stand-ins for torchvision and for Hugging Face's datasets, neither of which the tests need."""

import io
import sys
from types import ModuleType, SimpleNamespace

from PIL import Image


def png(pixels):
    """Encode an image (h, w, 1 or 3)."""
    buffer = io.BytesIO()
    picture(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def picture(pixels):
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def vision(monkeypatch, **kinds):
    """Put a torchvision into place that offers these data sets."""
    module = ModuleType("torchvision.datasets")
    for name, kind in kinds.items():
        setattr(module, name, kind)
    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.datasets", module)


class VisionSet:
    """What torchvision's data sets have in common; ``opened`` notes how they were asked for."""

    parts: dict
    opened: list

    def _take(self, part, **options):
        self.opened.append(options)
        self.images, self.labels = self.parts[part]

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, row):
        image = self.images[row]
        if isinstance(image, Exception):
            raise image
        return (image if isinstance(image, Image.Image | str) else picture(image)), self.labels[row]


def by_train(parts, **attributes):
    """Return a data set that is asked for as CIFAR10 is."""

    def init(self, root, train=True, transform=None, download=False):  # noqa: ARG001, FBT002 - as torchvision has it
        self._take("train" if train else "test", root=root, download=download)

    return type("ByTrain", (VisionSet,), {"__init__": init, "parts": parts, "opened": [], **attributes})


def by_split(parts, **attributes):
    """Return a data set that is asked for as SVHN is."""

    def init(self, root, split="train", download=False):  # noqa: FBT002 - as torchvision has it
        if split not in parts:
            raise ValueError(f"Unknown value '{split}' for argument split. Valid values are {set(parts)}.")
        self._take(split, root=root, download=download)

    return type("BySplit", (VisionSet,), {"__init__": init, "parts": parts, "opened": [], **attributes})


def whole(parts, **attributes):
    """Return a data set without splits, which cannot be downloaded."""

    def init(self, root):
        self._take("train", root=root)

    return type("Whole", (VisionSet,), {"__init__": init, "parts": parts, "opened": [], **attributes})


class Dataset:
    """One split as Hugging Face's datasets hand it out."""

    def __init__(self, columns, names=None, label="label"):
        self.columns = columns
        self.features = {name: SimpleNamespace() for name in columns}
        if names is not None:
            self.features[label] = SimpleNamespace(names=list(names))
        self.decodes = True

    @property
    def column_names(self):
        return list(self.columns)

    def cast_column(self, column, feature):
        cast = Dataset({column: self.columns[column]})
        cast.decodes = feature.decode
        return cast

    def select_columns(self, names):
        return [
            {name: SimpleNamespace() if self.decodes else self.columns[name][row] for name in names}
            for row in range(len(self.columns[names[0]]))
        ]

    def __getitem__(self, column):
        return self.columns[column]


def hugging_face(monkeypatch, **data_sets):
    """Put a datasets package into place that loads these, offline."""
    module = ModuleType("datasets")
    asked = []

    def load_dataset(name, configuration=None):
        asked.append((name, configuration))
        found = data_sets[name]
        if isinstance(found, Exception):
            raise found
        return found

    module.load_dataset = load_dataset
    module.Image = lambda decode: SimpleNamespace(decode=decode)
    monkeypatch.setitem(sys.modules, "datasets", module)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return asked
