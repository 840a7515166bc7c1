"""Checks the array shapes and types that the package declares, at run time, in every test of this process."""

import os

from hypothesis import settings
from jaxtyping import install_import_hook

install_import_hook("defuse", "type_checks.checked")

# A busy machine is no failure; in CI the same examples come every time, and new ones are found at people's desks.
settings.register_profile("patient", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("patient")


def pytest_configure(config):
    # beartype looks at one item of a tuple, chosen at random; Hypothesis takes that for a strategy's own doing.
    config.addinivalue_line("filterwarnings", "ignore:Do not use the `random` module inside strategies")
