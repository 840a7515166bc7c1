"""Web: the page on which people label regions or look at a finished run; all of it is served from here."""

from defuse.web.app import create_app
from defuse.web.desk import Desk
from defuse.web.gallery import Gallery
from defuse.web.serve import is_local, open_gallery, opened, serve

__all__ = ["Desk", "Gallery", "create_app", "is_local", "open_gallery", "opened", "serve"]
