"""A desk over made-up regions, and people who sit at it through the application itself, without a network."""

import itertools
from contextlib import contextmanager

import numpy as np
from starlette.testclient import TestClient

from defuse.label import StopRule, VerdictStore
from defuse.records import Evidence, LabelledImages, Purpose, Rate, Region, Regions, RegionSamples
from defuse.web import Desk, Gallery, create_app
from defuse.web.access import Access
from defuse.web.pages import PAGE_VERSION

HOST = "127.0.0.1:8000"
ORIGIN = f"http://{HOST}"
NAMES = ("<script>alert(1)</script>", "upright", "cross", 'dash"dot')
TILES = 30
_keys = itertools.count(1)


def make_gallery(count=4, names=NAMES, size=8, tiles=TILES):
    rng = np.random.default_rng(0)
    regions, samples = [], {}
    for number in range(1, count + 1):
        label, predicted = number % len(names), (number + 1) % len(names)
        evidence = Evidence(Rate(90, 100), Rate(81, 90), ((predicted, 81), (label, 9)), 1e-9, 2e-9)
        region = Region(f"r{number:03d}", label, predicted, np.full(2, float(number)), np.eye(2), 0.5, 40, evidence)
        images = rng.integers(0, 256, (tiles, size, size, 1), dtype=np.uint8)
        regions.append(region)
        samples[region.name, Purpose.SHOW] = RegionSamples(
            region.name, Purpose.SHOW, images, np.zeros((tiles, 2), np.float32), np.full(tiles, predicted),
            np.ones(tiles, dtype=bool),
        )  # fmt: skip
    labels = np.arange(5 * len(names)) % len(names)
    real = LabelledImages(
        rng.integers(0, 256, (len(labels), size, size, 1), dtype=np.uint8), labels, names, np.arange(len(labels))
    )
    return Gallery("cnn on shapes", Regions(tuple(regions), samples, fitted=count), real)


def new_key():
    return f"{next(_keys):032x}"


class Person:
    """One browser that was let in, and who sits before it."""

    def __init__(self, app, token, name=None, host=HOST):
        self.browser = TestClient(app, base_url=f"http://{host}", raise_server_exceptions=False)
        self.headers = {"Origin": f"http://{host}"}
        assert self.browser.get("/", params={"token": token}).status_code == 200
        page = self.browser.get("/").text
        if 'name="csrf" content="' in page:
            self.headers["X-CSRF-Token"] = page.partition('name="csrf" content="')[2].partition('"')[0]
        if name is not None:
            assert self.post("/api/name", name=name).status_code == 200

    def post(self, path, **body):
        return self.browser.post(path, json=body, headers=self.headers)

    def next(self):
        return self.browser.get("/api/next").json()["region"]

    def verdict(self, region, answer="class", label=2, **changes):
        body = {
            "run": make_gallery().fingerprint,
            "page": PAGE_VERSION,
            "key": new_key(),
            "region": region,
            "answer": answer,
            "label": label if answer == "class" else None,
            "shown": list(range(24)),
            "crossed": [],
        }
        return body | changes

    def say(self, region, answer="class", label=2, path="/api/verdicts", **changes):
        return self.post(path, **self.verdict(region, answer, label, **changes))


class House:
    """An application over its own store."""

    def __init__(self, folder, gallery=None, *, agreeing=2, read_only=False):
        self.gallery = gallery or make_gallery()
        self.path = folder / "verdicts.sqlite"
        self.desk = Desk(self.gallery, self.path, StopRule(agreeing=agreeing), read_only=read_only)
        self.access = Access(8000)
        self.app = create_app(self.desk, self.access, [HOST])

    def person(self, name=None):
        return Person(self.app, self.access.token, name)

    def stored(self):
        with VerdictStore(self.path, self.gallery.regions, read_only=True) as store:
            return store.standing()


@contextmanager
def open_house(folder, gallery=None, **settings):
    house = House(folder, gallery, **settings)
    try:
        yield house
    finally:
        house.desk.close()
