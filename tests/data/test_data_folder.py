import numpy as np
import pytest
from fake_libraries import picture, png

from defuse.data import FolderReader, ReadSettings, open_source

RNG = np.random.default_rng(0)


def image(channels=3, height=5, width=4):
    return RNG.integers(0, 256, (height, width, channels), dtype=np.uint8)


def fill(folder, counts, **shape):
    """Write ``counts[name]`` images into each class folder; return them by path."""
    written = {}
    for name, count in counts.items():
        for number in range(count):
            path = folder / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            written[path] = image(**shape)
            path.write_bytes(png(written[path]))
    return written


def test_class_folders_alone_are_all_train(tmp_path):
    written = fill(tmp_path, {"cat": 2, "ant": 3})
    source = FolderReader(tmp_path).read()
    assert source.test is None
    assert source.validation is None
    assert source.train.class_names == ("ant", "cat")
    assert source.train.labels.tolist() == [0, 0, 0, 1, 1]
    assert np.array_equal(source.train.images, [written[path] for path in sorted(written)])


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_splits_are_folders(tmp_path, name):
    for split, counts in (("train", {"a": 2, "b": 2}), ("test", {"b": 1}), (name, {"a": 1})):
        fill(tmp_path / split, counts)
    fill(tmp_path, {"notes": 1})
    (tmp_path / "thumbnail.png").write_bytes(png(image()))
    source = FolderReader(tmp_path).read()
    assert source.train.labels.tolist() == [0, 0, 1, 1]
    assert source.test.labels.tolist() == [1]
    assert source.validation.labels.tolist() == [0]
    assert source.test.class_names == ("a", "b")


def test_train_may_be_a_class(tmp_path):
    fill(tmp_path, {"car": 1, "train": 2})
    assert FolderReader(tmp_path).read().train.class_names == ("car", "train")


def test_class_names_give_the_order(tmp_path):
    fill(tmp_path, {"a": 1, "b": 2, "c": 3})
    source = open_source(tmp_path, ["c", "a", "b"]).read()
    assert source.train.class_names == ("c", "a", "b")
    assert source.train.labels.tolist() == [0, 0, 0, 1, 2, 2]


def test_hidden_and_other_files_are_left_alone(tmp_path):
    fill(tmp_path, {"a": 1, "b": 1})
    for path in (
        ".cache/x.png",
        "a/.hidden.png",
        "a/Thumbs.db",
        "a/notes.txt",
        "b/.ipynb_checkpoints/x.png",
        "log.txt",
    ):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(b"no image")
    assert len(FolderReader(tmp_path).read().train) == 2


def test_endings_in_any_case(tmp_path):
    fill(tmp_path, {"a": 1, "b": 1})
    for number, ending in enumerate(("PNG", "Jpg", "JPEG", "bmp", "ppm", "TIFF", "tif", "gif", "webp")):
        picture(image()).save(tmp_path / "a" / f"x{number}.{ending}")
    picture(image(channels=1)).save(tmp_path / "a" / "y.PGM")
    assert np.bincount(FolderReader(tmp_path).read().train.labels).tolist() == [11, 1]


def test_one_colour_image_anywhere_makes_all_of_them_colour(tmp_path):
    written = fill(tmp_path / "train", {"a": 2, "b": 2}, channels=1)
    fill(tmp_path / "test", {"a": 1}, channels=1)
    assert FolderReader(tmp_path).read().train.images.shape == (4, 5, 4, 1)
    fill(tmp_path / "test", {"b": 1}, channels=3)
    source = FolderReader(tmp_path).read()
    assert np.array_equal(source.train.images, [np.repeat(written[path], 3, axis=2) for path in sorted(written)])
    assert source.test.images.shape == (2, 5, 4, 3)


def test_different_sizes_are_scaled_to_one(tmp_path):
    fill(tmp_path, {"a": 2}, height=9, width=7)
    fill(tmp_path, {"b": 1}, height=20, width=10)
    source = open_source(tmp_path, settings=ReadSettings(size=(6, 8))).read()
    assert source.train.images.shape == (3, 6, 8, 3)


def test_unreadable_images_are_skipped_on_request(tmp_path):
    written = fill(tmp_path / "train", {"a": 4, "b": 3})
    fill(tmp_path / "test", {"a": 2, "b": 1})
    (tmp_path / "train/a/1.png").write_bytes(b"")
    (tmp_path / "train/b/0.png").write_bytes(png(image())[:50])
    (tmp_path / "test/a/0.png").write_bytes(b"text")
    (tmp_path / "train/b/9.png").symlink_to(tmp_path / "nowhere.png")
    source = open_source(tmp_path, settings=ReadSettings(skip_unreadable=True)).read()
    assert source.train.rows.tolist() == [0, 2, 3, 5, 6]
    assert source.train.labels.tolist() == [0, 0, 0, 1, 1]
    paths = sorted(written)
    assert np.array_equal(source.train.images, [written[paths[row]] for row in (0, 2, 3, 5, 6)])
    assert source.test.rows.tolist() == [1, 2]
    assert [(image.split, image.row) for image in source.skipped] == [
        ("train", 1),
        ("train", 4),
        ("train", 7),
        ("test", 0),
    ]
    assert source.skipped[0].where == str(tmp_path / "train/a/1.png")
    assert source.skipped[0].reason == "it is empty"


def test_links_are_followed(tmp_path):
    fill(tmp_path / "elsewhere", {"a": 2, "b": 1})
    (tmp_path / "root").mkdir()
    (tmp_path / "root/x").symlink_to(tmp_path / "elsewhere/a")
    (tmp_path / "root/y").mkdir()
    (tmp_path / "root/y/1.png").symlink_to(tmp_path / "elsewhere/b/0.png")
    assert FolderReader(tmp_path / "root").read().train.labels.tolist() == [0, 0, 1]


def test_a_link_to_itself_beside_the_classes_is_no_folder(tmp_path):
    fill(tmp_path, {"a": 1, "b": 1})
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "a/loop").symlink_to(tmp_path / "a/loop")
    assert len(FolderReader(tmp_path).read().train) == 2


def test_names_of_all_languages(tmp_path):
    fill(tmp_path, {"čáp": 1, "猫　犬": 1, "a b": 1})
    assert FolderReader(tmp_path).read().train.class_names == ("a b", "čáp", "猫　犬")
