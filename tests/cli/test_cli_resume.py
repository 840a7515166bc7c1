import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from defuse.rundir import RunDir

RESULTS = ("identify/*.parquet", "generator/model.*", "judges/*", "regions/*", "repair/*", "suite/*", "labels.json")
FINISHED = "identify/shard-*.parquet"
DELAYS = (0.0, 0.0, 0.005, 0.02, 0.05)


def contents(folder: Path) -> dict[str, bytes]:
    """Every result that must not depend on how often a run was stopped."""
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for pattern in (*RESULTS, "classifier.safetensors")
        for path in folder.glob(pattern)
    }
    assert len(found) > len(RESULTS)
    return found


def times(folder: Path, pattern: str = FINISHED) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob(pattern)}


def same_figures(first: Path, second: Path) -> None:
    one, other = (json.loads((folder / "summary.json").read_text(encoding="utf-8")) for folder in (first, second))
    assert one.pop("seconds").keys() == other.pop("seconds").keys()
    assert one == other


@pytest.fixture(scope="module")
def undisturbed(defuse, tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    return folder, defuse("run", tiny.config, "--out", folder)


def stops(told, rng, *, per_task=1, sent=signal.SIGKILL):
    """Random moments, in order, in every task that an undisturbed run told of."""
    tasks = list(dict.fromkeys(task for task, _ in told))
    for place, task in enumerate(tasks, start=1):
        counts = [done for name, done in told if name == task]
        for done in sorted(rng.choice(counts, per_task).tolist()):
            delay = float(rng.choice(DELAYS))
            yield {"task": task, "done": done, "later": tasks[place:], "signal": int(sent), "delay": delay}


def stop_again_and_again(defuse, tiny, out, told, rng, per_task):
    """Run until killed, for every moment in turn; finished shards must stay as they are. Return the tasks hit."""
    killed = []
    for stop in stops(told, rng, per_task=per_task):
        before = times(out)
        ended = defuse("run", tiny.config, "--out", out, stop=stop)
        assert ended.code in (-signal.SIGKILL, 0), ended.err
        assert before.items() <= times(out).items()
        if ended.code:
            killed.append(stop["task"] if stop["task"] in dict(ended.told) else ended.told[-1][0])
    before = times(out)
    ended = defuse("run", tiny.config, "--out", out)
    assert ended.code == 0, ended.err
    assert before.items() <= times(out).items()
    return killed


def test_resume_after_kill_9_in_every_stage(defuse, tiny, undisturbed, tmp_path):
    folder, ended = undisturbed
    assert ended.code == 0, ended.err
    killed = stop_again_and_again(defuse, tiny, tmp_path / "out", ended.told, np.random.default_rng(1), per_task=1)
    stages = {"fit generator", "training", "judge", "identify", "distill", "correct"}
    hit = {stage for stage in stages if any(task.startswith(stage) for task in killed)}
    assert len(hit) >= len(stages) - 1, killed  # a stage may end in the moment between trigger and kill before it
    assert contents(tmp_path / "out") == contents(folder)
    same_figures(tmp_path / "out", folder)
    assert not list((tmp_path / "out").rglob("*.tmp"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_resume_after_many_kills(defuse, tiny, undisturbed, tmp_path, seed):
    folder, ended = undisturbed
    killed = stop_again_and_again(defuse, tiny, tmp_path / "out", ended.told, np.random.default_rng(seed), per_task=5)
    assert len(killed) > 20
    assert contents(tmp_path / "out") == contents(folder)
    same_figures(tmp_path / "out", folder)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_resume_after_kills_from_outside_by_the_clock(tiny, undisturbed, tmp_path, monkeypatch, seed):
    """The command itself, killed by another process at any moment, imports included."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    rng = np.random.default_rng(seed)
    command = [sys.executable, "-m", "defuse.cli", "run", str(tiny.config), "--out", str(tmp_path / "out"), "--quiet"]
    for _ in range(8):
        with subprocess.Popen(command) as process:
            try:
                process.wait(timeout=rng.uniform(1, 7))
            except subprocess.TimeoutExpired:
                process.kill()
    subprocess.run(command, check=True, timeout=120)
    assert contents(tmp_path / "out") == contents(undisturbed[0])


def test_resume_of_a_finished_run_does_nothing_anew(defuse, tiny, finished, tmp_path):
    out = finished.copy(tmp_path / "out")
    before = {pattern: times(out, pattern) for pattern in (*RESULTS[:-2], "classifier.safetensors")}
    assert defuse("run", tiny.config, "--out", out).code == 0
    assert {pattern: times(out, pattern) for pattern in before} == before
    same_figures(out, finished.folder)


def test_resume_after_a_stop_at_the_very_start(defuse, finished, tiny, tmp_path):
    """All that is there is the lock and half a manifest."""
    out = tmp_path / "out"
    out.mkdir()
    (out / ".lock").touch()
    (out / ".manifest.json.tmp").write_text('{"conf', encoding="utf-8")
    assert defuse("run", tiny.config, "--out", out).code == 0
    assert contents(out) == contents(finished.folder)


def test_resume_after_ctrl_c(defuse, tiny, undisturbed, tmp_path):
    folder, ended = undisturbed
    out = tmp_path / "out"
    for stop in list(stops(ended.told, np.random.default_rng(2), sent=signal.SIGINT))[::3]:
        interrupted = defuse("run", tiny.config, "--out", out, stop=stop)
        assert interrupted.code == 130, interrupted.err
        assert interrupted.err == "defuse: interrupted; the same command goes on where this one stopped\n"
        assert interrupted.out == ""
        assert not list(out.rglob("*.tmp"))
    assert defuse("run", tiny.config, "--out", out).code == 0
    assert contents(out) == contents(folder)


def test_resume_is_refused_while_another_run_is_at_work(defuse, tiny, finished, tmp_path):
    out = finished.copy(tmp_path / "out")
    before = times(out, "**/*")
    with RunDir(out).locked():
        for arguments in (["run", tiny.config], ["distill"], ["report"]):
            line = defuse(*arguments, "--out", out).complaint
            assert line == f"defuse: {out}: another run is at work here; wait for it or use --out\n"
        assert "another run is at work here" in defuse("label", "auto", out).complaint
    assert times(out, "**/*") == before
    assert defuse("distill", "--out", out).code == 0


@pytest.mark.parametrize(("first", "then"), [("fit", "run"), ("identify", "correct"), ("distill", "run")])
def test_resume_from_single_stages(defuse, tiny, undisturbed, tmp_path, first, then):
    out = tmp_path / "out"
    assert defuse(first, tiny.config, "--out", out).code == 0
    assert not (out / "summary.json").exists()
    before = times(out)
    ended = defuse(then, "--out", out)
    assert ended.code == 0, ended.err
    assert before.items() <= times(out).items()
    assert contents(out) == contents(undisturbed[0])
