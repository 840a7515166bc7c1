"""The page that compares generators of colour images, made from benchmarks/results/colour_generator.json."""

import json
from pathlib import Path

TEXT = """# Which generator of colour images finds most

Every row was trained alike on every third frame of the GTSRB reference tracks, and searched with the same classifier,
judges, gates and seed: {budget:,} candidates each. An oracle that saw the test images too, and that no row sees, says
which of the kept failures are real; of those, failures of one confusion whose 8 x 8 thumbnails differ by less than 0.06
(root mean square, of 1) count once.

- **distinct real**, per CPU minute of search, is what the choice rests on. "At equal purity": only the best-scored
  failures of which 95 % are real.
- **reconstructions keep**: the classifier's accuracy on reconstructions of held-out tracks, as a share of its accuracy
  on these images themselves.
- **nats**: the bound on held-out images. Likelihoods differ in what they measure, so it compares only rows that share
  one; the feature loss and the adversarial term are left out of it.
- CPU times were taken with two rows at once on two cores: compare them with one another only.

{table}
`wavelet bands` is what Defuse ships: a Gaussian whose learned variance differs by wavelet band and by light and colour.
With one variance for all pixels it costs nothing to blur: broad light varies much, fine detail little, and both are
measured with one yardstick. It finds the most, in the most confusions, and draws the sharpest signs to our eyes; cut
back to equal purity it is level with the plain Gaussian, and its reconstructions keep fewer answers. The row with the
ex-post density is the same generator searched another way: codes from a Gaussian mixture fitted to all codes, in place
of noise and style transfer.

    {command}
"""

COLUMNS = {
    "distinct_real_per_cpu_minute": ("distinct real / CPU min", "{:.0f}"),
    "at_equal_purity_per_cpu_minute": ("at equal purity", "{:.0f}"),
    "distinct_real": ("distinct real", "{:.0f}"),
    "kept": ("kept", "{:.0f}"),
    "real": ("real", "{:.0%}"),
    "confusions": ("confusions", "{:.0f}"),
    "reconstruction_kept": ("reconstructions keep", "{:.1%}"),
    "held_out_nats": ("nats", "{:.0f}"),
    "train_cpu_ms_per_image": ("training, CPU ms / image", "{:.2f}"),
}


def generators_page(path: Path) -> str:
    """Return the page, its rows in the order of the benchmark."""
    result = json.loads(path.read_text(encoding="utf-8"))
    figures = result["figures"]
    names = dict.fromkeys(key.rsplit(".", 1)[0] for key in figures)
    head = " | ".join(title for title, _ in COLUMNS.values())
    rows = [
        f"| {name} | " + " | ".join(form.format(figures[f"{name}.{key}"]) for key, (_, form) in COLUMNS.items()) + " |"
        for name in names
    ]
    table = "\n".join([f"| | {head} |", "|" + " --- |" * (len(COLUMNS) + 1), *rows]) + "\n"
    return TEXT.format(budget=result["budget"], table=table, command=result["command"])
