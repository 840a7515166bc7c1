"""A real browser: three people label by keyboard alone, take back, differ, settle it."""

import shutil

import pytest
from serve_house import SIGNS, signs
from served import served

from defuse.label import Majority, VerdictStore
from defuse.records import Answer

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
REGIONS = 20
WIDTHS = {"desktop": (1440, 900), "phone": (390, 844)}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 -- only where there is a browser

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Person:
    """Somebody with a keyboard."""

    def __init__(self, browser, link, name, **look):
        self.context = browser.new_context(**look)
        self.page = self.context.new_page()
        self.page.set_default_timeout(120_000)
        self.trouble, self.asked = [], []
        self.page.on("console", lambda message: self.trouble.append(message.text))
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.origin = link.partition("/?")[0]
        self.page.goto(link)
        self.page.wait_for_selector("#who button:enabled")
        self.type(name)
        self.press("Enter")
        self.page.wait_for_selector("#desk:not([hidden]) .tile img")

    def type(self, text):
        self.page.keyboard.type(text)

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    @property
    def region(self):
        return self.page.text_content("#place").split(" ")[0]

    def answer(self, *keys, typed=None):
        """Press keys, and wait until the next region or the end is there."""
        before = self.page.text_content("#progress")
        self.page.wait_for_timeout(300)  # as long as a new region takes no answer
        self.press(*keys)
        if typed:
            self.type(typed)
            self.press("Enter")
        self.page.wait_for_function("before => document.getElementById('progress').textContent !== before", arg=before)

    @property
    def finished(self):
        return self.page.is_visible("#finished")


def test_three_people_label_by_keyboard_alone(chromium, tmp_path):
    gallery = signs(REGIONS)
    labels = {region.name: region.label for region in gallery.regions.reported}
    with served(tmp_path, REGIONS, agreeing=3) as link:
        ada = Person(chromium, link, "Ada")
        ada.answer("n")
        assert "Saved: r001 no clear class. Next: r002" in ada.page.text_content("#status")
        ada.answer("u")
        assert ada.region == "r001"
        ada.press("x", "ArrowRight", "x", "ArrowRight", "Space", "Escape")
        assert ada.page.text_content("#crossed") == "2 crossed out."
        for _ in range(REGIONS):
            ada.answer("Enter")
        assert ada.finished

        bob = Person(chromium, link, "Bob")
        while not bob.finished:
            if bob.region == "r003":
                bob.answer("e")
            elif bob.region == "r004":
                bob.answer("/", typed="uber")
            else:
                bob.answer("1")

        cy = Person(chromium, link, "Cy")
        first = cy.region
        cy.page.wait_for_timeout(300)
        cy.press("s")
        cy.page.wait_for_function("first => !document.getElementById('place').textContent.startsWith(first)", arg=first)
        while not cy.finished:
            name = SIGNS[labels[cy.region]]
            cy.answer("/", typed=name)

        cy.page.goto(f"{cy.origin}/agreement")
        assert cy.page.locator("article.card").count() == 2
        cy.page.wait_for_selector(".settle button:enabled")
        cy.page.focus("#settle-r003")
        cy.press("Tab", "Enter")
        cy.page.wait_for_function("() => document.querySelectorAll('article.card').length === 1")
        for person in (ada, bob, cy):
            assert person.trouble == []
            assert all(url.startswith(person.origin) for url in person.asked)

    with VerdictStore(tmp_path / "verdicts.sqlite", gallery.regions) as store:
        everything, current = store.all(), store.current()
    assert len(everything) == 1 + 3 * REGIONS + 1
    assert len(current) == 3 * REGIONS + 1
    first = next(verdict for verdict in current if verdict.annotator == "Ada" and verdict.region == "r001")
    assert (first.answer, first.crossed, first.shown) == (Answer.CLASS, (1, 2), tuple(range(24)))
    odd = {verdict.region: verdict for verdict in current if verdict.annotator == "Bob"}
    assert odd["r003"].answer is Answer.NOT_AN_ERROR
    assert odd["r004"].label == SIGNS.index("Übergang")
    decided = Majority().decide(gallery.regions, current, SIGNS)
    assert {label.region: label.label for label in decided} == labels
    assert decided[2].reason == "adjudicated"


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_and_can_be_used_by_hand(chromium, tmp_path, width, scheme):
    wide, high = WIDTHS[width]
    look = {"viewport": {"width": wide, "height": high}, "color_scheme": scheme}
    if width == "phone":
        look |= {"has_touch": True, "is_mobile": True}
    with served(tmp_path, 3) as link:
        person = Person(chromium, link, "Ada", **look)
        press = person.page.tap if width == "phone" else person.page.click
        assert person.page.evaluate("document.documentElement.scrollWidth") == wide
        for button in person.page.locator(".answers button, .keys button").all():
            assert button.bounding_box()["height"] >= 44
        press(".tile:nth-child(2)")
        assert person.page.get_attribute(".tile:nth-child(2)", "aria-pressed") == "true"
        press("#more")
        person.page.wait_for_selector(".tile:nth-child(30)")
        person.page.wait_for_timeout(300)
        press("#yes")
        person.page.wait_for_function("() => document.getElementById('place').textContent.startsWith('r002')")
        press("#undo")
        person.page.wait_for_function("() => document.getElementById('place').textContent.startsWith('r001')")
        person.page.goto(f"{person.origin}/agreement")
        assert person.page.evaluate("document.documentElement.scrollWidth") == wide
        assert person.trouble == []


def test_enter_before_the_script_is_there_does_nothing(chromium, tmp_path):
    held, trouble = [], []
    with served(tmp_path, 3) as link:
        page = chromium.new_context().new_page()
        page.on("console", lambda message: trouble.append(message.text))
        page.route("**/assets/name.js", lambda route: held.append(route))  # noqa: PLW0108 -- a built-in is refused
        page.goto(link, wait_until="commit")
        page.wait_for_selector("#name")
        page.focus("#name")
        page.keyboard.type("Ada")
        page.keyboard.press("Enter")
        page.wait_for_timeout(300)
        assert trouble == []
        held.pop().continue_()
        page.wait_for_selector("#who button:enabled")
        page.keyboard.press("Enter")
        page.wait_for_selector("#desk:not([hidden]) .tile img")
        assert trouble == []


def test_a_server_that_is_gone_is_no_verdict(chromium, tmp_path):
    with served(tmp_path, 3) as link:
        person = Person(chromium, link, "Ada")
        person.page.wait_for_timeout(300)
    person.press("Enter")
    person.page.wait_for_selector("#trouble:not([hidden])")
    assert "Not saved" in person.page.text_content("#trouble")
    assert person.region == "r001"
