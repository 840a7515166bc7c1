"""Checks the array shapes and types that the package declares, at run time, in every test of this process."""

from jaxtyping import install_import_hook

install_import_hook("defuse", "type_checks.checked")
