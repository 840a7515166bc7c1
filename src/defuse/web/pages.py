"""The pages as HTML, and the files that they load."""

import hashlib
import math
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined

from defuse.label import name_of
from defuse.records import Answer, Verdict
from defuse.report import words
from defuse.web.access import Session
from defuse.web.desk import Desk

_KINDS = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}

ASSETS: dict[str, tuple[str, str]] = {
    file.name: (file.read_text(encoding="utf-8"), _KINDS[file.name.rpartition(".")[2]])
    for file in files("defuse.web").joinpath("static").iterdir()
}
"""File name -> text and media type of everything that the pages load."""

PAGE_VERSION = hashlib.sha256(
    "".join(
        file.read_text(encoding="utf-8")
        for folder in ("static", "templates")
        for file in sorted(files("defuse.web").joinpath(folder).iterdir(), key=lambda file: file.name)
    ).encode()
).hexdigest()[:12]
"""Changes with every page, script and style sheet, so that a verdict tells what its annotator had before them."""

SHOWN = 24
"""Tiles that are shown at first."""


class Pages:
    """Renders pages; every name that came from outside is escaped.

    Args:
        desk: what the pages show.
    """

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._templates = Environment(
            loader=PackageLoader("defuse.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals.update(
            title=desk.gallery.title,
            read_only=desk.read_only,
            class_names=desk.gallery.class_names,
            words=words,
            shown=SHOWN,
            said=self._said,
            coefficient=_coefficient,
        )

    def message(self, text: str) -> str:
        """Return a page that says one thing."""
        return self._render("message.html", text=text, refresh=False)

    def welcome(self) -> str:
        """Return the page that leads on from the link, so that the token leaves the address bar."""
        return self._render("message.html", text="Welcome.", refresh=True)

    def name(self, session: Session) -> str:
        """Return the page that asks who labels."""
        return self._render("name.html", session=session)

    def label(self, session: Session) -> str:
        """Return the page on which one region after the other is labelled."""
        return self._render("label.html", session=session)

    def agreement(self, session: Session) -> str:
        """Return how far people agree, and the disputes that this person may see."""
        desk, gallery = self.desk, self.desk.gallery
        disputes = [exhibit for name, exhibit in gallery.exhibits.items() if desk.ledger.disputed(name)]
        visible = [exhibit for exhibit in disputes if desk.open_to(session.name, exhibit.region.name)]
        return self._render(
            "agreement.html",
            session=session,
            agreement=desk.agreement(session.name),
            settled=sum(desk.ledger.settled(name) for name in gallery.exhibits),
            regions=len(gallery.exhibits),
            disputes=visible,
            hidden=len(disputes) - len(visible),
            verdicts={exhibit.region.name: desk.verdicts_on(exhibit.region.name) for exhibit in visible},
            run=gallery.fingerprint,
            page=PAGE_VERSION,
            rule=desk.ledger.rule,
        )

    def overview(self) -> str:
        """Return all regions of a finished run."""
        decided = {label.region: label for label in self.desk.decisions()}
        return self._render("overview.html", exhibits=self.desk.gallery.exhibits.values(), decided=decided)

    def region(self, name: str) -> str:
        """Return one region of a finished run."""
        gallery = self.desk.gallery
        names = list(gallery.exhibits)
        place = names.index(name)
        exhibit = gallery.exhibits[name]
        return self._render(
            "region.html",
            exhibit=exhibit,
            label=self.desk.decisions()[place],
            verdicts=self.desk.verdicts_on(name),
            before=names[place - 1] if place else None,
            after=names[place + 1] if place + 1 < len(names) else None,
            real={label: gallery.real[label] for label in (exhibit.region.label, exhibit.region.predicted)},
        )

    def _said(self, verdict: Verdict) -> str:
        if verdict.answer is Answer.CLASS and verdict.label is not None:
            return name_of(verdict.label, self.desk.gallery.class_names)
        return verdict.answer.value

    def _render(self, template: str, **values: object) -> str:
        return self._templates.get_template(template).render(**values)


def _coefficient(value: float) -> str:
    """Return a coefficient of agreement with two decimals, a dash where it is not defined."""
    return "\N{EN DASH}" if math.isnan(value) else f"{value:.2f}".replace("-", "\N{MINUS SIGN}")
