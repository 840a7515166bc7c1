"""The run-time type checker of the tests."""

from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintPep673Exception

_beartype = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int may stand where a float is expected


def checked(function):
    """Check a function's arguments and result at every call; the few that return ``Self`` stay unchecked."""
    try:
        return _beartype(function)
    except BeartypeDecorHintPep673Exception:  # beartype knows Self only when it is given the whole class
        return function
