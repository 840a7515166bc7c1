"""Where networks compute: the processor, or a CUDA device.

Networks hold their device and answer where they are asked: whatever passes between them lies on the processor, so that
one run's records do not depend on where it was computed, but for rounding.
"""

import re
from typing import Annotated

import torch
from pydantic import AfterValidator, Field


def pick_device(name: str = "auto") -> str:
    """Return ``cpu``, ``cuda`` or ``cuda:N``: what was asked for, or, for ``auto``, a CUDA device where there is one.

    Raises:
        ValueError: no such device, or none that torch sees.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return name
    if not re.fullmatch(r"cuda(:\d+)?", name):
        raise ValueError("expected auto, cpu, cuda or cuda:N")
    number = int(name.partition(":")[2] or 0)
    seen = torch.cuda.device_count()
    if number >= seen:
        raise ValueError(f"torch sees {seen} CUDA devices; use auto or cpu, or install a build of torch for CUDA")
    return name


Device = Annotated[str, AfterValidator(pick_device), Field(validate_default=True, exclude=True)]
"""A setting: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; once validated, never ``auto``. It decides no result."""


def device_name(device: str) -> str:
    """Return what a picked device is: the card's name, or ``cpu``."""
    return device if device == "cpu" else torch.cuda.get_device_name(device)
