"""What a result was made with."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("defuse", "torch", "numpy", "scipy", "scikit-learn", "pyarrow", "safetensors", "pillow")


def versions() -> dict[str, str]:
    """Return the versions of Python and of every package that a result depends on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def machine() -> dict[str, int | str | None]:
    """Return what it ran on: number of cores, kind of processor, operating system."""
    return {"cores": os.cpu_count(), "processor": platform.machine(), "system": platform.system()}


def commit() -> str:
    """Return the short hash of the commit of the checkout that runs; ``unknown`` where it is none."""
    where = Path(__file__).parent
    try:
        told = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607 -- git is looked up like any tool
            cwd=where,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return "unknown"
    return told.stdout.strip() or "unknown"


def provenance(command: str) -> dict[str, Any]:
    """Return how a result came about: command, commit, versions and machine.

    Ask before the work begins: the checkout may move on meanwhile.
    """
    return {"command": command, "commit": commit(), "versions": versions(), "machine": machine()}
