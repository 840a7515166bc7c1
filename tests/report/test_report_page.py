import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from report_makers import NAMES, make_context, make_region, make_samples

from defuse.errors import RunError
from defuse.outcomes import NewConfusion, RegionAgain, Verified
from defuse.records import NearestImages, Purpose, Rate, RegionLabel, Regions
from defuse.report import render, write_report

VOID = {"meta", "br", "img", "link", "hr", "input"}
CLOSES_ITSELF = {"path", "use", "rect"}


class Reader(HTMLParser):
    """Reads a page: checks that tags are balanced, gathers text, attributes and tables."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.text, self.ids, self.links = [], [], [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        assert len(attributes) == len(attrs), f"{tag} has an attribute twice"
        self.tags.append((tag, attributes))
        self.text.append(" ")
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.links += [attributes["href"]] if tag == "a" else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text.append(data)

    @property
    def words(self):
        return " ".join("".join(self.text).split())


@pytest.fixture(scope="module")
def context():
    return make_context()


@pytest.fixture(scope="module")
def page(context):
    return render(context)


@pytest.fixture(scope="module")
def no_bug(context):
    return replace(
        context, regions=Regions((), {}, 0, {"group of too few failures to fit": 4}), labels=(), verdicts=(),
        nearest=(), repair=None, outcome="no region was given a label",
    )  # fmt: skip


@pytest.fixture(scope="module")
def black_box(context):
    return replace(context, repair=None, outcome="the classifier gives no access to trainable weights")


def test_tags_are_balanced_ids_unique_and_links_lead_somewhere(page, no_bug, black_box):
    for text in (page, render(no_bug), render(black_box), render(replace(no_bug, search=no_bug.search))):
        read = Reader(text)
        assert read.open == []
        assert [name for name, count in Counter(read.ids).items() if count > 1] == []
        assert {link.removeprefix("#") for link in read.links} <= set(read.ids)
        assert all(link.startswith("#") for link in read.links)


def test_the_page_needs_nothing_from_outside(page):
    text = re.sub(r"data:image/(png|webp);base64,[\w+/=]*", "", page)
    assert not re.search(r"https?:|//|@import|<script|<link|<iframe|javascript:", text, flags=re.IGNORECASE)
    targets = re.findall(r"url\(([^)]{0,12})", page) + re.findall(r"""(?:src|href)=["']?([^"'>]{0,12})""", page)
    assert targets
    assert [target for target in targets if not target.startswith(("#", "data:image/"))] == []
    assert "default-src 'none'" in page


def test_figures_are_the_records(page, context):
    read, repair = Reader(page), context.repair
    words = read.words.replace("\N{NO-BREAK SPACE}", " ")
    for region in context.regions.reported:
        for rate in (region.evidence.failure, region.evidence.keep):
            low, high = rate.interval
            assert f"{100 * rate.value:.1f} % ({100 * low:.1f} to {100 * high:.1f})" in words
        assert f"Support {region.support} failures" in words
    for scores in (repair.before, repair.control, repair.after):
        low, high = scores.test.interval
        assert f"{100 * scores.test.value:.2f} % ({100 * low:.2f} to {100 * high:.2f})" in words
        assert f"{100 * scores.failure.value:.1f} %" in words
        for score in scores.regions:
            assert f"{100 * score.failure.value:.1f} % (" in words
    for each in context.search.counts:
        assert f"{each.candidates:,} {each.flips:,} {each.kept:,}" in words
    for _, tested, passed in context.search.gates:
        assert f"{tested:,} {passed:,} {100 * passed / tested:.1f} %" in words
    assert "Negative flips 0.31 % 31 test images newly wrong" in words
    assert "failure rate not proven above rho 3" in words
    assert "8 candidate regions were fitted, 3 reported" in words
    assert "93.3 nats" in words
    assert "3 \N{MULTIPLICATION SIGN} 10⁻²¹, 1 \N{MULTIPLICATION SIGN} 10⁻²⁰" in words


def test_costs_are_shown_where_they_were_given(page, context):
    costs = np.array([[0, 8, 2], [1, 0, 1], [0.5, 0, 0]])
    costly = Reader(render(replace(context, costs=costs))).words
    assert "Support Cost Repaired" in costly
    for region in context.regions.reported:
        total = sum(count * costs[region.label, answer] for answer, count in region.evidence.answers)
        assert f" {region.support} {total / region.evidence.failure.trials:.3g} " in costly
    assert "Support Repaired" in Reader(page).words
    assert "The cost is" not in page


def test_the_headline_counts_bugs_not_candidates(page):
    read = Reader(page)
    assert "Defuse found 2 bugs in shapes, cnn." in read.words
    assert "bar read as ring; ring read as cross." in read.words
    assert "The repaired model fails on 4.5\N{NO-BREAK SPACE}% of fresh region samples instead of 88.5" in "".join(
        read.text
    )


def test_machine_labels_are_marked_wherever_they_are_shown(page, context):
    chip = '<span class="chip">machine</span>'
    cards = dict(re.findall(r'<article class="card[^"]*" id="(\w+)">(.*?)</article>', page, flags=re.DOTALL))
    assert chip not in cards["r001"]
    assert cards["r002"].count(chip) == 2  # the decision, and who said what
    assert chip in cards["r003"]
    rows = re.findall(r'<tr><th scope="row"><a href="#(\w+)">.*?</tr>', page)
    assert rows == ["r001", "r002", "r003"]
    marked = [name for name in rows if chip in re.search(rf'<a href="#{name}">.*?</tr>', page).group()]
    assert marked == ["r002", "r003"]
    assert "Some labels were given by judges, not by people. People who labelled: ada." in Reader(page).words
    people = replace(context, labels=context.labels[:1], verdicts=context.verdicts[:1])
    assert chip not in render(people)


def test_tiles_say_whether_the_model_is_right(page, context):
    card = re.search(r'id="r001">(.*?)</article>', page, flags=re.DOTALL).group(1)
    predicted = context.regions.samples["r001", Purpose.SHOW].predicted
    tiles = re.findall(r'<span class="tile (right|wrong)( unkept)?"><b class="i0 p(\d+)">', card)
    assert [int(place) for *_, place in tiles] == list(range(100))
    assert [mark == "right" for mark, *_ in tiles] == (predicted == 0).tolist()
    assert [bool(unkept) for _, unkept, _ in tiles] == (np.arange(100) % 10 == 7).tolist()
    assert "Of 100 samples the model gets 88 wrong." in card
    assert card.index("76 more samples") > card.index("p23")


def test_a_label_that_differs_from_the_proposed_one_retitles_the_card(context):
    labels = (RegionLabel("r001", 2, "majority", (("cross", 1),), machine=False),)
    words = Reader(render(replace(context, labels=labels))).words
    assert "r001 cross read as ring" in words
    assert "the search had proposed bar" in words


def test_no_bug_is_said_plainly_with_what_was_searched(no_bug):
    words = Reader(render(no_bug)).words
    assert "No bug found at this budget." in words
    assert (
        "What was searched: 100,000 candidate images drawn from 60 reference images by posterior noise and beta noise; "
        "4,612 changed the model's answer, 668 of them passed every gate, and 0 candidate regions came of these."
    ) in words
    assert (
        "Of the failures that more candidates of posterior noise would bring, about 98 % are of the 11 confusions that "
        "it has found already (Good and Turing's estimate)."
    ) in words
    assert "98.84" in words
    assert "Repair" not in re.sub(r"repair", "", words)
    assert "group of too few failures to fit 4" in words


def test_unlabelled_and_rejected_candidates_are_no_bugs(context):
    unlabelled = Reader(render(replace(context, labels=(), verdicts=(), repair=None))).words
    assert "3 candidate bugs found, not labelled yet." in unlabelled
    assert "Not labelled yet; proposed: bar." in unlabelled
    rejected = replace(context, labels=context.labels[2:], repair=None)
    assert "No bug confirmed: 3 candidate regions found, none was given a label." in Reader(render(rejected)).words


def test_a_black_box_is_diagnosed_without_repair(black_box):
    words = Reader(render(black_box)).words
    assert "Defuse found 2 bugs" in words
    assert "No repaired model: the classifier gives no access to trainable weights." in words
    assert "Before and after" not in words


def test_a_repair_that_met_no_cap_is_no_repair(context):
    repair = replace(context.repair, chosen=None, after=context.repair.before)
    words = Reader(render(replace(context, repair=repair, outcome="no lambda held the cap"))).words
    assert "No repaired model: no lambda held the cap." in words
    assert "the given weights were kept" in words


def test_everything_named_by_the_user_is_escaped():
    evil = "<script>alert('x')</script>"
    context = make_context(
        names=(evil, '"><img src=x onerror=1>', "{{ 7 * 7 }}"), title=evil, command=f"run '{evil}'", limits=(evil,),
        outcome=evil, settings={evil: evil}, versions={evil: evil},
    )  # fmt: skip
    verdicts = tuple(replace(verdict, annotator=evil) for verdict in context.verdicts)
    page = render(replace(context, verdicts=verdicts))
    read = Reader(page)
    assert read.open == []
    assert {tag for tag, _ in read.tags} & {"script", "img"} == set()
    assert not any(name.startswith("on") for _, attributes in read.tags for name in attributes)
    assert "{{ 7 * 7 }}" in page
    assert page.count("&lt;script&gt;") > 10


def test_pictures_and_tables_have_names(page):
    read = Reader(page)
    images = [attributes for _, attributes in read.tags if attributes.get("role") == "img"]
    assert len(images) == 3 * 2 + 3 * 2 + 3  # tiles in two parts and two strips per card, three plots
    assert all(attributes["aria-label"].strip() for attributes in images)
    tables = [tag for tag, _ in read.tags if tag in ("table", "caption")]
    assert tables == ["table", "caption"] * (len(tables) // 2)
    assert all(attributes.get("scope") in ("col", "row") for tag, attributes in read.tags if tag == "th")
    levels = [int(tag[1]) for tag, _ in read.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert max(np.diff(levels)) == 1


def test_the_search_after_the_repair_is_told(context):
    regions = (
        RegionAgain("r001", 12, 0, found_again=True, left=False),
        RegionAgain("r002", 7, 3, found_again=True, left=True),
        RegionAgain("r003", 1, 0, found_again=False, left=False),
    )
    verified = Verified(Rate(668, 100_000), Rate(31, 50_000), regions, (NewConfusion(0, 2, 5),))
    words = Reader(render(replace(context, verified=verified))).words
    assert "668 of 100,000 candidates were kept as failures of the given model, 62 of the repaired one" in words
    assert "1 of 3 repaired regions gone, 1 found on neither model; new confusions" in words
    assert "new confusions with a region: bar read as cross (5 kept)" in words
    assert "r001 12 0 yes gone r002 7 3 yes left r003 1 0 no not found" in words
    assert "With fresh seeds" not in Reader(render(context)).words


def test_nearest_images_of_the_reference_are_shown(context):
    rows = np.flatnonzero(context.splits.reference.labels == 1)[:3]
    words = Reader(render(replace(context, nearest=(NearestImages("r002", rows),)))).words
    assert words.count("Nearest real images, labelled ring") == 1
    assert words.count("Nearest real images") == 1


def test_missing_samples_leave_the_card_standing(context):
    bare = replace(context.regions, samples={})
    words = Reader(render(replace(context, regions=bare, nearest=()))).words
    assert words.count("No samples to show.") == 3


def test_the_same_run_gives_the_same_page(page, context):
    assert render(context) == page


def test_sixty_regions_of_a_hundred_noisy_colour_tiles_stay_below_5_mb(tmp_path):
    pairs = [(0, 1), (1, 2), (2, 0)] * 21
    context = make_context(pairs=pairs, look={"size": 32, "channels": 3})
    noise = np.random.default_rng(0).integers(0, 256, (100, 32, 32, 3), dtype=np.uint8)
    samples = {key: replace(value, images=noise) for key, value in context.regions.samples.items()}
    write_report(tmp_path / "r.html", replace(context, regions=replace(context.regions, samples=samples)))
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert (tmp_path / "r.html").stat().st_size < 5_000_000
    words = Reader(page).words
    assert re.search(r"at most \d+ samples of a region are shown, with lossy compression", words)
    assert "Pictures follow for the first 60 regions" in words
    assert page.count("<article") == 60
    assert 'href="#r060"' in page
    assert 'href="#r061"' not in page
    assert '<th scope="row">r063</th>' in page


def test_many_classes_and_long_names(context):
    names = (*NAMES, "a very long name of a class that goes on " * 3)
    assert Reader(render(make_context(names=names))).open == []
    region = make_region(1, (0, 1))
    nothing_kept = replace(region.evidence, keep=Rate(0, 200), failure=Rate(0, 0), answers=())
    region = replace(region, evidence=nothing_kept)
    regions = Regions((region,), {("r001", Purpose.SHOW): make_samples(region)}, 1)
    words = Reader(render(replace(context, regions=regions))).words
    assert "No sample was kept." in words
    assert "nan" not in words.casefold().replace("unan", "")


def test_bad_input_report_that_cannot_be_written(tmp_path, context):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        write_report(tmp_path / "file" / "report.html", context)
