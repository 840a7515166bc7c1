"""Serving a run's folder: open it, say where, answer until stopped."""

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import uvicorn

from defuse.distill import load_regions
from defuse.errors import RunError
from defuse.inputs import read_splits
from defuse.label import StopRule
from defuse.rundir import RunDir, read_json
from defuse.web.access import Access
from defuse.web.app import create_app
from defuse.web.desk import Desk
from defuse.web.gallery import Gallery
from defuse.workspace import data_fingerprint, stored_config

_LOG = logging.getLogger("defuse.web")


def open_gallery(folder: RunDir) -> Gallery:
    """Read a run's regions and the real images to compare them with.

    Raises:
        RunError: there is no run, it has no regions yet, or its data are others now.
        DataError: its data cannot be read.
    """
    config = stored_config(folder)
    if not folder.regions_done.exists():
        raise RunError(f"{folder.root}: no regions yet; make them with `defuse distill --out {folder.root}`")
    regions = load_regions(folder.regions)
    splits = read_splits(config)
    if data_fingerprint(splits) != read_json(folder.manifest).get("data"):
        raise RunError(f"{folder.root}: the images of {config.data.source} are not those that this run has seen")
    model = config.classifier.factory or config.classifier.builtin
    return Gallery(f"{model} on {Path(config.data.source).name}", regions, splits.reference)


@contextmanager
def opened(folder: RunDir, rule: StopRule, *, read_only: bool = False) -> Iterator[Desk]:
    """Open the desk of a run's folder; unless it is read-only, the folder is held until the block ends.

    Raises:
        RunError: as ``open_gallery``, or another process works in the folder.
        VerdictError: its verdicts cannot be used.
    """
    if not folder.manifest.exists():
        stored_config(folder)  # says what is missing, before a lock is left in a folder that is no run's
    if read_only:
        yield _desk(folder, rule, read_only=True)
        return
    with folder.locked():
        desk = _desk(folder, rule, read_only=False)
        try:
            yield desk
        finally:
            desk.close()


def _desk(folder: RunDir, rule: StopRule, *, read_only: bool) -> Desk:
    majority = stored_config(folder).label.majority
    return Desk(open_gallery(folder), folder.verdicts, rule, majority=majority, read_only=read_only)


def serve(desk: Desk, *, host: str = "127.0.0.1", port: int = 0, tell: Callable[[str], None]) -> None:
    """Serve a desk until the process is interrupted.

    Args:
        desk: what to serve.
        host: the address to listen on.
        port: 0 takes a free one.
        tell: given the link to open, once the page can be reached.

    Raises:
        RunError: the address cannot be used.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.socket(family)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(128)
    except (OSError, OverflowError) as error:
        raise RunError(f"{host}:{port}: cannot be listened on ({error}); choose another --host or --port") from None
    port = listening.getsockname()[1]
    access = Access(port)
    app = create_app(desk, access, allowed_hosts(host, port))
    settings = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=5, lifespan="off"
    )
    with listening:
        tell(f"http://{_in_link(host)}:{port}/?token={access.token}")
        with suppress(KeyboardInterrupt):  # how it is meant to end
            asyncio.run(uvicorn.Server(settings).serve(sockets=[listening]))


def is_local(host: str) -> bool:
    """Return whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def allowed_hosts(host: str, port: int) -> tuple[str, ...]:
    """Return what a request's Host header may say, where this address is listened on."""
    names = {host, "localhost", "127.0.0.1"} if is_local(host) else {_reached_as(host)}
    return tuple(f"{_in_link(name)}:{port}".lower() for name in names)


def _reached_as(host: str) -> str:
    """Return the name under which others reach an address; every address of the machine means its own name."""
    return socket.gethostname() if host in {"0.0.0.0", "::"} else host  # noqa: S104 -- compared, not bound


def _in_link(host: str) -> str:
    host = _reached_as(host)
    return f"[{host}]" if ":" in host else host
