"""The command line as a person meets it: exit code, stdout and stderr of a process of its own."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SERVER = Path(__file__).with_name("fork_server.py")


@dataclass(frozen=True)
class Ended:
    """How one command ended; ``told`` holds its progress calls as [task, done]."""

    code: int
    out: str
    err: str
    told: list

    @property
    def complaint(self) -> str:
        """The one line of a user's error."""
        assert self.code == 2, (self.code, self.err)
        assert self.err.startswith("defuse: ")
        assert self.err.count("\n") == 1
        assert self.err.endswith("\n")
        assert "Traceback" not in self.err
        return self.err


class CommandLine:
    """Starts commands, each in a process of its own, on one thread."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(SERVER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def __call__(self, *argv, cwd=".", stop=None, limit=None) -> Ended:
        request = {"argv": [str(arg) for arg in argv], "cwd": str(cwd), "stop": stop, "bytes": limit}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return Ended(**json.loads(self.process.stdout.readline()))

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()
