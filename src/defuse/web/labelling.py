"""The routes that take in what people say."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, HTTPException

from defuse.records import Verdict
from defuse.web.bodies import (
    ClassView,
    EventBody,
    NameBody,
    NameView,
    ProgressView,
    RegionView,
    RunView,
    ShareView,
    SkipBody,
    StoredView,
    TaskView,
    VerdictBody,
)
from defuse.web.desk import Desk, now
from defuse.web.doors import Admitted, Annotator, AtDesk, Meant, Writing
from defuse.web.gallery import Exhibit
from defuse.web.pages import PAGE_VERSION

REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"description": "no session"},
    403: {"description": "wrong Host, Origin or CSRF token, or no name yet"},
    404: {"description": "no such region, class or tile in this run"},
    409: {"description": "stored before, another run's or version's page, nothing to take back, nothing to settle"},
    413: {"description": "too long"},
    503: {"description": "not stored"},
}

router = APIRouter(prefix="/api", responses=REFUSALS)


@router.post("/name")
async def introduce(body: NameBody, session: Meant) -> NameView:
    """Say who labels in this browser."""
    session.name = body.name
    return NameView(name=body.name)


@router.get("/run")
async def run(desk: AtDesk, _: Admitted) -> RunView:
    """Tell what stays the same for all regions."""
    gallery = desk.gallery
    return RunView(
        title=gallery.title,
        run=gallery.fingerprint,
        page=PAGE_VERSION,
        classes=tuple(
            ClassView(name=name, images=images) for name, images in zip(gallery.class_names, gallery.real, strict=True)
        ),
    )


@router.get("/next")
async def following(desk: AtDesk, name: Annotator) -> TaskView:
    """Tell which region comes next."""
    return _task(desk, name)


@router.post("/verdicts", status_code=201)
async def say(body: VerdictBody, desk: AtDesk, name: Writing) -> TaskView:
    """Store a verdict; the answer comes once it is on disk, and brings the next region."""
    if not await desk.say(_verdict(desk, body, name), f"page {body.key}"):
        raise HTTPException(409, "stored before")
    return _task(desk, name)


@router.post("/skip")
async def skip(body: SkipBody, desk: AtDesk, name: Writing) -> TaskView:
    """Put a region off until nothing else is left."""
    _check_run(desk, body.run)
    _check_region(desk, body.region)
    desk.skip(name, body.region)
    return _task(desk, name)


@router.post("/undo")
async def undo(body: EventBody, desk: AtDesk, name: Writing) -> TaskView:
    """Take back one's last verdict, and show that region again."""
    _check_run(desk, body.run)
    verdict, before = await desk.undo(name, f"page {body.key}")
    if verdict is None:
        raise HTTPException(409, "stored before" if before else "nothing to take back")
    return _task(desk, name, verdict.region)


@router.post("/adjudications", status_code=201)
async def adjudicate(body: VerdictBody, desk: AtDesk, name: Writing) -> StoredView:
    """Settle a dispute, once one's own opinion is given."""
    verdict = _verdict(desk, body, name, adjudicates=True)
    if not desk.open_to(name, body.region):
        raise HTTPException(403, "give your own opinion of this region first")
    if not desk.ledger.disputed(body.region):
        raise HTTPException(409, "nobody disputes this region")
    if not await desk.say(verdict, f"page {body.key}"):
        raise HTTPException(409, "stored before")
    return StoredView(stored=True)


def _check_run(desk: Desk, run: str) -> None:
    if run != desk.gallery.fingerprint:
        raise HTTPException(409, "this page belongs to another run; reload it")


def _check_region(desk: Desk, region: str) -> None:
    if region not in desk.gallery.exhibits:
        raise HTTPException(404, "no such region in this run")


def _verdict(desk: Desk, body: VerdictBody, name: str, *, adjudicates: bool = False) -> Verdict:
    _check_run(desk, body.run)
    _check_region(desk, body.region)
    if body.page != PAGE_VERSION:
        raise HTTPException(409, "the page has changed since; reload it")
    if body.label is not None and body.label >= len(desk.gallery.class_names):
        raise HTTPException(404, "no such class in this run")
    if max(body.shown, default=-1) >= len(desk.gallery.exhibits[body.region].tiles):
        raise HTTPException(404, "no such tile in this region")
    return Verdict(
        body.region,
        name,
        body.answer,
        body.label,
        machine=False,
        time=now(),
        shown=body.shown,
        crossed=body.crossed,
        page=body.page,
        adjudicates=adjudicates,
    )


def _task(desk: Desk, name: str, region: str | None = None) -> TaskView:
    exhibit = desk.next_for(name, region)
    return TaskView(
        region=None if exhibit is None else _view(exhibit), progress=ProgressView(**asdict(desk.progress(name)))
    )


def _view(exhibit: Exhibit) -> RegionView:
    region = exhibit.region
    return RegionView(
        region=region.name,
        rank=exhibit.rank,
        proposed=region.label,
        predicted=region.predicted,
        tiles=exhibit.tiles,
        answers=tuple(ShareView(label=answer.label, share=answer.share) for answer in exhibit.answers),
        keys=exhibit.keys,
        words=exhibit.words,
    )
