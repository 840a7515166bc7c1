"""The one owner of file names in a run's folder: atomic writes, the manifest, the lock."""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from defuse.errors import RunError


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then rename it, so that no half-written file is ever seen.

    Raises:
        RunError: the disk is full or the folder cannot be written; the temporary file is removed.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):  # the folder itself may be what is wrong
            temporary.unlink(missing_ok=True)
        raise RunError(
            f"{path}: cannot be written ({error.strerror or error}); see to the disk's free space and the folder's "
            "permissions, then run again"
        ) from None
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes atomically."""
    write_atomically(path, lambda temporary: _write_bytes(temporary, content))


def _write_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, with a stable layout."""
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"
    write_atomically(path, lambda temporary: _write_text(temporary, text))


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_atomically(path, lambda temporary: _write_text(temporary, text))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def copy_folder(source: Path, target: Path) -> None:
    """Copy a folder such that ``target`` is whole or not there; what lay there goes."""
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(source, temporary)
    shutil.rmtree(target, ignore_errors=True)
    temporary.replace(target)


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file that this package wrote, as 64 hexadecimal digits.

    Raises:
        RunError: it cannot be read.
    """
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror}); run the stage that writes it again") from None


def read_json(path: Path) -> Any:
    """Read a JSON file that this package wrote.

    Raises:
        RunError: it is missing or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{path}: not found; run the stage that writes it first") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read as JSON ({error}); remove it and run that stage again") from None


class RunDir:
    """Names of everything that a run leaves behind."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def manifest(self) -> Path:
        """Configuration, hashes of data and classifier, versions and thread count."""
        return self.root / "manifest.json"

    @property
    def classifier(self) -> Path:
        """Weights of the classifier under test, when this run trained it."""
        return self.root / "classifier.safetensors"

    @property
    def generator(self) -> Path:
        """Folder of the generator: ``model.safetensors``, ``model.json``, a checkpoint while it trains."""
        return self.root / "generator"

    @property
    def generator_weights(self) -> Path:
        """The generator's weights, in its folder."""
        return self.generator / "model.safetensors"

    @property
    def generator_checkpoint(self) -> Path:
        """Where the generator's training can go on from."""
        return self.generator / "checkpoint.safetensors"

    @property
    def generator_history(self) -> Path:
        """How the training went; its presence says that the generator is complete."""
        return self.generator / "history.json"

    @property
    def judges(self) -> Path:
        """Folder of the judges' weights and their description."""
        return self.root / "judges"

    def shard(self, number: int) -> Path:
        """One Parquet file of failures."""
        return self.root / "identify" / f"shard-{number:05d}.parquet"

    @property
    def regions(self) -> Path:
        """Folder of regions: ``regions.json``, ``regions.safetensors``, ``samples.safetensors``."""
        return self.root / "regions"

    @property
    def regions_done(self) -> Path:
        """The file of that folder that is written last."""
        return self.regions / "regions.json"

    @property
    def verdicts(self) -> Path:
        """The append-only SQLite store of verdicts."""
        return self.root / "verdicts.sqlite"

    @property
    def labels(self) -> Path:
        """The majority's decision on each region."""
        return self.root / "labels.json"

    @property
    def repair(self) -> Path:
        """The record of the repair."""
        return self.root / "repair" / "repair.json"

    @property
    def repaired(self) -> Path:
        """The repaired weights."""
        return self.root / "repair" / "repaired.safetensors"

    @property
    def verify(self) -> Path:
        """Folder of the searches after the repair, one folder for each model."""
        return self.root / "verify"

    @property
    def verified(self) -> Path:
        """What these searches found; its presence says that they are complete."""
        return self.verify / "verified.json"

    @property
    def suite(self) -> Path:
        """Folder of the regression suite."""
        return self.root / "suite"

    @property
    def report(self) -> Path:
        """The self-contained page that shows all of it."""
        return self.root / "report.html"

    @property
    def summary(self) -> Path:
        """Counts, rates, timings, versions."""
        return self.root / "summary.json"

    @property
    def rounds(self) -> Path:
        """What every round found, when there were several."""
        return self.root / "rounds.json"

    def round(self, number: int) -> Path:
        """Folder of a round after the first."""
        return self.root / "rounds" / str(number)

    def first_round(self) -> Path | None:
        """Return the folder of the run that this folder is a later round of; None for a run by itself."""
        base = self.root.parent.parent
        return base if self.root.parent.name == "rounds" and RunDir(base).manifest.exists() else None

    @property
    def timings(self) -> Path:
        """Seconds spent in each stage, over all sessions of the run."""
        return self.root / "timings.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for one process; the lock goes with the process, however that ends.

        Raises:
            RunError: another process works in this folder, or it cannot be made or locked.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            handle = (self.root / ".lock").open("a+")
        except OSError as error:
            raise RunError(f"{self.root}: cannot be used as an output folder ({error.strerror})") from None
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunError(f"{self.root}: another run is at work here; wait for it or use --out") from None
            except OSError as error:
                raise RunError(
                    f"{self.root}: cannot be locked ({error.strerror}); use a folder on a local disk"
                ) from None
            yield

    def free_bytes(self) -> int:
        """Return the free space of the disk that holds the folder."""
        existing = next(parent for parent in [self.root, *self.root.absolute().parents] if parent.exists())
        return shutil.disk_usage(existing).free
