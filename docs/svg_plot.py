"""The frame of every plot in the docs."""

import io
from collections.abc import Callable

import matplotlib as mpl
from matplotlib.axes import Axes

mpl.use("Agg")
from matplotlib import pyplot as plt


def svg_plot(draw: Callable[[Axes], None]) -> str:
    """Return what ``draw`` puts on the axes, with a grid and a legend, as SVG; equal results give equal text."""
    with mpl.rc_context({"svg.hashsalt": "defuse", "svg.fonttype": "none", "font.size": 10}):
        figure, axis = plt.subplots(figsize=(6, 3.6), layout="constrained")
        draw(axis)
        axis.grid(visible=True, which="major", alpha=0.3)
        axis.legend(frameon=False)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
        plt.close(figure)
    return text.getvalue()
