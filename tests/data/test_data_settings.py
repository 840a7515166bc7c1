"""The settings of the data section, as a user gives them, down to the images."""

import logging

import numpy as np
import pytest
from fake_libraries import png

from defuse.config import build_config
from defuse.data import ReadSettings
from defuse.errors import ConfigError
from defuse.inputs import read_splits


def configure(source, *settings):
    return build_config({"data": {"source": str(source)}}, [f"data.{setting}" for setting in settings])


def test_defaults_and_values_from_the_command_line():
    plain = configure("a.npz").data
    assert {name: getattr(plain, name) for name in ReadSettings.model_fields} == ReadSettings().model_dump()
    data = configure("a", "skip_unreadable=true", "size=[32, 48]", "groups=a.npz:track", "root=~/sets").data
    assert (data.skip_unreadable, data.size, data.groups, data.root) == (True, (32, 48), "a.npz:track", "~/sets")


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("size=[0, 3]", "data.size.0: Input should be greater than 0"),
        ("size=32", "data.size: "),
        ("size=[32]", "data.size.1"),
        ("skip_unreadable=perhaps", "data.skip_unreadable: "),
        ("skip_unreadible=true", "unknown key data.skip_unreadible; did you mean data.skip_unreadable?"),
    ],
)
def test_bad_input_settings(setting, expected):
    with pytest.raises(ConfigError) as caught:
        configure("a.npz", setting)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_skipped_images_are_reported(tmp_path, caplog):
    rng = np.random.default_rng(0)
    for number in range(12):
        path = tmp_path / "ab"[number % 2] / f"{number:02d}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"" if number in {3, 4} else png(rng.integers(0, 256, (9, 9, 1), dtype=np.uint8)))
    with caplog.at_level(logging.WARNING, logger="defuse"):
        splits = read_splits(configure(tmp_path, "skip_unreadable=true", "size=[8, 8]"))
    assert sum(len(part) for part in (splits.reference, splits.validation, splits.test)) == 10
    assert splits.reference.image_shape == (8, 8, 1)
    assert caplog.messages == [f"skipped 2 unreadable images; the first: {tmp_path}/a/04.png (it is empty)"]


def test_groups_reach_the_splits(tmp_path):
    rng = np.random.default_rng(0)
    tracks = np.repeat(np.arange(20), 6)
    np.savez(
        tmp_path / "a.npz",
        train_images=rng.integers(0, 256, (120, 4, 4), dtype=np.uint8),
        train_labels=np.repeat([0, 1], 60),
    )
    np.savez(tmp_path / "tracks.npz", track=tracks % 10)
    splits = read_splits(
        configure(tmp_path / "a.npz", f"groups={tmp_path}/tracks.npz:track", "groups_within_class=true")
    )
    held = [set(tracks[part.rows].tolist()) for part in (splits.reference, splits.validation, splits.test)]
    assert sum(map(len, held)) == 20
    assert np.bincount(splits.test.labels).tolist() == [12, 12]
