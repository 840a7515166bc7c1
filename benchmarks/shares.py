"""How the benchmarks' results hold a rate."""

from typing import Any

from defuse.records import Rate
from defuse.summary import Share


def share(rate: Rate) -> dict[str, Any]:
    """Return a rate with its interval as plain figures."""
    return Share.of(rate).model_dump(mode="json")
