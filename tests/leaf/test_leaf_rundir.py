import errno
import json
import resource
import signal
import subprocess
import sys
from collections import namedtuple
from contextlib import contextmanager
from pathlib import Path

import pytest

from defuse.errors import RunError
from defuse.rundir import RunDir, read_json, write_atomically, write_json, write_text

HOLD = """
import sys
from pathlib import Path
from defuse.rundir import RunDir
with RunDir(Path(sys.argv[1])).locked():
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def largest_file(size):
    """Let no file grow beyond ``size`` bytes; Python ignores the signal, so that writing raises EFBIG."""
    assert signal.getsignal(signal.SIGXFSZ) is signal.SIG_IGN
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_folders_are_made_and_nothing_but_the_file_is_left(tmp_path):
    write_text(tmp_path / "a" / "b" / "file.txt", "für dich")
    assert contents(tmp_path / "a" / "b") == {"file.txt": "für dich".encode()}


def test_the_old_file_stands_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    seen = []

    def write(temporary):
        temporary.write_bytes(b"half")
        seen.append(path.read_bytes())
        temporary.write_bytes(b"new")

    write_atomically(path, write)
    assert seen == [b"old"]
    assert contents(tmp_path) == {"file": b"new"}


@pytest.mark.parametrize("raised", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("old", [{}, {"file": b"old"}])
def test_an_interrupted_write_leaves_what_was_there(tmp_path, raised, old):
    for name, data in old.items():
        (tmp_path / name).write_bytes(data)

    def write(temporary):
        temporary.write_bytes(b"half")
        raise raised

    with pytest.raises(raised):
        write_atomically(tmp_path / "file", write)
    assert contents(tmp_path) == old


def test_a_leftover_of_a_killed_write_is_no_hindrance(tmp_path):
    (tmp_path / ".file.tmp").write_bytes(b"half, from a killed process")
    write_text(tmp_path / "file", "whole")
    assert contents(tmp_path) == {"file": b"whole"}


def device_full(temporary):
    temporary.symlink_to("/dev/full")
    temporary.write_bytes(b"x")  # the kernel answers ENOSPC


def raising_enospc(temporary):
    temporary.write_bytes(b"half")
    raise OSError(errno.ENOSPC, "No space left on device")


def raising_without_number(temporary):
    temporary.write_bytes(b"half")
    raise OSError("Error writing bytes to file: No space left on device")


@pytest.mark.parametrize("write", [device_full, raising_enospc, raising_without_number])
@pytest.mark.parametrize("old", [{}, {"file": b"old"}])
def test_bad_input_disk_full(tmp_path, write, old):
    for name, data in old.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(RunError, match=r"file: cannot be written .*No space left on device.*free space"):
        write_atomically(tmp_path / "file", write)
    assert contents(tmp_path) == old


def test_bad_input_disk_full_while_a_file_grows(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    with largest_file(4096), pytest.raises(RunError, match=r"file: cannot be written \(File too large\)"):
        write_json(tmp_path / "file", list(range(10_000)))
    assert contents(tmp_path) == {"file": b"old"}
    write_json(tmp_path / "file", [1])
    assert read_json(tmp_path / "file") == [1]


def test_bad_input_parent_is_a_file(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(RunError, match="cannot be written"):
        write_text(tmp_path / "file" / "inside", "x")
    assert contents(tmp_path) == {"file": b"old"}


def test_json_is_stable_and_comes_back(tmp_path):
    value = {"b": [1, 2.5, None], "a": {"ü": True}}
    write_json(tmp_path / "x.json", value)
    write_json(tmp_path / "y.json", dict(reversed(value.items())))
    assert read_json(tmp_path / "x.json") == value
    assert (tmp_path / "x.json").read_bytes() == (tmp_path / "y.json").read_bytes()
    assert (tmp_path / "x.json").read_text(encoding="utf-8").endswith("}\n")


def test_json_bad_input_is_never_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"rate": float("nan")})
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b'{"a": 1}x'])
def test_read_json_bad_input_damaged(tmp_path, data):
    (tmp_path / "x.json").write_bytes(data)
    with pytest.raises(RunError, match=r"x\.json: cannot be read as JSON"):
        read_json(tmp_path / "x.json")


def test_read_json_bad_input_missing_or_a_folder(tmp_path):
    with pytest.raises(RunError, match=r"x\.json: not found"):
        read_json(tmp_path / "x.json")
    with pytest.raises(RunError, match="cannot be read"):
        read_json(tmp_path)


def test_every_name_is_its_own_and_lies_in_the_folder(tmp_path):
    folder = RunDir(tmp_path)
    names = [name for name, value in vars(RunDir).items() if isinstance(value, property)]
    paths = [getattr(folder, name) for name in names] + [folder.shard(0), folder.shard(1), folder.shard(100_000)]
    assert len(set(paths)) == len(paths)
    assert all(path.is_relative_to(tmp_path) for path in paths)
    assert sorted([folder.shard(10), folder.shard(9)]) == [folder.shard(9), folder.shard(10)]


@contextmanager
def another_process_holding(folder):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout.readline() == b"held\n"
            yield process
        finally:
            process.kill()


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path):
    folder = RunDir(tmp_path / "out")
    with another_process_holding(folder.root) as process:
        with pytest.raises(RunError, match="out: another run is at work here"), folder.locked():
            pytest.fail("the lock was given twice")
        process.send_signal(signal.SIGKILL)
        process.wait()
        with folder.locked():
            pass


def test_the_lock_holds_within_a_process_and_ends_with_its_block(tmp_path):
    folder = RunDir(tmp_path)
    with folder.locked(), pytest.raises(RunError, match="another run"), RunDir(tmp_path).locked():
        pytest.fail("the lock was given twice")
    with pytest.raises(KeyError), folder.locked():
        raise KeyError
    with folder.locked():
        pass


def test_bad_input_output_folder_is_a_file(tmp_path):
    (tmp_path / "out").write_text("x")
    with pytest.raises(RunError, match="out: cannot be used as an output folder"), RunDir(tmp_path / "out").locked():
        pytest.fail("a file was taken for a folder")


def test_bad_input_file_system_without_locks(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(RunError, match=r"cannot be locked \(No locks available\)"), RunDir(tmp_path).locked():
        pytest.fail("there was no lock")


@pytest.mark.parametrize("root", ["out", "out/of/nowhere"])
def test_free_space_is_that_of_the_disk_that_will_hold_the_folder(tmp_path, monkeypatch, root):
    asked = []
    usage = namedtuple("usage", "free")  # noqa: PYI024  as shutil returns
    monkeypatch.setattr("shutil.disk_usage", lambda path: asked.append(Path(path)) or usage(12_345))
    assert RunDir(tmp_path / root).free_bytes() == 12_345
    monkeypatch.chdir(tmp_path)
    assert RunDir(Path(root)).free_bytes() == 12_345
    assert asked == [tmp_path, tmp_path]


def test_json_layout_is_plain(tmp_path):
    write_json(tmp_path / "x.json", {"b": 1, "a": [1]})
    assert (tmp_path / "x.json").read_text() == json.dumps({"a": [1], "b": 1}, indent=2) + "\n"
