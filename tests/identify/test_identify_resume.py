import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from identify_toys import SETTINGS, ToyClassifier, ToyGenerator, ToyJudge, Toys

from defuse.errors import RunError

SHARDS = SETTINGS.shards

SEARCH = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from identify_toys import ToyJudge, Toys

class SlowJudge(ToyJudge):
    def _probabilities(self, pixels):
        time.sleep(0.05)
        return super()._probabilities(pixels)

Toys(judge=SlowJudge()).run(Path(sys.argv[2]), progress=lambda *told: print(*told[:2], flush=True))
"""


class Stop(Exception):  # noqa: N818  no error: somebody pulls the plug
    pass


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    return folder, Toys().run(folder)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def times(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def same(first, second):
    assert np.array_equal(first.failures.z, second.failures.z)
    assert np.array_equal(first.failures.seed, second.failures.seed)
    assert first.failures.proposal == second.failures.proposal
    assert first.failures.scores.keys() == second.failures.scores.keys()
    assert first.search.counts == second.search.counts
    assert first.search.gates == second.search.gates


def stop_after(shard):
    def progress(task, done, total, note=""):
        del total, note
        if task == "identify" and done == shard:
            raise Stop

    return progress


@pytest.mark.parametrize("shard", range(1, SHARDS + 1))
def test_resume_after_a_stop_between_shards(tmp_path, undisturbed, shard):
    with pytest.raises(Stop):
        Toys().run(tmp_path, progress=stop_after(shard))
    before = times(tmp_path)
    assert len(before) == shard
    same(Toys().run(tmp_path), undisturbed[1])
    assert contents(tmp_path) == contents(undisturbed[0])
    assert before.items() <= times(tmp_path).items()  # finished shards were not touched


@pytest.mark.parametrize("calls", [0, 1, 4, 9])
def test_resume_after_a_stop_within_a_shard(tmp_path, undisturbed, calls):
    class Failing(ToyJudge):
        left = calls

        def _probabilities(self, pixels):
            if not self.left:
                raise Stop
            self.left -= 1
            return super()._probabilities(pixels)

    with pytest.raises(Stop):
        Toys(judge=Failing()).run(tmp_path)
    before = contents(tmp_path)
    assert before.items() <= contents(undisturbed[0]).items()  # whole shards or none, no other file
    assert len(before) < SHARDS
    same(Toys().run(tmp_path), undisturbed[1])
    assert contents(tmp_path) == contents(undisturbed[0])


@pytest.mark.parametrize("lost", [{0}, {SHARDS - 1}, {1, 3, 4}, set(range(SHARDS))])
def test_resume_makes_lost_shards_anew_and_no_others(tmp_path, undisturbed, lost):
    Toys().run(tmp_path)
    before = times(tmp_path)
    for number in lost:
        (tmp_path / f"shard-{number}.parquet").unlink()
    toys = Toys()
    same(toys.run(tmp_path), undisturbed[1])
    assert contents(tmp_path) == contents(undisturbed[0])
    after = times(tmp_path)
    assert {name for name in after if after[name] != before[name]} == {f"shard-{n}.parquet" for n in lost}
    assert sum(toys.generator.batches) == len(toys.reference) + sum(map(SETTINGS.candidates, lost))


def test_resume_of_a_finished_search_asks_nobody(tmp_path, undisturbed):
    class NoGenerator(ToyGenerator):
        encode = decode = None

    class NoClassifier(ToyClassifier):
        _forward = None

    class NoJudge(ToyJudge):
        _probabilities = None

    Toys().run(tmp_path)
    same(Toys(generator=NoGenerator(), classifier=NoClassifier(), judge=NoJudge()).run(tmp_path), undisturbed[1])


def test_resume_after_the_disk_was_full(tmp_path, undisturbed, monkeypatch):
    def full(table, path, **_):
        del table
        Path(path).write_bytes(b"PAR1 half a shard")
        raise OSError("Error writing bytes to file. Detail: [errno 28] No space left on device")

    with pytest.raises(Stop):
        Toys().run(tmp_path, progress=stop_after(3))
    before = contents(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("pyarrow.parquet.write_table", full)
        with pytest.raises(RunError, match=r"shard-3\.parquet: cannot be written .*No space left"):
            Toys().run(tmp_path)
    assert contents(tmp_path) == before
    Toys().run(tmp_path)
    assert contents(tmp_path) == contents(undisturbed[0])


def test_resume_after_kill_9(tmp_path, undisturbed):
    shards = 2
    command = [sys.executable, "-c", SEARCH, str(Path(__file__).parent), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.split() == ["identify", str(shards)]:
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    before = times(tmp_path)
    finished = {name: time for name, time in before.items() if name.endswith(".parquet")}
    assert shards <= len(finished) < SHARDS
    same(Toys().run(tmp_path), undisturbed[1])
    assert contents(tmp_path) == contents(undisturbed[0])
    assert finished.items() <= times(tmp_path).items()


def test_a_shard_s_result_is_its_own(tmp_path):
    """The first shards of a larger search with shards of the same size are those of the smaller one."""
    small = Toys().run(tmp_path / "small", type(SETTINGS)(budget=400, shard_size=100, batch_size=64))
    large = Toys().run(tmp_path / "large", type(SETTINGS)(budget=800, shard_size=100, batch_size=64))
    assert contents(tmp_path / "small").items() <= contents(tmp_path / "large").items()
    assert np.array_equal(large.failures.z[: len(small.failures)], small.failures.z)
