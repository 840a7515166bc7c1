"""The frame of every plot in the docs."""

import io
from collections.abc import Callable

import matplotlib as mpl
from cycler import cycler
from matplotlib.axes import Axes

mpl.use("Agg")
from matplotlib import pyplot as plt

COLOURS = cycler(color=["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"])
"""Told apart by the colour-blind: Okabe and Ito, 2008."""


def svg_plot(draw: Callable[[Axes], None]) -> str:
    """Return what ``draw`` puts on the axes, with a grid and a legend, as SVG; equal results give equal text."""
    style = {"svg.hashsalt": "defuse", "svg.fonttype": "none", "font.size": 10, "axes.prop_cycle": COLOURS}
    with mpl.rc_context(style):
        figure, axis = plt.subplots(figsize=(6, 3.6), layout="constrained")
        draw(axis)
        axis.grid(visible=True, which="major", alpha=0.3)
        axis.legend(frameon=False)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
        plt.close(figure)
    return text.getvalue()
