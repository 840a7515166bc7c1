"""Draw the README's picture from a finished demo: python docs/picture.py defuse-demo docs/images/demo.png.

Upper row: real images that are nearest to the region of the planted bug. Lower row: the region's own samples that the
model reads wrongly.
"""

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np

from defuse.demo import demo_splits
from defuse.distill import load_regions, nearest_images
from defuse.generators import load_generator
from defuse.records import Purpose
from defuse.rundir import RunDir
from defuse.tiles import enlarge, montage

mpl.use("Agg")
from matplotlib import pyplot as plt

COLUMNS = 10


def main() -> None:
    """Draw and save."""
    folder, target = RunDir(Path(sys.argv[1]) / "run"), Path(sys.argv[2])
    regions, reference = load_regions(folder.regions), demo_splits(seed=0).reference
    names = reference.class_names
    pairs = [(names[region.label], names[region.predicted]) for region in regions.reported]
    label, answer = planted = ("50", "80")
    place = pairs.index(planted)
    region = regions.reported[place]
    near = nearest_images(regions, reference, load_generator(folder.generator), count=COLUMNS)[place]
    samples = regions.samples[region.name, Purpose.SHOW]
    wrong = samples.images[samples.predicted != region.label][:COLUMNS]
    figure, axes = plt.subplots(2, 1, figsize=(8, 2.6), layout="constrained")
    rows = ((f"nearest real images of {label}", reference.images[near.rows]),)
    for axis, (title, images) in zip(axes, (*rows, (f"found by Defuse: {label} read as {answer}", wrong)), strict=True):
        axis.imshow(montage(enlarge(np.asarray(images), 4), COLUMNS, 8))
        axis.set_title(title, loc="left", fontsize=10)
        axis.axis("off")
    figure.savefig(target, dpi=110)


if __name__ == "__main__":
    main()
