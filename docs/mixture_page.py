"""The page about the mixture: its figures and its plot, made from benchmarks/results/mixture*.json."""

from typing import Any

from markdown_table import table
from matplotlib.axes import Axes
from svg_plot import svg_plot

from defuse.bench.table import NONE

STYLES = {"defuse": ("#0072B2", "o", "-"), "scikit-learn": ("#D55E00", "s", "--")}
"""Colour, marker and line of each engine; the colours are Okabe and Ito's, the rest tells them apart in grey."""

CASES = {
    "full16": "50,000 codes of 16 dimensions, 100 components, full covariance",
    "full64": "50,000 codes of 64 dimensions, 100 components, full covariance",
    "diag16": "50,000 codes of 16 dimensions, 100 components, diagonal covariance",
    "groups": "200 groups of 50 to 2,000 codes of 16 dimensions, 20 components",
    "groups4": "the same groups, 4 components",
}

TEXT = """# The mixture

Distill groups failures with a Dirichlet-process mixture of Gaussians. `DirichletMixture` fits it with torch: the
model, the priors and the bound of scikit-learn's `BayesianGaussianMixture`, and from the same start the same numbers
after each iteration, but as two matrix products per chunk of codes, and for many groups of codes at once. The updates
and their sources are in the docstring of `defuse.distill.variational`.

```python
import numpy as np

from defuse.distill import MixtureEstimator

codes = np.random.default_rng(0).normal(size=(500, 8))
labels = MixtureEstimator(max_components=20, random_state=0).fit_predict(codes)
```

"""

GROUPS_SAY = """\
Many small groups gain least. Their two products in float64 alone would take two cores a seventeenth of scikit-learn's
time. Products in float32 are faster and not exact; no component dies early enough to be skipped; a thread of its own
for each batch, with one thread each, took 3.1 to 3.5 s where two threads for one batch took 3.2 to 5.0.
"""

GROUPING_TEXT = """
## Is there a better way to group failures?

The failures of one search of a planted bug, grouped by confusion in four ways, then sharpened, tested and ranked alike
(`benchmarks/grouping.py`): the latent codes, in up to four Gaussians; codes beside the classifier's logits
(error-aware, as Domino does); density (HDBSCAN, a Gaussian for each cluster); one Gaussian for each confusion, as
Defuse ships it. *Inside*: of the failing samples of the first region that matches, how many lie in the planted slice.
*Precision*: of the first ten regions. Computed before regions were grown into the bug.

"""

GROUPING_SAYS = """
Every way finds both bugs first. The mixture of codes splits them into more regions than the others do, which are no
purer, and one Gaussian for each confusion makes the fewest. It costs the repair nothing: with another seed real thin 6s
were repaired to 80 % in place of 63 % (10 regions in place of 16), real thick 3s to 88 in place of 89 % (11 in place of
18; regions grown). In the regions that match, of [ten of twelve planted bugs](planted.md), 95 % of the samples lie in
the planted slice (median; at least 82 %). So Defuse ships one. Two bugs of one confusion it cannot tell apart at once:
raise `distill.mixture.max_components` for that, or search again after the repair (`--rounds`).
"""

GROUPING = ("task", "grouping", "candidates", "regions", "confusions", "found as no.", "matches", "inside", "precision")


def grouping_section(result: dict[str, Any]) -> str:
    """Return the comparison of ways to group failures, in Markdown."""
    return GROUPING_TEXT + table(GROUPING, [_way(row) for row in result["rows"]]) + GROUPING_SAYS


def _way(row: dict[str, Any]) -> list[str]:
    counts = [str(row[name]) for name in ("candidates", "regions", "confusions")]
    shares = [NONE if row[name] is None else f"{100 * row[name]:.0f} %" for name in ("inside", "precision")]
    return [row["task"], row["way"], *counts, str(row["rank"] or NONE), str(row["matches"]), *shares]


def mixture_page(result: dict[str, Any], on_gpu: dict[str, Any]) -> str:
    """Return the page in Markdown: the comparison on a processor, then that of a GPU with a processor."""
    return (
        TEXT
        + _compared(result)
        + f"\nA fit of the first case adds {result['figures']['mixture.memory_ratio']:.2f} times as much memory as "
        + f"scikit-learn's.\n\n{GROUPS_SAY}\n"
        + "![Seconds per iteration against the number of codes, 16 dimensions, full covariance](images/mixture.svg)\n\n"
        + f"Ours on one {on_gpu['device']}, scikit-learn on the processor beside it. "
        + _compared(on_gpu)
    )


def _compared(result: dict[str, Any]) -> str:
    figures = result["figures"]
    rows = [_row(title, f"mixture.{case}", figures) for case, title in CASES.items()]
    machine = result["machine"]
    return (
        f"Same start, {result['iterations']} iterations (groups: twice as many), {machine['threads']} threads; load "
        f"average at the end {machine['load']}:\n\n"
        "| case | Defuse | scikit-learn | times faster | by processor time |\n| --- | --- | --- | --- | --- |\n"
        + "".join(rows)
        + f"\nLargest relative difference between the bounds: {figures['mixture.bound_gap']:.0e}.\n"
    )


def _row(title: str, case: str, figures: dict[str, float]) -> str:
    seconds = f"{figures[f'{case}.seconds']:.2f} s | {figures[f'{case}.reference_seconds']:.2f} s"
    return f"| {title} | {seconds} | {figures[f'{case}.speedup']:.1f} | {figures[f'{case}.cpu_speedup']:.1f} |\n"


def mixture_plot(result: dict[str, Any]) -> str:
    """Return the plot of time against the number of codes, as SVG."""

    def draw(axis: Axes) -> None:
        for engine, (colour, marker, line) in STYLES.items():
            rows = [row for row in result["curve"] if row["engine"] == engine]
            codes, seconds = [row["codes"] for row in rows], [row["seconds_per_iteration"] for row in rows]
            axis.loglog(codes, seconds, color=colour, marker=marker, linestyle=line, label=engine)
        axis.set_xlabel("codes")
        axis.set_ylabel("seconds per iteration")

    return svg_plot(draw)
