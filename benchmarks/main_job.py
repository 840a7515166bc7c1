"""The main job on a real data set, timed: one JSON per preset, with command, commit, seed, versions and machine.

python benchmarks/main_job.py examples/mnist.yaml --name mnist --source mnist.npz --out runs --preset default paper

A run that was interrupted goes on where it stopped; "seconds" then adds up what the stages took, kills left out.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from defuse.versions import commit, machine

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Run each preset as a user would, and keep its summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="YAML configuration")
    parser.add_argument("--name", required=True, help="of the data, in the results' file names")
    parser.add_argument("--source", required=True, help="the data set")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="further settings")
    parser.add_argument("--preset", nargs="+", default=["default", "paper"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where the runs' folders go")
    parser.add_argument("--json", type=Path, help="folder of the results [default: benchmarks/results]")
    parser.add_argument("--redo", action="store_true", help="settings have changed since the folder was made")
    parser.add_argument("--quick", action="store_true", help="a small search on few images, to see that it works")
    options = parser.parse_args()
    for preset in options.preset:
        result = _measure(options, preset)
        folder = options.json or RESULTS
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"main_job_{options.name}_{preset}.json"
        path.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        print(f"wrote {path}")


def _measure(options: argparse.Namespace, preset: str) -> dict[str, Any]:
    made_by = commit()  # of the code that runs, whatever is committed meanwhile
    out = options.out / f"{options.name}-{preset}-{options.seed}"
    quick = ["data.split.limit=3000", "identify.budget=4000", "generator.epochs=3", "generator.min_reconstruction=0"]
    arguments = ["run", options.config, "--preset", preset, "--seed", str(options.seed)]
    arguments += ["--redo"] if options.redo else []
    arguments += ["--set", f"data.source={options.source}"]
    settings = options.set + (quick if options.quick else [])
    arguments += [part for setting in settings for part in ("--set", setting)]
    subprocess.run([sys.executable, "-m", "defuse.cli", *arguments, "--out", str(out)], check=True)  # noqa: S603 -- own command
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    return {
        "name": options.name,
        "figures": _figures(summary),
        "summary": summary,
        "command": " ".join(["defuse", *arguments]).replace(options.source, Path(options.source).name),
        "commit": made_by,
        "seed": options.seed,
        "versions": summary["versions"],
        "machine": machine(),
        "seconds": round(sum(summary["seconds"].values()), 1),
    }


def _figures(summary: dict[str, Any]) -> dict[str, float]:
    figures = {
        "test_accuracy": summary["test_accuracy"]["value"],
        "generator.bound_nats": summary["generator_bound"],
        "generator.reconstruction_kept": summary["reconstruction_kept"]["value"],
        "identify.flip_rate": summary["search"]["flip_rate"]["value"],
        "identify.kept_rate": summary["search"]["kept_rate"]["value"],
        "regions": len(summary["regions"]),
    }
    for when in ("before", "control", "after") if summary["repair"] else ():
        scores = summary["repair"][when]
        figures[f"repair.{when}.region_failure_rate"] = scores["region_failure_rate"]["value"]
        figures[f"repair.{when}.test_accuracy"] = scores["test_accuracy"]["value"]
    return figures


if __name__ == "__main__":
    main()
