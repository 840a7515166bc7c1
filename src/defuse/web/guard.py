"""What every request must pass before it reaches a route: Host, Origin and size; and what every answer carries."""

import logging
from collections.abc import Iterable

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOG = logging.getLogger("defuse.web")

MOST_BYTES = 64 * 1024
"""The longest body of a request."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """Refuses requests for another host, from another origin, or too long; sets the headers that browsers enforce.

    A page of another site can neither read answers (Host stops a name that was pointed here) nor send anything
    (Origin must be given, and be our own).

    Args:
        app: what is guarded.
        hosts: what the Host header may say, with port, such as ``127.0.0.1:8000``.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str]) -> None:
        self.app = app
        self.hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    own[name] = value
                own.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = self._refusal(scope, headers)
        if refusal is not None:
            code, why = refusal
            await refuse(scope, code, why)(scope, receive, answer)
        else:
            await self.app(scope, _limited(receive), answer)

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0].lower() not in self.hosts:
            return 403, "wrong Host"
        if scope["method"] not in {"GET", "HEAD"}:
            origins = headers.getlist("origin")
            if len(origins) != 1 or origins[0].lower() != f"http://{hosts[0].lower()}":
                return 403, "wrong Origin"
            if headers.get("sec-fetch-site", "same-origin") != "same-origin":
                return 403, "request from another site"
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:12]) > MOST_BYTES:
            return 413, "body too long"
        return None


def refuse(scope: Scope, code: int, why: str) -> JSONResponse:
    """Log a refused request and return the answer to it."""
    client = (scope.get("client") or ("unknown",))[0]
    _LOG.warning("refused %s %s from %s: %s", scope["method"], ascii(scope["path"])[:120], client, why)
    return JSONResponse({"detail": why}, code)


def _limited(receive: Receive) -> Receive:
    """Count what comes in, since a length may be missing or wrong."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > MOST_BYTES:
            raise HTTPException(413, "body too long")
        return message

    return counted
