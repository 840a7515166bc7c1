import json

import pytest
from bench_makers import TASK, Stub, TinyWorkshop, tiny_ground

from defuse.bench import cells
from defuse.bench.cells import Cell
from defuse.bench.planted import figures, gathered, results
from defuse.bench.planting import content_key
from defuse.errors import ConfigError


@pytest.fixture(autouse=True)
def quick_oracle(monkeypatch):
    """One epoch: what the oracle says is not tested here."""
    train = cells.train_oracle
    monkeypatch.setattr(cells, "train_oracle", lambda *args, **named: train(*args, **{**named, "epochs": 1}))


def calls(folder):
    return sum(len(path.read_text()) for path in folder.glob("runs/*/calls.txt"))


def test_a_cell_is_interrupted_resumed_and_not_done_twice(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "stop").touch()
    with pytest.raises(KeyboardInterrupt):
        TinyWorkshop(tmp_path, None, 0).do(TASK, Stub(), "unseen")
    assert not list(tmp_path.glob("cells/*"))
    trained = {path: path.stat().st_mtime_ns for path in tmp_path.glob("cache/classifiers/*")}
    assert len(trained) == 2
    (tmp_path / "runs" / "stop").unlink()
    cell = TinyWorkshop(tmp_path, None, 0).do(TASK, Stub(), "unseen")
    assert calls(tmp_path) == 2
    assert TinyWorkshop(tmp_path, None, 0).do(TASK, Stub(), "unseen") == cell
    assert calls(tmp_path) == 2
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("cache/classifiers/*")} == trained
    assert (cell.reported, cell.findings[0].failing, cell.ceiling) == (1, 6, None)
    assert cell.repair.after.trials == len(tiny_ground().held_out(TASK.name))
    other = TinyWorkshop(tmp_path, None, 0).do(TASK, Stub(steps=3), "unseen")
    assert other.key != cell.key
    assert calls(tmp_path) == 3

    damaged = next(tmp_path.glob("cells/*.json"))
    damaged.write_text(json.dumps({"key": cell.key}))
    again = TinyWorkshop(tmp_path, None, 0).do(TASK, Stub(), "unseen")
    assert again.model_copy(update={"seconds": cell.seconds}) == cell

    gather(tmp_path / "planted.json", cell)
    told = figures([cell, other])
    assert told["planted.stub.unseen.bugs"] == 2
    assert told["planted.stub.unseen.negative_flips"] >= 0
    assert f"planted.tasks.{TASK.name}.stub.unseen.before" in told
    assert Cell.model_validate(cell.model_dump(mode="json")) == cell


def gather(path, cell):
    """Cells of other seeds stay in the file, those of the same name are replaced, other budgets go."""
    later, quick = cell.model_copy(update={"seed": 1}), cell.model_copy(update={"quick": True, "seed": 2})
    assert gathered(path, [cell]) == [cell]
    path.write_text(json.dumps(results([cell, quick], "defuse bench planted")))
    assert gathered(path, [later]) == [cell, later]
    assert gathered(path, [cell.model_copy(update={"rank": 7})])[0].rank == 7
    path.write_text("{}")
    with pytest.raises(ConfigError, match="holds something else than results"):
        gathered(path, [cell])


def test_a_key_depends_on_images_labels_and_settings():
    first = tiny_ground().pools.test.images
    fewer = first.take(first.labels != 0)
    keys = {content_key([1], first), content_key([2], first), content_key([1], fewer), content_key([1], first, fewer)}
    assert len(keys) == 4
    assert content_key([1], first) == content_key([1], tiny_ground().pools.test.images)
