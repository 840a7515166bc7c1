import subprocess
import sys

import pytest

import defuse


def test_import_loads_no_torch_and_every_name_resolves():
    script = """
import sys
import defuse
heavy = [name for name in ("torch", "numpy", "scipy", "sklearn", "matplotlib", "fastapi") if name in sys.modules]
assert not heavy, heavy
assert dir(defuse) == sorted(defuse.__all__)
for name in defuse.__all__:
    assert getattr(defuse, name).__name__ == name, name
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_public_names_and_their_homes_are_one_list():
    assert sorted(defuse._HOMES) == sorted(defuse.__all__)
    assert len(set(defuse.__all__)) == len(defuse.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'defuse' has no attribute 'debgu'"):
        _ = defuse.debgu
