"""The routes of pages, of the files that they load, and of images by id."""

from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Query, Request
from starlette.responses import HTMLResponse, Response

from defuse.web.doors import Admitted, InHouse, admitted
from defuse.web.pages import ASSETS

FOREVER = "private, max-age=31536000, immutable"
"""An image's id comes from its pixels, so that it never changes."""

router = APIRouter(
    default_response_class=HTMLResponse,
    responses={
        401: {"description": "no session"},
        403: {"description": "wrong Host"},
        404: {"description": "no such thing"},
    },
)
viewer = APIRouter(default_response_class=HTMLResponse, responses=router.responses)
"""What only a read-only desk shows."""


@router.get("/")
async def start(request: Request, house: InHouse, token: Annotated[str, Query(max_length=100)] = "") -> HTMLResponse:
    """Let a browser in with the link's token; then the page itself."""
    if token:
        cookie = house.access.admit(token)
        if cookie is None:
            raise HTTPException(401, "wrong token; open the link that `defuse label serve` printed")
        response = HTMLResponse(house.pages.welcome())
        response.set_cookie(house.access.cookie, cookie, httponly=True, samesite="strict", path="/")
        return response
    session = await admitted(request, house)
    if house.desk.read_only:
        return HTMLResponse(house.pages.overview())
    return HTMLResponse(house.pages.label(session) if session.name else house.pages.name(session))


@router.get("/agreement")
async def agreement(house: InHouse, session: Admitted) -> HTMLResponse:
    """Show how far people agree, and the disputed regions."""
    known = session.name or house.desk.read_only
    return HTMLResponse(house.pages.agreement(session) if known else house.pages.name(session))


@router.get("/images/{key}", response_class=Response, responses={200: {"content": {"image/png": {}}}})
async def image(key: Annotated[str, Path(pattern="^[0-9a-f]{32}$")], house: InHouse, _: Admitted) -> Response:
    """Return one image as PNG."""
    picture = house.desk.gallery.picture(key)
    if picture is None:
        raise HTTPException(404, "no such image")
    return Response(picture, media_type="image/png", headers={"Cache-Control": FOREVER})


@router.get("/assets/{name}", response_class=Response)
async def asset(name: Annotated[str, Path(pattern=r"^[a-z]{1,20}\.(css|js|svg)$")]) -> Response:
    """Return a style sheet, a script or the icon."""
    if name not in ASSETS:
        raise HTTPException(404, "no such file")
    text, kind = ASSETS[name]
    return Response(text, media_type=kind, headers={"Cache-Control": "no-cache"})


@viewer.get("/regions/{name}")
async def region(
    name: Annotated[str, Path(pattern="^[A-Za-z0-9_-]{1,40}$")], house: InHouse, _: Admitted
) -> HTMLResponse:
    """Show one region of a finished run."""
    if name not in house.desk.gallery.exhibits:
        raise HTTPException(404, "no such region in this run")
    return HTMLResponse(house.pages.region(name))
