"""Who may come in: a token in the link, exchanged for a cookie; a second token on everything that changes something."""

import hmac
import secrets
from dataclasses import dataclass

MOST_SESSIONS = 500
"""Sessions that are remembered; the oldest go first."""


@dataclass
class Session:
    """One browser.

    Attributes:
        csrf: what it must send along with every change.
        name: of the annotator; empty until given.
    """

    csrf: str
    name: str = ""


class Access:
    """The token of this start, and the sessions that were let in with it.

    Args:
        port: part of the cookie's name, since browsers do not tell ports apart.
        token: for tests; otherwise drawn.
    """

    def __init__(self, port: int, token: str | None = None) -> None:
        self.token = token or secrets.token_urlsafe(32)
        self.cookie = f"defuse-{port}"
        self._sessions: dict[str, Session] = {}

    def admit(self, token: str) -> str | None:
        """Return the cookie's value for a new session; None for a wrong token."""
        if not same(token, self.token):
            return None
        if len(self._sessions) >= MOST_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        value = secrets.token_urlsafe(32)
        self._sessions[value] = Session(csrf=secrets.token_urlsafe(32))
        return value

    def session(self, cookie: str | None) -> Session | None:
        """Return the session that a cookie stands for."""
        return self._sessions.get(cookie or "")


def same(given: str, expected: str) -> bool:
    """Compare two secrets in a time that tells nothing of them."""
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())
