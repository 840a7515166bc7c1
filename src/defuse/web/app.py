"""The application: pages, their JSON, images by id."""

import logging
from collections.abc import Iterable

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, Response

from defuse.errors import VerdictError
from defuse.web import labelling, viewing
from defuse.web.access import Access
from defuse.web.desk import Desk
from defuse.web.doors import House
from defuse.web.guard import Guard, refuse
from defuse.web.pages import Pages

_LOG = logging.getLogger("defuse.web")


def create_app(desk: Desk, access: Access, hosts: Iterable[str]) -> FastAPI:
    """Return the application that serves a desk.

    Args:
        desk: what is labelled or, when it is read-only, looked at.
        access: the start-up token and the sessions.
        hosts: what the Host header may say, with port.
    """
    app = FastAPI(title="Defuse labelling", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.house = House(desk, access, Pages(desk))
    app.include_router(viewing.router)
    app.include_router(viewing.viewer if desk.read_only else labelling.router)
    app.add_exception_handler(HTTPException, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(VerdictError, _unstored)
    app.add_middleware(Guard, hosts=hosts)
    return app


async def _known(request: Request, error: Exception) -> Response:
    """Answer a refusal in one line: a page to people, JSON to the page."""
    code, detail = (error.status_code, error.detail) if isinstance(error, HTTPException) else (500, "")
    refusal = refuse(request.scope, code, str(detail))
    if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
        house: House = request.app.state.house
        return HTMLResponse(house.pages.message(str(detail)), code)
    refusal.headers.update(getattr(error, "headers", None) or {})
    return refusal


async def _invalid(request: Request, error: Exception) -> Response:
    """Answer input of the wrong shape without repeating it."""
    first = error.errors()[0] if isinstance(error, RequestValidationError) else {"loc": (), "msg": ""}
    where = ".".join(str(part) for part in first["loc"] if part != "body")
    return refuse(request.scope, 422, f"{ascii(where)[1:-1][:80]}: {first['msg'][:200]}")


async def _unstored(_: Request, error: Exception) -> Response:
    _LOG.error("not stored: %s", error)
    return JSONResponse({"detail": "not stored; see the server's log"}, 503)
