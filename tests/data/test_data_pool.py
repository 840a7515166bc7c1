"""Images without labels: a folder, or an array."""

import numpy as np
import pytest
from PIL import Image

from defuse.data.pool import read_pool
from defuse.errors import DataError

SHAPE = (6, 5, 3)


def pictures(count=3, shape=SHAPE):
    return np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.squeeze()).save(path)


def test_a_folder_is_read_with_all_below_it_in_order(tmp_path):
    images = pictures()
    for name, pixels in zip(("b.png", "deep/er/a.png", "c.png"), images, strict=True):
        save(tmp_path / name, pixels)
    save(tmp_path / ".hidden" / "d.png", images[0])
    (tmp_path / "notes.txt").write_text("no image")

    pool = read_pool(str(tmp_path), SHAPE)

    assert pool.names == ("b.png", "c.png", "deep/er/a.png")
    np.testing.assert_array_equal(pool.images, images[[0, 2, 1]])


def test_files_are_scaled_and_grey_fills_three_channels(tmp_path):
    save(tmp_path / "a.png", np.full((20, 10), 77, dtype=np.uint8))
    assert (read_pool(str(tmp_path), SHAPE).images == np.full((1, *SHAPE), 77)).all()


def test_an_array_is_read_by_its_key_or_as_images(tmp_path):
    images = pictures()
    np.savez(tmp_path / "a.npz", images=images, others=images[:2])
    assert read_pool(str(tmp_path / "a.npz"), SHAPE).names == ("row 0", "row 1", "row 2")
    np.testing.assert_array_equal(read_pool(f"{tmp_path}/a.npz:others", SHAPE).images, images[:2])


def test_what_cannot_be_read_is_left_out_on_request(tmp_path):
    save(tmp_path / "a.png", pictures()[0])
    (tmp_path / "b.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"b\.png: cannot be read"):
        read_pool(str(tmp_path), SHAPE)
    pool = read_pool(str(tmp_path), SHAPE, skip_unreadable=True)
    assert (pool.names, len(pool.skipped)) == (("a.png",), 1)


@pytest.mark.parametrize(
    ("make", "source", "message"),
    [
        (lambda _: None, "nowhere", "expected a folder of images"),
        (lambda path: (path / "empty").mkdir(), "empty", "holds no image"),
        (lambda path: np.savez(path / "a.npz", x=pictures()), "a.npz", "no array 'images', only x"),
        (lambda path: np.savez(path / "a.npz", x=pictures(shape=(6, 6, 3))), "a.npz:x", "6 x 5 x 3, as in the run"),
        (lambda path: np.savez(path / "a.npz", x=np.array([{}])), "a.npz:x", "never unpickled"),
        (lambda path: (path / "a.npz").write_bytes(b"PK"), "a.npz", "is no .npz file"),
    ],
)
def test_bad_input(tmp_path, make, source, message):
    make(tmp_path)
    with pytest.raises(DataError, match=message):
        read_pool(str(tmp_path / source), SHAPE)


def test_bad_input_colour_for_a_grey_run(tmp_path):
    save(tmp_path / "a.png", pictures()[0])
    with pytest.raises(DataError, match="in colour"):
        read_pool(str(tmp_path), (6, 5, 1))
