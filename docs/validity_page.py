"""The page about how real reported bugs are: tables from the results of oracles, readers and people."""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from markdown_table import table

from defuse.bench.table import NONE, percent
from defuse.bench.validity import JUDGED_BY, Confirmed, Validity, purity
from defuse.records import Rate

TEXT = """# Are the reported bugs real?

A flip is no bug unless the image still clearly shows its label. Three kinds of witnesses, which no search, no judge and
no repair ever asks, look at what a run reports:

- *networks*: two residual networks, trained on reference and test images (for rendered signs, on 200,000 renders of
  their own), which must both be sure of the label;
- *neighbours*: the classes of the ten labelled images with the most similar outlines (histograms of oriented
  gradients): nothing in it is a network. It is the weaker witness, so look at it beside what it confirms of real
  held-out images;
- readers, who look at a sheet of reported and real images, shuffled, not knowing which is which.

An oracle is sure from the probability on from which 98 % of its sure answers on held-out images are right; where it
cannot tell, that counts against the bug. Looked at are the fresh samples of every reported region that were kept and
misread; what the judges refused is left out.

"""

REGIONS = (
    *("data", "preset", "regions", "confusions", "pure regions", "samples"),
    *("networks", "neighbours", "both", "of real images: networks", "neighbours"),
)

PROPOSALS_TEXT = """
## Proposal by proposal

Up to 500 failures of each, as the search kept them, before they are grouped.

"""

PROPOSALS = ("data", "preset", "proposal", "candidates", "flips", "kept", "networks", "neighbours", "both")

AUDITS_TEXT = """
## Readers

`defuse bench audit` writes the sheet. *Real photographs* is what the reader reads right of the real images on it.
*mnist-without-shapes* was read before the gate `plausible` looked at shapes: a third was unclear, strokes that networks
agree on and nobody writes. That gate was chosen with these answers in view; the other sheets were read after.
Samples of *gtsrb*, *fashion_mnist* and of the rows of 71be233 and 0d05ec3 have the fine detail of real images; those of
all other rows are as they were drawn. At 71be233 only the samples of regions had it; since then the search sees it too.
Names with a commit are of runs at that commit, by readers of their own; some are stricter than others, which shows in
what they read right of the real images.

"""

AUDITS = ("data", "reader", "reported images that show their label", "real photographs")

LOOKED_AT = """
## What looking at shapes did

Before, the gate `plausible` compared an image with its class by likelihood alone. With the same trained models a reader
found 66 of 100 reported digits clear, and finds 94 now. Of the signs that each proposal kept, the networks confirmed 90
to 93 %, and confirm 93 to 94 % now (657 failures are left of 987). Of the samples of reported regions of signs they
confirm fewer, 91 in place of 95 %: five of the 40 regions decide that, among them empty rings read as 80 and as 60.
So by default only grey images are looked at for shapes now.

What a person would throw out, looking at contact sheets of what is found in fine detail: of 25 regions of signs r013
(an end of no passing that is a grey smear), and r020 and r025 perhaps (roundabouts and wild animals, blurred: the
reader read them); of 15 of digits r009 perhaps (5s that have lost their lower hook); of the seven of garments none,
though some long white dresses of r002 might be coats.
As they were drawn before: no region of digits; of signs r017, r021, r026 and r038
(bicycles that are grey smears: the generator cannot draw them, and gates compare with its own reconstructions), r030
(a blurred 100), r027 (an end of no passing for lorries that is a dark disc), r009 and r040 (curves in the dark), r024
(wild animals, blurred); of garments r006 and r018 (sandals that are dark smears), r009 (boxes) and r015 (coats or
pullovers).

What was tried on signs, to no avail: asking more of the judges (0.95 in place of 0.8 halves the failures; of the
samples of regions 92.0 % are confirmed then, in place of 91.2 %); a generator that is shown rare classes as often as
others (its bicycles are smears too, and its bound is worse by 94 nats); refusing classes by how well reconstructions
keep answers, detail or outlines, or by whether another class explains their photographs as well: none sets bicycles
apart. Nor do these tell single images that a reader reads from those that it cannot: how much fine detail the middle
holds, against photographs of the class (area under the curve 0.4 to 0.6); how well it matches the nearest of them
(0.37 to 0.5: smears match better, since they follow one photographed sign down to the light on its edge); two judges
that trained on half of the photographed signs each and must agree (0.57: at 0.8 they let pass 46 % of what can be read
and 50 % of the rest); nor what judges still make of the image when it is noisy, blurred, faded, or partly hidden (0.3
to 0.7 on signs, and on digits not the same ones). What does is how often the search has met a confusion: that is why
the rarest are not reported.

Fine detail was what helped: bicycles and blurred 100s are read rightly once they have it, and are not reported. Readers
read 76 to 87 % of reported signs before, 95 % when the samples of regions had it, and 98.5 % since the search sees it.
The networks confirm 92 % of those, 95.6 % but for r013 and for a "keep left" that is read as a roundabout (r012): of
its samples they confirm 81 of 178, the neighbours 176, and the reader read every one. So it is with garments, where
they confirm 78 % of the samples: not straight trousers (100 of 176), which they too would take for dresses, nor cloth
bags with handles (52 of 130), for coats, of which the neighbours confirm every one, and the reader read all of them
right. An oracle of networks may have the bug that it is to confirm.

That regions grow into a bug costs no clarity: of 11 regions of signs, ten images each from before and from after,
shuffled and read blind, 90 and 87 of 110 were read as their label. What is unclear was so before.

## People

`benchmarks/human.py` asks the gates about 500 digits that five test generators made and two people judged: of those
that they keep {precision} are valid, and they keep {recall} of the valid ones. Noise and patches laid over real digits,
as two of the five makers do, they refuse outright, valid or not.
"""

READERS = (
    *("data", "regions", "confusions", "show their label to the reader"),
    *("real test images that the reader reads right", "samples that networks confirm"),
)

DETAIL_TEXT = """
## Are they bugs on real images, or of smooth ones?

A decoder draws smoothly, and a classifier may misread the smoothness. Of rendered signs there are as many as one likes:
the demo's classifier reads dark 50s as 80s, and next to nothing else wrongly. `benchmarks/detail.py` searches it twice,
in images as they are drawn and in images with the fine detail of real ones (`identify.detail`), renders 4,000 signs of
each region's class over the whole range of every factor, and asks how many of the 50 nearest to the region the
classifier misreads. Where it is none, the images lie beside what can be rendered: a person may still read them, and the
classifier not, but no render shows it.

"""

DETAIL = ("seed", "samples", "region", "label", "read as", "samples misread", "nearest renders misread")

CROSSFIT_TEXT = """
## Do judges favour what they were trained on?

Judges train on reference images, and candidates start from reference images. Were a judge kinder to what it was trained
on, it would accept more of the flips made from those. So judges were trained on one half of the images, and asked about
flips made from both (`benchmarks/crossfit.py`):

"""

CROSSFIT = (
    "data",
    "proposal",
    "accepted, seed trained on",
    "accepted, seed not seen",
    "real of those",
    "real of these",
)

NULL_TEXT = """
## Where there is no bug, is none reported?

Signs of which a tenth is hazed or blurred past what is drawn on it, and classifiers that were taught on five times as
many signs as Defuse may look at, so that what they get wrong is what nobody can read (`benchmarks/null.py`). Whatever
is reported there is a false alarm. {told}
"""

CHANCE_TEXT = """\
With the answers on fresh samples of {candidates} candidate regions, as they are before sharpening, drawn at random and
wrong at the rate that a region must exceed, {reporting} of {trials} repetitions report anything.
"""

NULL = ("run", "wrong on hidden signs", "on others", "flips", "kept", "candidate regions", "reported")


def validity_page(results: Path) -> str | None:
    """Return the page in Markdown; None where nothing has been measured."""
    path = results / "validity.json"
    if not path.exists():
        return None
    result = json.loads(path.read_text(encoding="utf-8"))
    runs = [Validity.model_validate(run) for run in result["runs"]]
    commits = ", ".join(sorted({run.commit for run in runs}))
    told = f"\nScored at commits {commits}; last command `{result['command']}`.\n"
    return "".join(
        [
            TEXT,
            table(REGIONS, map(_region_row, runs)),
            told,
            PROPOSALS_TEXT,
            table(PROPOSALS, [row for run in runs for row in _proposal_rows(run)]),
            _section(AUDITS_TEXT, AUDITS, map(_audit_row, _read(results, "audit_*.json"))),
            _section(DETAIL_TEXT, DETAIL, _nearby(results / "detail.json")),
            LOOKED_AT.format(**_people(results)),
            _section(CROSSFIT_TEXT, CROSSFIT, chain.from_iterable(map(_halves, _read(results, "crossfit_*.json")))),
            _null(results / "null.json"),
        ]
    )


def readers_table(results: Path) -> str:
    """Return what blind readers made of each data set's latest scored run of ``default``, in Markdown."""
    scored = json.loads((results / "validity.json").read_text(encoding="utf-8"))["runs"]
    audits = dict(_read(results, "audit_*.json"))
    runs = [Validity.model_validate(run) for run in scored if run["preset"] == "default" and run["data"] in audits]
    return table(READERS, [_reader_row(run, audits[run.data]["audited"]) for run in runs])


def _reader_row(run: Validity, audited: Mapping[str, Any]) -> list[str]:
    confirmed = str(run.pooled.rate("networks"))
    shares = (_share(audited[key]) for key in ("real", "reader"))
    return [run.data, str(len(run.regions)), str(run.confusions), *shares, confirmed]


def _read(results: Path, pattern: str) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the stored results of one kind, each with the name of its data."""
    return [
        (path.stem.split("_", 1)[1], json.loads(path.read_text(encoding="utf-8")))
        for path in sorted(results.glob(pattern))
    ]


def _section(text: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    there = list(rows)
    return f"{text}{table(heads, there)}" if there else ""


def _rates(part: Confirmed) -> list[str]:
    return [str(part.rate(name)) if part.failing else NONE for name in JUDGED_BY]


def _region_row(run: Validity) -> list[str]:
    pure = f"{100 * purity(run.regions):.0f} %" if run.regions else NONE
    limits = [percent(run.oracles[name].held_out) for name in JUDGED_BY[:2]]
    counts = [str(len(run.regions)), str(run.confusions), pure, str(run.pooled.failing)]
    return [run.data, run.preset, *counts, *_rates(run.pooled), *limits]


def _proposal_rows(run: Validity) -> list[list[str]]:
    return [
        [
            *(run.data, run.preset, part.proposal, str(part.candidates)),
            *(f"{100 * share / max(part.candidates, 1):.2f} %" for share in (part.flips, part.kept)),
            *_rates(part),
        ]
        for part in run.proposals
    ]


def _audit_row(audit: tuple[str, Mapping[str, Any]]) -> list[str]:
    name, result = audit
    shares = (result["audited"][key] for key in ("real", "reader"))
    return [name, result["reader"], *(_share(share) for share in shares)]


def _people(results: Path) -> dict[str, str]:
    """Return what the gates keep of the digits that people judged, in words."""
    figures = json.loads((results / "human.json").read_text(encoding="utf-8"))["figures"]
    return {name: f"{100 * figures[f'human.mnist.{name}']:.0f} %" for name in ("precision", "recall")}


def _nearby(path: Path) -> list[list[str]]:
    """Return what renders near to each region say, a row per region."""
    if not path.exists():
        return []
    return [
        [
            str(row["seed"]),
            "in fine detail" if row["detail"] else "as drawn",
            *(row[key] for key in ("region", "label", "predicted")),
            *(_share(row[key]) for key in ("failing", "renders")),
        ]
        for row in json.loads(path.read_text(encoding="utf-8"))["rows"]
    ]


def _halves(crossfit: tuple[str, Mapping[str, Any]]) -> list[list[str]]:
    name, result = crossfit
    rows = []
    for proposal in dict.fromkeys(row["proposal"] for row in result["rows"]):
        own, other = (row for row in result["rows"] if row["proposal"] == proposal)
        shares = [part[key] for key in ("accepted", "real_of_accepted") for part in (own, other)]
        rows.append([name, proposal, *map(_share, shares)])
    return rows


def _null(path: Path) -> str:
    if not path.exists():
        return ""
    result = json.loads(path.read_text(encoding="utf-8"))
    cells, drawn = result["cells"], result["drawn"]
    alarms = sum(bool(cell["regions"]) for cell in cells)
    told = f"Of {len(cells)} such runs {alarms} report a region."
    rows = [
        [
            str(cell["seed"]),
            *(_share(cell[key]) for key in ("wrong_hidden", "wrong_plain")),
            *(str(cell[key]) for key in ("flips", "kept", "fitted")),
            ", ".join(cell["regions"]) or "none",
        ]
        for cell in cells
    ]
    by_chance = (
        CHANCE_TEXT.format(
            candidates=drawn["candidates"],
            reporting=drawn["reporting"]["successes"],
            trials=drawn["reporting"]["trials"],
        )
        if drawn
        else ""
    )
    return f"{NULL_TEXT.format(told=told)}{by_chance}\n{table(NULL, rows)}"


def _share(share: Mapping[str, Any]) -> str:
    return str(Rate(share["successes"], share["trials"]))
