import importlib
import sys
from pathlib import Path

import pytest

from defuse.bench.cells import Cell
from defuse.bench.planted import figures, results
from defuse.bench.scoring import RepairScore
from defuse.bench.table import cell_line, closing_lines
from defuse.records import Rate
from defuse.summary import Share


def share(successes, trials=100):
    return Share.of(Rate(successes, trials))


def cell(task="thin-6-as-1", level="unseen", rank=2, *, before=20, control=40, after=90, clean=100, **changes):
    repair = RepairScore(
        before=share(before),
        control=share(control),
        after=share(after),
        clean=share(clean),
        test_before=share(970, 1000),
        test_control=share(975, 1000),
        test_after=share(972, 1000),
        negative_flips=share(2, 1000),
    )
    values = {
        "key": "k",
        "commit": "c",
        "task": task,
        "data": "mnist",
        "kind": "corrupted",
        "method": "default",
        "level": level,
        "seed": 0,
        "quick": False,
        "reported": 12,
        "findings": (),
        "rank": rank,
        "strict_rank": None,
        "precision": 0.9,
        "ceiling": share(95),
        "repair": repair,
        "device": "cpu",
        "stages": {},
        "seconds": 1.0,
    }
    return Cell(**{**values, **changes})


CELLS = [cell(), cell("thick-3-as-8", rank=None, before=40, control=60, after=60, precision=0.7)]


def test_figures_by_hand():
    told = figures(CELLS)
    expected = {
        "bugs": 2,
        "recall_at_10": 0.5,
        "strict_recall_at_10": 0.0,
        "precision_at_10": 0.8,
        "gap_closed": (0.7 + 0.2) / (0.8 + 0.6),
        "excess_gap_closed": 0.5 / (0.6 + 0.4),
        "test_accuracy_change": 0.002,
        "negative_flips": 0.002,
    }
    for name, value in expected.items():
        assert told[f"planted.default.unseen.{name}"] == pytest.approx(value, abs=1e-4), name
    assert "planted.default.unseen.labels_to_find" not in told
    assert told["planted.tasks.thin-6-as-1.default.unseen.labels_to_find"] == 2
    assert told["planted.tasks.thin-6-as-1.default.unseen.control"] == 0.4
    assert "planted.tasks.thin-6-as-1.default.unseen.gap_closed_low" not in told


def test_a_cell_in_one_line():
    assert cell_line(CELLS[0]) == (
        "thin-6-as-1, unseen, default: found as no. 2; "
        "real images: before 20.0 %, control 40.0 %, after 90.0 %, clean 100.0 %"
    )
    assert "not found in 10" in cell_line(CELLS[1])
    assert cell_line(cell(control=60)).endswith("(SHALLOW: the control closes half of the gap)")
    assert "SHALLOW" not in cell_line(cell(control=60, level="seen"))


def test_closing_lines_and_the_page_tell_every_method_and_level(monkeypatch):
    cells = [*CELLS, cell(level="seen")]
    assert [line.split(":")[0] for line in closing_lines(cells)] == ["default, seen", "default, unseen"]
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parents[2] / "docs"), *sys.path])
    page = importlib.import_module("planted_page")
    result = results(cells, "defuse bench planted")
    text = page.planted_page(result)
    assert "| default | unseen | 2 | 50.0 % | 0.0 % | 80.0 % | - | 64.3 % | 50.0 % | +0.20 points | 0.2 % |" in text
    assert "| thin-6-as-1 | corrupted | seen | default | 0 | 2 | 20.0 % | 40.0 % | 90.0 % | 100.0 % | 95.0 %" in text
    assert page.planted_plot(result) == page.planted_plot(result)
