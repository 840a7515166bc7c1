"""Serves made-up regions: ``python serve_house.py FOLDER REGIONS AGREEING`` prints the link."""

import sys
from pathlib import Path

from web_makers import make_gallery

from defuse.label import StopRule
from defuse.web import Desk, serve

SIGNS = ("stop", "yield", "speed 20", "speed 30", "speed 50", "speed 80", "no entry", "ahead", "left", "right",
         "bicycles", "Übergang")  # fmt: skip


def signs(count):
    return make_gallery(count, names=SIGNS, size=16)


if __name__ == "__main__":
    folder, count, agreeing = sys.argv[1:]
    desk = Desk(signs(int(count)), Path(folder) / "verdicts.sqlite", StopRule(agreeing=int(agreeing)))
    serve(desk, tell=lambda link: print(link, flush=True))  # noqa: T201 -- the caller reads it
