"""Run the commands of the README and of docs/*.md as a reader would, in a scratch folder.

Every fenced ``sh`` and ``python`` block is run, top to bottom, page by page. A block after ``<!-- not run: WHY -->`` is
left out and named. With ``--quick``, ``make`` lines are left to the caller and runs are cut short by small settings.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
SMALL = {
    "data.split.limit": 1500,
    "classifier.training.epochs": 1,
    "generator.epochs": 2,
    "generator.min_reconstruction": 0,
    "judges.training.epochs": 1,
    "identify.budget": 2000,
    "identify.shard_size": 1000,
    "correct.steps": 5,
}
SETTINGS = " ".join(f"--set {key}={value}" for key, value in SMALL.items())
SHORTER = (
    (re.compile(r"^(defuse run [^#\n]*?) *(?:#.*)?$", re.MULTILINE), rf"\1 {SETTINGS}"),
    (re.compile(r"limit=\d+"), "limit=1500"),
    (re.compile(r"epochs=\d+"), "epochs=1"),
    (
        re.compile(r'"identify": \{"budget": [\d_]+\}'),
        (
            '"identify": {"budget": 2000}, "generator": {"epochs": 2, "min_reconstruction": 0}, '
            '"judges": {"training": {"epochs": 1}}, "correct": {"steps": 5}'
        ),
    ),
)
"""What ``--quick`` changes in the text of a block before it is run."""

BLOCK = re.compile(r"(?:<!-- not run: (?P<why>[^>]*) -->\n)?```(?P<kind>sh|python)\n(?P<code>.*?)```", re.DOTALL)


def main() -> int:
    """Run every block; stop at the first that fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorten the runs")
    quick = parser.parse_args().quick
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        with tempfile.TemporaryDirectory() as scratch:
            shutil.copytree(ROOT / "examples", Path(scratch) / "examples")
            for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
                if block["why"]:
                    print(f"{page.name}: not run ({block['why']}): {block['code'].splitlines()[0]}")
                    continue
                code = _shortened(block["code"]) if quick else block["code"]
                if not _passes(page, block["kind"], code, Path(scratch), environment):
                    return 1
    return 0


def _shortened(code: str) -> str:
    for pattern, replacement in SHORTER:
        code = pattern.sub(replacement, code)
    return code


def _passes(page: Path, kind: str, code: str, folder: Path, environment: dict[str, str]) -> bool:
    lines = [line for line in code.splitlines() if not line.startswith("make ")] if kind == "sh" else [code]
    if not "".join(lines).strip():
        return True
    began = time.monotonic()
    command = ["bash", "-euo", "pipefail", "-c", "\n".join(lines)] if kind == "sh" else [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, check=False)  # noqa: S603 -- our own pages
    print(
        f"{page.name}: {code.splitlines()[0]}: exit {done.returncode} after {time.monotonic() - began:.0f} s",
        flush=True,
    )
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
