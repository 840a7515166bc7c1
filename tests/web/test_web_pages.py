"""What the pages hold: nothing from outside, no inline script, colours that can be read."""

import re
from html.parser import HTMLParser

import pytest
from web_makers import open_house

from defuse.web.guard import HEADERS
from defuse.web.pages import ASSETS

CSS, SCRIPTS = ASSETS["page.css"][0], {name: text for name, (text, _) in ASSETS.items() if name.endswith(".js")}


class Elements(HTMLParser):
    """All elements of a page with their attributes, and the text of scripts and styles."""

    def __init__(self, page):
        super().__init__()
        self.all, self.inline = [], ""
        self._within = None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.all.append((tag, dict(attrs)))
        self._within = tag

    def handle_endtag(self, tag):  # noqa: ARG002 -- as HTMLParser calls it
        self._within = None

    def handle_data(self, data):
        if self._within in {"script", "style"}:
            self.inline += data


@pytest.fixture
def pages(house, tmp_path):
    ada, bob = house.person("ada"), house.person("bob")
    found = {"name": house.person().browser.get("/").text, "label": ada.browser.get("/").text}
    ada.say("r001", label=3)
    bob.say("r001", "no clear class")
    ada.say("r002", label=3)
    found["agreement"] = ada.browser.get("/agreement").text
    house.desk.close()
    with open_house(tmp_path, read_only=True) as viewer:
        guest = viewer.person()
        found["overview"] = guest.browser.get("/").text
        found["region"] = guest.browser.get("/regions/r001").text
        found["read-only agreement"] = guest.browser.get("/agreement").text
    found["message"] = house.person().browser.get("/nowhere", headers={"Accept": "text/html"}).text
    return found


def test_nothing_comes_from_outside(pages):
    for name, page in pages.items():
        for tag, attributes in Elements(page).all:
            for key in ("src", "href", "action", "content", "srcset", "data"):
                address = attributes.get(key) or ""
                assert "//" not in address, (name, tag, address)
    for name, (text, _) in ASSETS.items():
        outside = re.findall(r"""["'(]\s*(?:https?:)?//[^\s"')]+""", text)
        assert [each for each in outside if "www.w3.org/2000/svg" not in each] == [], name


def test_no_script_or_style_is_inline(pages):
    for name, page in pages.items():
        elements = Elements(page)
        assert elements.inline.strip() == "", name
        for tag, attributes in elements.all:
            assert "style" not in attributes, (name, tag)
            assert not [key for key in attributes if key.startswith("on")], (name, tag)


def test_every_field_has_a_label_and_every_picture_a_text(pages):
    for name, page in pages.items():
        elements = Elements(page).all
        labelled = {attributes.get("for") for tag, attributes in elements if tag == "label"}
        ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
        assert len(ids) == len(set(ids)), name
        for tag, attributes in elements:
            if tag in {"input", "select"}:
                assert attributes["id"] in labelled, (name, attributes)
            if tag == "img":
                assert "alt" in attributes, name
            for key in ("aria-labelledby", "aria-describedby", "aria-controls"):
                assert set((attributes.get(key) or "").split()) <= set(ids), (name, attributes)
        assert sum(tag == "h1" for tag, _ in elements) >= 1, name
        assert ("html", {"lang": "en"}) in elements


def test_scripts_build_no_html_from_text():
    for name, text in SCRIPTS.items():
        for risky in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("):
            assert risky not in text, name


def test_every_answer_carries_the_headers(house):
    ada = house.person("ada")
    for path in ("/", "/api/next", "/assets/page.css", "/nowhere", "/images/" + ada.next()["tiles"][0]):
        headers = ada.browser.get(path).headers
        assert {name: headers.get(name) for name in HEADERS} == HEADERS
        assert "no-store" in headers["cache-control"] or path.startswith(("/assets", "/images"))
    policy = HEADERS["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy


def channel(value):
    return value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4


def luminance(colour):
    red, green, blue = (channel(int(colour[place : place + 2], 16) / 255) for place in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def palettes():
    light, dark = (dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block)) for block in CSS.split("@media", 2)[:2])
    return {"light": light, "dark": light | dark}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_meets_wcag_aa(scheme):
    colours = palettes()[scheme]
    text = [
        ("ink", "paper"), ("ink", "card"), ("muted", "paper"), ("muted", "card"), ("good", "paper"), ("good", "card"),
        ("bad", "paper"), ("bad", "card"), ("on-good", "good"), ("chip-ink", "chip"), ("ink", "trouble"),
    ]  # fmt: skip
    for one, other in text:
        assert contrast(colours[one], colours[other]) >= 4.5, (one, other)
    for one, other in [("edge", "card"), ("edge", "paper"), ("good", "line"), ("bad", "line")]:
        assert contrast(colours[one], colours[other]) >= 3, (one, other)


def test_contrast_is_measured_as_wcag_defines_it():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
