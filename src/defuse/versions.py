"""What a result was made with."""

import platform
from importlib.metadata import PackageNotFoundError, version

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
