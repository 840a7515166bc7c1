import base64
import io
import math
import re

import numpy as np
import pytest
from PIL import Image
from report_makers import make_repair

from defuse.outcomes import SweepPoint
from defuse.records import Rate
from defuse.report.images import COLUMNS, EDGE, LEVELS, make_album, shrink, tile_size
from defuse.report.plots import outcome_plot, sweep_plot
from defuse.report.words import count, duration, interval_text, percent, probability, rate_text


def decode(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_sprite_holds_every_image_at_its_place(channels):
    images = np.random.default_rng(0).integers(0, 256, (23, 8, 12, channels), dtype=np.uint8)
    album = make_album({"a": images, "none": images[:0]})
    assert album.level == LEVELS[0]
    assert dict(album.classes) == {"a": "i0"}
    sheet = decode(re.fullmatch(r"\.i0\{background-image:url\((.*)\)\}", album.css).group(1))
    assert sheet.shape[:2] == (3 * 8, COLUMNS * 12)
    for place, image in enumerate(images):
        top, left = 8 * (place // COLUMNS), 12 * (place % COLUMNS)
        assert (sheet[top : top + 8, left : left + 12].reshape(image.shape) == image).all()


def test_a_small_budget_lowers_the_level_and_no_further_than_needed():
    images = np.random.default_rng(0).integers(0, 256, (100, 16, 16, 3), dtype=np.uint8)
    sizes = []
    for level in LEVELS:
        album = make_album({"a": images}, budget=sizes[-1] - 1 if sizes else 10**9)
        assert album.level == level
        sizes.append(len(album.css) - len(".i0{background-image:url()}"))
    assert sizes == sorted(sizes, reverse=True)
    assert make_album({"a": images}, budget=0).level == LEVELS[-1]


@pytest.mark.parametrize("shape", [(28, 28), (32, 32), (64, 64), (20, 48), (96, 96), (300, 100), (1, 500)])
def test_tiles_have_whole_pixels_and_keep_their_form(shape):
    height, width = tile_size(*shape)
    assert max(height, width) <= EDGE
    assert max(height, width) > EDGE / 2
    small = shrink(np.zeros((2, *shape, 3), dtype=np.uint8))
    assert height % small.shape[1] == 0
    assert (height // small.shape[1]) * small.shape[2] == width


def test_shrinking_averages():
    images = np.zeros((1, 128, 128, 1), dtype=np.uint8)
    images[:, :, 1::2] = 200
    assert (shrink(images) == 100).all()
    small = np.zeros((1, 64, 64, 1), dtype=np.uint8)
    assert shrink(small) is small


def test_plots_take_the_colours_of_the_page_and_share_no_id():
    repair = make_repair()
    plots = outcome_plot(repair), sweep_plot(repair.sweep, repair.chosen)
    for plot in plots:
        assert not re.search(r"#0102\d\d|http|<metadata|<\?xml|DOCTYPE", plot)
        assert {"var(--ink)", "var(--good)", "var(--line)"} <= set(re.findall(r"var\(--\w+\)", plot))
        ids = set(re.findall(r'\bid="([^"]+)"', plot))
        assert set(re.findall(r'(?:url\(|href=")#([^")]+)', plot)) <= ids
    assert not set(re.findall(r'\bid="([^"]+)"', plots[0])) & set(re.findall(r'\bid="([^"]+)"', plots[1]))


def test_the_sweep_names_every_lambda_marks_the_chosen_and_the_diverged():
    plot = sweep_plot(make_repair().sweep, 1.0)
    for text in ("0.1", "1", "10", "100"):
        assert f">{text}</text>" in plot
    assert plot.count(">chosen</text>") == 2
    assert plot.count(">diverged</text>") == 2
    assert ">chosen</text>" not in sweep_plot(make_repair().sweep, None)


def test_plots_stand_rates_of_nothing():
    nothing = SweepPoint(1.0, Rate(0, 0), Rate(0, 0), allowed=False)
    assert "<svg" in sweep_plot([nothing], None)


def test_numbers_as_text():
    nbsp = "\N{NO-BREAK SPACE}"
    assert percent(0.1234) == f"12.3{nbsp}%"
    assert percent(math.nan) == "\N{EN DASH}"
    assert rate_text(Rate(1, 3)) == f"33.3{nbsp}%"
    assert rate_text(Rate(9884, 10000)) == f"98.84{nbsp}%"
    assert interval_text(Rate(0, 0)) == "nothing tried"
    assert interval_text(Rate(0, 10)) == "0.0 to 27.8"
    assert [count(1, "bug"), count(0, "bug"), count(1234, "bug")] == ["1 bug", "0 bugs", "1,234 bugs"]
    assert [duration(1.26), duration(59.94), duration(361.2), duration(7260)] == [
        "1.3 s",
        "59.9 s",
        "6 min 01 s",
        "2 h 01 min",
    ]
    assert [probability(value) for value in (0.5, 0.001, 9.6e-5, 1e-300, 0.0)] == [
        "0.500",
        "0.001",
        "1 \N{MULTIPLICATION SIGN} 10⁻⁴",
        "1 \N{MULTIPLICATION SIGN} 10⁻³⁰⁰",
        "below any number",
    ]
