"""Starts ``serve_house.py`` and says where it listens."""

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

SCRIPT = Path(__file__).with_name("serve_house.py")


def start(folder, regions, agreeing):
    arguments = [sys.executable, str(SCRIPT), str(folder), str(regions), str(agreeing)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().strip()


@contextmanager
def served(folder, regions, agreeing=2):
    process, link = start(folder, regions, agreeing)
    try:
        yield link
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
