"""What a blind reader says of reported images: scores an answered audit sheet and keeps it, answers and truth.

defuse bench audit RUN --to audit   # then answer audit/audit.html
python benchmarks/audit.py audit/key.json answers.json --name gtsrb --reader "who read it"
"""

import argparse
import json
from pathlib import Path

from main_job import RESULTS

from defuse.bench.audit import read_answers, read_key, score_audit
from defuse.versions import provenance


def main() -> None:
    """Score the answers and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("key", type=Path, help="key.json of the sheet")
    parser.add_argument("answers", type=Path, help="answers.json, as the page saved it")
    parser.add_argument("--name", required=True, help="of the data, in the figures' names")
    parser.add_argument("--reader", required=True, help="who read it, and how")
    parser.add_argument("--seed", type=int, default=0, help="of the sheet")
    parser.add_argument("--json", type=Path, help="[default: benchmarks/results/audit_NAME.json]")
    options = parser.parse_args()
    key = read_key(options.key)
    answers = read_answers(options.answers, key)
    found = score_audit(key, answers)
    head = f"audit.{options.name}"
    result = {
        "figures": {
            f"{head}.real_rate": found.real.value,
            f"{head}.real_rate_low": found.real.low,
            f"{head}.cannot_tell": found.cannot_tell,
            f"{head}.reader_accuracy": found.reader.value,
        },
        "audited": found.model_dump(mode="json"),
        "images": [
            {**truth.model_dump(), "answer": answers.answers[number]}
            for number, truth in enumerate(key.images, start=1)
        ],
        "reader": options.reader,
        **provenance(f"python benchmarks/audit.py {options.key.name} {options.answers.name} --name {options.name}"),
        "seed": options.seed,
    }
    path = options.json or RESULTS / f"audit_{options.name}.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for name, value in result["figures"].items():
        print(f"{name:34} {value}")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
