"""Runs the command line in forks of a process that has imported everything once; one JSON line per command.

A request is ``{"argv": [...], "cwd": PATH, "stop": {...} or null, "bytes": LIMIT or null}``; the answer holds the exit
code (negative: the signal), stdout, stderr, and every progress call. ``stop`` names a signal, the task and the count
after which it is sent (or any task of ``later``, should that one be done already), and a delay in seconds after that.
"""

import contextlib
import importlib
import json
import os
import resource
import signal
import sys
import tempfile
import threading
import traceback
from pathlib import Path

PRELOAD = (
    "defuse.cli.app",
    "defuse.cli.bars",
    "defuse.cli.show",
    "defuse.demo",
    "defuse.plan",
    "defuse.results",
    "matplotlib.backends.backend_svg",
    "torch._dynamo",  # torch's optimisers load it at their first use, which takes longer than a tiny run
)


def watch(log: Path, stop: dict | None) -> None:
    """Write down each progress call, and stop this process a moment after the one that was named."""
    from defuse.cli.bars import Bars  # noqa: PLC0415  loaded already; here, so that the list above rules

    told = Bars.__call__
    handle = log.open("a", buffering=1)
    due = stop is not None

    def tell(self, task, done, total, note=""):
        nonlocal due
        told(self, task, done, total, note)
        handle.write(json.dumps([task, done]) + "\n")
        if due and (task in stop["later"] or (task == stop["task"] and done >= stop["done"])):
            due = False
            threading.Timer(stop["delay"], os.kill, (os.getpid(), stop["signal"])).start()

    Bars.__call__ = tell


def child(request: dict, scratch: Path) -> None:
    """Be the command line; never return."""
    code = 70
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(scratch / name, os.O_WRONLY | os.O_CREAT), number)
        os.chdir(request["cwd"])
        sys.argv = ["defuse", *request["argv"]]
        watch(scratch / "log", request["stop"])
        if request["bytes"]:
            resource.setrlimit(resource.RLIMIT_FSIZE, (request["bytes"],) * 2)
        from defuse.cli import main  # noqa: PLC0415  as above

        main()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:  # noqa: BLE001  what Python itself would print
        traceback.print_exc()
        code = 1
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def serve() -> None:
    """Answer requests until the input ends."""
    for name in PRELOAD:
        importlib.import_module(name)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    for line in sys.stdin:
        with tempfile.TemporaryDirectory() as folder:
            scratch = Path(folder)
            pid = os.fork()
            if not pid:
                child(json.loads(line), scratch)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            log = scratch / "log"
            answer = {
                "code": code,
                "out": (scratch / "stdout").read_text(encoding="utf-8"),
                "err": (scratch / "stderr").read_text(encoding="utf-8"),
                "told": [json.loads(told) for told in log.read_text(encoding="utf-8").splitlines()],
            }
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    serve()
