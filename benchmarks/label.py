"""The labelling page under load: how long an acknowledged verdict takes, and what is lost when the server is killed.

python benchmarks/label.py            20 annotators at once; then 10,000 verdicts and 20 kill -9 of the server
python benchmarks/label.py --quick    a short one, to see that it works

A verdict's time runs from the request to the answer that it is on disk, with the next region in it. While times are
taken each annotator pauses between verdicts (--pause seconds on average, far less than a person needs); while the
server is killed nobody pauses. Everything runs on this machine, over the loopback address.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from defuse.label import StopRule
from defuse.records import Evidence, LabelledImages, Purpose, Rate, Region, Regions, RegionSamples
from defuse.versions import provenance
from defuse.web import Desk, Gallery, serve
from defuse.web.pages import PAGE_VERSION

RESULTS = Path(__file__).parent / "results" / "label.json"
CLASSES, TILES, EDGE = 43, 24, 32
SERVING = ("fastapi", "starlette", "uvicorn", "pydantic")
CREATED, STORED_BEFORE = 201, 409


@dataclass(frozen=True)
class Size:
    """How much is measured: regions that each annotator labels while times are taken, and under kills."""

    annotators: int
    timed: int
    regions: int
    kills: int


FULL = Size(annotators=20, timed=50, regions=500, kills=20)
QUICK = Size(annotators=5, timed=5, regions=20, kills=2)


def main() -> None:
    """Measure, print, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of the regions and the pauses")
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between an annotator's verdicts, on average")
    parser.add_argument("--json", type=Path, help="file of the results [default: benchmarks/results/label.json]")
    parser.add_argument("--quick", action="store_true", help="few annotators, few verdicts, two kills")
    options = parser.parse_args()
    size, began = QUICK if options.quick else FULL, time.monotonic()
    made = provenance(" ".join(["python", "benchmarks/label.py", *sys.argv[1:]]))
    figures = {**_times(size, options.pause, options.seed), **_kills(size, options.seed)}
    result = {
        "figures": figures,
        **made,
        "seed": options.seed,
        "settings": {
            "annotators": size.annotators,
            "pause_seconds": options.pause,
            "verdicts_timed": size.annotators * size.timed,
            "verdicts_under_kills": size.annotators * size.regions,
            "regions": size.regions,
            "load_average_at_start": os.getloadavg()[0],
        },
        "versions": {**made["versions"], **{name: version(name) for name in SERVING}, "sqlite": sqlite3.sqlite_version},
        "seconds": round(time.monotonic() - began, 1),
    }
    text = json.dumps(result, indent=2, sort_keys=True) + "\n"
    path = options.json or (None if options.quick else RESULTS)
    if path is not None:
        path.write_text(text, encoding="utf-8")
    print(text if path is None else f"{json.dumps(figures, indent=2)}\nwrote {path}")


def _times(size: Size, pause: float, seed: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder), size.timed, seed)
        people = [Annotator(f"person {number}", size.timed, seed, pause) for number in range(size.annotators)]
        asyncio.run(_work(people, server.link))
        server.kill()
    seconds = np.array([one for person in people for one in person.seconds])
    return {
        "label.verdict_p50_ms": round(1000 * float(np.percentile(seconds, 50)), 2),
        "label.verdict_p99_ms": round(1000 * float(np.percentile(seconds, 99)), 2),
    }


def _kills(size: Size, seed: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        people = [Annotator(f"person {number}", size.regions, seed) for number in range(size.annotators)]
        total = size.annotators * size.regions
        for number in range(1, size.kills + 1):
            server = Server(Path(folder), size.regions, seed)
            asyncio.run(_until_killed(people, server, total * number // (size.kills + 1)))
        server = Server(Path(folder), size.regions, seed)
        asyncio.run(_work(people, server.link))
        server.kill()
        with sqlite3.connect(Path(folder) / "verdicts.sqlite") as connection:
            found = Counter(connection.execute("SELECT annotator, region FROM verdicts").fetchall())
        connection.close()
    acknowledged = {(person.name, region) for person in people for region in person.acknowledged}
    return {
        "label.acknowledged": len(acknowledged),
        "label.lost": len(acknowledged - found.keys()),
        "label.duplicated": sum(times - 1 for times in found.values()),
        "label.kills": size.kills,
    }


async def _work(people: list["Annotator"], link: str) -> None:
    await asyncio.gather(*(person.work(link) for person in people))


async def _until_killed(people: list["Annotator"], server: "Server", quota: int) -> None:
    work = asyncio.create_task(_work(people, server.link))
    while sum(len(person.acknowledged) for person in people) < quota and not work.done():  # noqa: ASYNC110 -- counts, not an event
        await asyncio.sleep(0.005)
    server.kill()
    await work


class Server:
    """A server in a process of its own, forked from this one, which has imported everything."""

    def __init__(self, folder: Path, regions: int, seed: int) -> None:
        context = multiprocessing.get_context("fork")
        here, there = context.Pipe(duplex=False)
        self.process = context.Process(target=_serve, args=(folder, regions, seed, there), daemon=True)
        self.process.start()
        there.close()
        self.link: str = here.recv()

    def kill(self) -> None:
        """End it as kill -9 does."""
        self.process.kill()
        self.process.join()


def _serve(folder: Path, regions: int, seed: int, link: Connection) -> None:
    desk = Desk(_gallery(regions, seed), folder / "verdicts.sqlite", StopRule(agreeing=1_000))
    serve(desk, tell=link.send)


def _gallery(count: int, seed: int) -> Gallery:
    rng = np.random.default_rng(seed)
    names = tuple(f"class {label}" for label in range(CLASSES))
    regions, samples = [], {}
    for number in range(count):
        label, predicted = number % CLASSES, (number + 1) % CLASSES
        evidence = Evidence(Rate(90, 100), Rate(81, 90), ((predicted, 81), (label, 9)), 1e-9, 2e-9)
        region = Region(f"r{number:03d}", label, predicted, np.full(2, float(number)), np.eye(2), 0.5, 40, evidence)
        images = rng.integers(0, 256, (TILES, EDGE, EDGE, 3), dtype=np.uint8)
        regions.append(region)
        samples[region.name, Purpose.SHOW] = RegionSamples(
            region.name,
            Purpose.SHOW,
            images,
            np.zeros((TILES, 2), np.float32),
            np.full(TILES, predicted),
            np.ones(TILES, dtype=bool),
        )
    labels = np.repeat(np.arange(CLASSES), 3)
    images = rng.integers(0, 256, (len(labels), EDGE, EDGE, 3), dtype=np.uint8)
    return Gallery(
        "benchmark",
        Regions(tuple(regions), samples, fitted=count),
        LabelledImages(images, labels, names, np.arange(len(labels))),
    )


@dataclass
class Annotator:
    """Labels every region once, over one connection; what was not acknowledged is sent again under the same key."""

    name: str
    regions: int
    seed: int
    pause: float = 0.0
    seconds: list[float] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    pending: tuple[str, str] | None = None

    async def work(self, link: str) -> None:
        """Go on until every region is labelled or the server is gone."""
        rng = random.Random(f"{self.seed} {self.name}")  # noqa: S311 -- pauses
        address = link.removeprefix("http://").partition("/")[0]
        host, port = address.split(":")
        try:
            connection = Talk(*await asyncio.open_connection(host, int(port)), address)
            try:
                await self._label(connection, link, rng)
            finally:
                connection.close()
        except (OSError, asyncio.IncompleteReadError):
            return  # killed; the next server goes on

    async def _label(self, talk: "Talk", link: str, rng: random.Random) -> None:
        _, head, _ = await talk.ask("GET", f"/?{link.partition('/?')[2]}")
        cookie = next(line for line in head if line.casefold().startswith("set-cookie:"))
        talk.headers["Cookie"] = cookie.partition(":")[2].partition(";")[0].strip()
        _, _, page = await talk.ask("GET", "/")
        talk.headers["X-CSRF-Token"] = page.partition('name="csrf" content="')[2].partition('"')[0]
        await talk.ask("POST", "/api/name", {"name": self.name})
        run = json.loads((await talk.ask("GET", "/api/run"))[2])["run"]
        region = json.loads((await talk.ask("GET", "/api/next"))[2])["region"]
        while region is not None:
            if self.pause:
                await asyncio.sleep(rng.expovariate(1 / self.pause))
            region = await self._say(talk, run, region)

    async def _say(self, talk: "Talk", run: str, region: dict[str, Any]) -> dict[str, Any] | None:
        name, key = self.pending or (region["region"], os.urandom(16).hex())
        self.pending = (name, key)
        body = {"run": run, "page": PAGE_VERSION, "key": key, "region": name, "answer": "class"}
        body |= {"label": region["proposed"], "shown": list(range(TILES)), "crossed": [3]}
        began = time.perf_counter()
        code, _, text = await talk.ask("POST", "/api/verdicts", body)
        self.seconds.append(time.perf_counter() - began)
        if code not in {CREATED, STORED_BEFORE}:
            raise RuntimeError(f"the server answered {code}: {text}")
        self.acknowledged.append(name)
        self.pending = None
        text = text if code == CREATED else (await talk.ask("GET", "/api/next"))[2]
        following: dict[str, Any] | None = json.loads(text)["region"]
        return following


class Talk:
    """HTTP/1.1 over one connection, just enough for our own server, so that the client costs little."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str) -> None:
        self.reader, self.writer = reader, writer
        self.headers = {"Host": address, "Origin": f"http://{address}", "Content-Type": "application/json"}

    async def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, list[str], str]:
        """Send a request; return the answer's code, header lines and text."""
        content = b"" if body is None else json.dumps(body).encode()
        head = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        start = f"{method} {path} HTTP/1.1\r\n{head}Content-Length: {len(content)}\r\n\r\n"
        self.writer.write(start.encode() + content)
        await self.writer.drain()
        first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        length = next(int(line.partition(":")[2]) for line in lines if line.casefold().startswith("content-length"))
        return int(first.split()[1]), lines, (await self.reader.readexactly(length)).decode()

    def close(self) -> None:
        """Hang up."""
        self.writer.close()


if __name__ == "__main__":
    main()
