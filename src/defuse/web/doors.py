"""What routes ask for before they answer: the desk, the session, whether the browser means it, who sits there."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, HTTPException, Request

from defuse.web.access import Access, Session, same
from defuse.web.desk import Desk
from defuse.web.pages import Pages


@dataclass(frozen=True)
class House:
    """What an application serves, and to whom."""

    desk: Desk
    access: Access
    pages: Pages


async def the_house(request: Request) -> House:
    """Return what the application was made with."""
    house: House = request.app.state.house
    return house


InHouse = Annotated[House, Depends(the_house)]


async def the_desk(house: InHouse) -> Desk:
    """Return the desk."""
    return house.desk


async def admitted(request: Request, house: InHouse) -> Session:
    """Return the session of a browser that was let in."""
    session = house.access.session(request.cookies.get(house.access.cookie))
    if session is None:
        raise HTTPException(401, "no access; open the link that `defuse label serve` printed")
    return session


Admitted = Annotated[Session, Depends(admitted)]


async def meant(session: Admitted, x_csrf_token: Annotated[str, Header(max_length=100)] = "") -> Session:
    """Return the session of a browser whose page sent this on purpose."""
    if not same(x_csrf_token, session.csrf):
        raise HTTPException(403, "wrong CSRF token; reload the page")
    return session


async def annotator(session: Admitted) -> str:
    """Return who labels in this browser."""
    if not session.name:
        raise HTTPException(403, "say who you are first; reload the page")
    return session.name


async def writer(session: Annotated[Session, Depends(meant)]) -> str:
    """Return who labels in this browser, whose page sent this on purpose."""
    return await annotator(session)


AtDesk = Annotated[Desk, Depends(the_desk)]
Meant = Annotated[Session, Depends(meant)]
Annotator = Annotated[str, Depends(annotator)]
Writing = Annotated[str, Depends(writer)]
