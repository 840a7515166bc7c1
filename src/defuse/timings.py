"""How long each stage of a run took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from defuse.errors import RunError
from defuse.rundir import read_json, write_json


@dataclass(frozen=True)
class Timings:
    """Seconds spent in each stage, over all sessions that finished the stage or a part of it, in one JSON file."""

    path: Path

    def read(self) -> dict[str, float]:
        """Return stage -> seconds; empty before the first one ends.

        Raises:
            RunError: the file is damaged.
        """
        return dict(read_json(self.path)) if self.path.exists() else {}

    @contextmanager
    def of(self, stage: str, *, done: bool = False) -> Iterator[None]:
        """Add the time of a block, however it ends, to the stage's seconds; write what marks it as done after that.

        Nothing is added where the stage was ``done`` before, and the block only reads what it left; one that was killed
        before its time was noted then counts as 0.
        """
        if done:
            if stage not in self.read():
                self._add(stage, 0.0)
            yield
            return
        began = time.monotonic()
        try:
            yield
        except BaseException:
            with suppress(RunError):  # what went wrong first is what to tell
                self._add(stage, time.monotonic() - began)
            raise
        self._add(stage, time.monotonic() - began)

    def _add(self, stage: str, seconds: float) -> None:
        spent = self.read()
        spent[stage] = round(spent.get(stage, 0.0) + seconds, 2)
        write_json(self.path, spent)
