"""Numbers and findings as text."""

import math
from collections import Counter

from defuse.distill import NaturalImages
from defuse.outcomes import UNTRIED, Flips, Repair, Scores
from defuse.records import Rate
from defuse.report.context import ReportContext

_MANY = 5_000
"""From this many trials on, a second decimal of a percentage means something."""

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

GLOSSARY = (
    ("Failure rate", "Share of a region's kept samples that the model gets wrong."),
    ("Keep rate", "Share of a region's fresh samples that the judges accept as still showing its label."),
    ("Region", "A ball-like part of the generator's style space (one Gaussian) on which the model errs; one bug."),
    ("Support", "How many failures of the search the region was grown from; it may have moved away from some."),
    ("Fresh samples", "Images drawn anew from a region, that neither fitting nor selection has seen."),
    ("p and q", "p: chance of such a failure rate if the true one were at most rho; q: p corrected for all tests."),
    ("Judges", "Classifiers trained apart from the model under test, asked whether an image still shows its label."),
    ("Control", "The same repair steps on reference data alone, without one region sample."),
    ("Real images", "Those of every split whose code lies in the ellipsoid that holds 95 % of a region's Gaussian."),
    ("Lambda", "Weight of the region samples against the reference data in the repair."),
    ("Negative flips", "Test images that the given model got right and the repaired one gets wrong."),
    ("McNemar's p", "Chance of so unequal counts of newly right and wrong images if both models were equally good."),
    ("Calibration error", "Mean gap between how sure the model is and how often it is right, over 15 bins (ECE)."),
    ("Interval", "95 % Wilson interval of a rate; it stands behind each rate."),
)  # fmt: skip

LIMITS = (
    "The samples are drawn by a generative model: a bug on them hints at the same bug on real images, no more.",
    "The search sees what the generator can draw from the reference images, within its budget; other bugs may be left.",
    "Judges learn from the same reference images as the generator, so that they can share its blind spots.",
)


def percent(share: float, decimals: int = 1) -> str:
    """Return a share as a percentage; a dash for NaN."""
    return "\N{EN DASH}" if math.isnan(share) else f"{100 * share:.{decimals}f}\N{NO-BREAK SPACE}%"


def decimals_of(rate: Rate) -> int:
    """Return how many decimals of a percentage are worth showing."""
    return 2 if rate.trials >= _MANY else 1


def rate_text(rate: Rate) -> str:
    """Return a rate alone, without its interval."""
    return percent(rate.value, decimals_of(rate))


def interval_text(rate: Rate) -> str:
    """Return a rate's interval, such as ``88.1 to 94.7``."""
    if not rate.trials:
        return "nothing tried"
    low, high = rate.interval
    decimals = decimals_of(rate)
    return f"{100 * low:.{decimals}f} to {100 * high:.{decimals}f}"


def probability(value: float) -> str:
    """Return a p or q value: plain down to 0.001, then as a power of ten."""
    if value >= 0.001:  # noqa: PLR2004 - below, zeros are hard to count
        return f"{value:.3f}"
    if value <= 0:
        return "below any number"
    digit, exponent = f"{value:.0e}".split("e")
    return f"{digit} \N{MULTIPLICATION SIGN} 10{str(int(exponent)).translate(_SUPERSCRIPTS)}"


def duration(seconds: float) -> str:
    """Return seconds as people say them."""
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"  # noqa: PLR2004 - an hour


def plain(name: str) -> str:
    """Return the name of a proposal or a gate as words."""
    return name.replace("_", " ")


def count(number: int, noun: str) -> str:
    """Return ``1 bug`` or ``7 bugs``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def headline(context: ReportContext) -> str:
    """Return the verdict of the whole run in one sentence."""
    found, bugs = len(context.regions.reported), bugs_of(context)
    if not found:
        return "No bug found at this budget."
    if not context.labels or all(label.reason == "no votes" for label in context.labels):
        return f"{count(found, 'candidate bug')} found, not labelled yet."
    if not bugs:
        return f"No bug confirmed: {count(found, 'candidate region')} found, none was given a label."
    return f"Defuse found {count(bugs, 'bug')} in {context.title}."


def bugs_of(context: ReportContext) -> int:
    """Return how many regions were given a label."""
    return sum(label.label is not None for label in context.labels)


def natural(found: NaturalImages) -> str:
    """Return what real images say of a region, in one sentence."""
    inside, misread, mass = found.misread.trials, found.misread.successes, found.mass
    if not inside:
        said = f"None of {found.of_label:,} real images of this label lies here"
    else:
        errs = {0: "the model reads all right", inside: "the model misreads all"}.get(misread, f"{misread:,} misread")
        said = f"{inside:,} of {found.of_label:,} real images of this label lie here, {errs}"
    if not mass.successes:
        return f"{said}; fewer than 1 in {math.floor(1 / mass.interval[1]):,} images fall here and are misread."
    return f"{said}; about {mass.value * 10_000:.1f} of 10,000 images fall here and are misread."


def searched(context: ReportContext) -> str:
    """Return what was searched, in one sentence."""
    search = context.search
    proposals = " and ".join(plain(each.proposal) for each in search.counts) or "no proposal"
    images = count(len(context.splits.reference), "reference image")
    return (
        f"What was searched: {count(search.candidates, 'candidate image')} drawn from {images} by {proposals}; "
        f"{search.flips:,} changed the model's answer, {search.kept:,} of them passed every gate, "
        f"and {count(context.regions.fitted, 'candidate region')} came of these."
    )


def covered(context: ReportContext) -> str:
    """Return how much of what there is to find was found, in one sentence; empty where nothing is known of it."""
    search = context.search
    last = search.coverage[-1] if search.coverage else None
    if last is None or last.covered is None:
        return ""
    return (
        f"Of the failures that more candidates of {plain(search.counts[0].proposal)} would bring, about "
        f"{100 * last.covered:.0f} % are of the {count(last.confusions, 'confusion')} that it has found already "
        "(Good and Turing's estimate)."
    )


def pairs(context: ReportContext) -> str:
    """Return which class is read as which, most regions first; empty without a bug."""
    names = context.class_names
    labels = {label.region: label.label for label in context.labels}
    found = Counter(
        f"{names[label]} read as {names[region.predicted]}"
        for region in context.regions.reported
        if (label := labels.get(region.name)) is not None
    )
    return "; ".join(f"{pair} ({number} regions)" if number > 1 else pair for pair, number in found.most_common(6))


def flips_text(flips: Flips | None) -> str:
    """Return how many test images turned, and McNemar's exact p."""
    if flips is None:
        return "\N{EN DASH}"
    return f"{flips.fixed:,} right, {flips.broken:,} wrong; p {probability(flips.p_value)}"


def calibration(scores: Scores) -> str:
    """Return the expected calibration error; a dash for a model that diverged."""
    return percent(math.nan if scores.calibration_error is None else scores.calibration_error, 2)


def class_rows(repair: Repair, names: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return each class's test accuracy by the given, control and repaired model, the greatest change first."""
    before, after = repair.before.classes, repair.after.classes
    control = repair.control.classes or (UNTRIED,) * len(before)
    tried = [label for label, rate in enumerate(before) if rate.trials]
    tried.sort(key=lambda label: -abs(after[label].value - before[label].value))
    return [(names[k], *(rate_text(rates[k]) for rates in (before, control, after))) for k in tried]


def verified(context: ReportContext) -> str:
    """Return what the searches after the repair found, in two sentences."""
    found = context.verified
    if found is None:
        return ""
    given, repaired = (f"{100_000 * rate.value:,.0f}" for rate in (found.given, found.repaired))
    fates = Counter(each.fate for each in found.regions)
    unsure = f", {fates['not found']} found on neither model" if fates["not found"] else ""
    names = context.class_names
    new = "; ".join(f"{names[each.label]} read as {names[each.predicted]} ({each.kept} kept)" for each in found.new)
    return (
        f"With fresh seeds and equal budget, {given} of 100,000 candidates were kept as failures of the given model, "
        f"{repaired} of the repaired one. Matched by class and answer, {fates['gone']} of "
        f"{count(len(found.regions), 'repaired region')} gone{unsure}; new confusions with a region: {new or 'none'}."
    )


def repaired(context: ReportContext) -> str:
    """Return what the repair did, in one sentence; empty when nothing was to be repaired."""
    if not bugs_of(context):
        return ""
    repair = context.repair
    if repair is None or repair.chosen is None:
        return f"No repaired model: {context.outcome or 'no repair was made'}."
    before, after, control = repair.before, repair.after, repair.control
    return (
        f"The repaired model fails on {rate_text(after.failure)} of fresh region samples instead of "
        f"{rate_text(before.failure)} (the same training without region samples: {rate_text(control.failure)}); "
        f"its test accuracy is {rate_text(after.test)} instead of {rate_text(before.test)}."
    )
