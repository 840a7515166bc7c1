"""What a user may say about how a data set is read."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, PositiveInt

from defuse.errors import DataError


class ReadSettings(BaseModel):
    """How a data set is read. A source refuses what means nothing to it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: tuple[PositiveInt, PositiveInt] | None = None
    """Height and width that image files are scaled to, sides freely; needed where they are not all of one size."""
    skip_unreadable: bool = False
    """Leave out image files that cannot be read, and say how many, instead of stopping at the first."""
    image_column: str | None = None
    """The column of images in a table; by default ``image`` or ``img``."""
    label_column: str | None = None
    """The column of labels in a table; by default ``label``, ``labels``, ``fine_label`` or ``target``."""
    groups: str | None = None
    """Which training images show the same thing and must not be split up: ``PATH.npz:KEY``, or a table's column."""
    groups_within_class: bool = False
    """A group's number counts within its class, so that group 0 of two classes is two groups."""
    root: str = "data"
    """The folder in which torchvision keeps its data sets."""
    download: bool = False
    """Let torchvision or Hugging Face fetch a data set that is not there yet; otherwise nothing is downloaded."""


DEFAULT_SETTINGS = ReadSettings()


def as_path(text: str) -> Path:
    """Return the path that a user means, where ``~`` is the home folder.

    Raises:
        DataError: there is no such home folder.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise DataError(f"{text}: there is no such home folder; write the path without ~") from None
