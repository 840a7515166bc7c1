import asyncio
import io
import sqlite3

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient
from web_makers import HOST, NAMES, ORIGIN, TILES, House, make_gallery, new_key, open_house

from defuse.errors import VerdictError
from defuse.label import StopRule, VerdictStore
from defuse.records import Answer, Verdict
from defuse.web import Desk
from defuse.web.pages import PAGE_VERSION
from defuse.web.writer import Writer


def test_a_verdict_is_stored_with_all_that_was_shown(house):
    ada = house.person("ada")
    answer = ada.say("r002", label=3, shown=list(range(TILES)), crossed=[4, 29])
    assert answer.status_code == 201
    (stored,) = house.stored()
    assert stored == Verdict(
        "r002", "ada", Answer.CLASS, 3, machine=False, time=stored.time, shown=tuple(range(TILES)), crossed=(4, 29),
        page=PAGE_VERSION,
    )  # fmt: skip
    assert stored.time.endswith("+00:00")


def test_a_region_is_described(house):
    task = house.person("ada").browser.get("/api/next").json()
    assert task["progress"] == {"given": 0, "left": 4, "settled": 0, "regions": 4, "seconds_left": None}
    region = task["region"]
    assert (region["region"], region["rank"], region["proposed"], region["predicted"]) == ("r001", 1, 1, 2)
    assert region["answers"] == [{"label": 2, "share": 0.9}, {"label": 1, "share": 0.1}]
    assert region["keys"] == [0, 1, 2, 3]
    assert len(region["tiles"]) == TILES


def test_images_come_by_id_and_are_the_samples(house):
    ada = house.person("ada")
    region = ada.next()
    images = house.gallery.regions.samples["r001", "show"].images
    for place in (0, TILES - 1):
        answer = ada.browser.get(f"/images/{region['tiles'][place]}")
        assert answer.headers["content-type"] == "image/png"
        assert "immutable" in answer.headers["cache-control"]
        with Image.open(io.BytesIO(answer.content)) as picture:
            assert (np.asarray(picture) == images[place, :, :, 0]).all()


def test_the_run_names_classes_with_real_images(house):
    run = house.person("ada").browser.get("/api/run").json()
    assert [each["name"] for each in run["classes"]] == list(NAMES)
    assert [len(each["images"]) for each in run["classes"]] == [3] * 4
    assert (run["page"], run["run"]) == (PAGE_VERSION, house.gallery.fingerprint)


def test_many_classes_have_keys_for_the_likeliest(tmp_path):
    with open_house(tmp_path, make_gallery(names=tuple(f"class {number}" for number in range(43)))) as house:
        assert house.person("ada").next()["keys"] == [1, 2]


def test_people_get_different_regions_and_never_see_what_others_said(house):
    ada, bob, cy = (house.person(name) for name in ("ada", "bob", "cy"))
    assert [person.next()["region"] for person in (ada, bob, cy)] == ["r001", "r002", "r003"]
    following = ada.say("r001", "no clear class").json()
    assert following["region"]["region"] == "r004"
    for person in (bob, cy):
        for path in ("/api/next", "/api/run", "/", "/agreement"):
            assert "no clear class" not in person.browser.get(path).text.partition("<main")[0]
            assert "ada" not in person.browser.get(path).text


def test_enough_agreement_ends_a_region(house):
    house.person("ada").say("r001", label=3)
    house.person("bob").say("r001", label=3)
    cy = house.person("cy")
    assert cy.browser.get("/api/next").json()["progress"] | {"seconds_left": 0} == {
        "given": 0, "left": 3, "settled": 1, "regions": 4, "seconds_left": 0,
    }  # fmt: skip
    seen = set()
    while (region := cy.next()) is not None:
        seen.add(region["region"])
        cy.say(region["region"])
    assert seen == {"r002", "r003", "r004"}


def test_a_skipped_region_comes_back_last(house):
    ada = house.person("ada")
    run = house.gallery.fingerprint
    assert ada.post("/api/skip", run=run, region="r001").json()["region"]["region"] == "r002"
    for region in ("r002", "r003", "r004"):
        last = ada.say(region).json()
    assert last["region"]["region"] == "r001"
    assert last["progress"]["left"] == 1
    assert ada.say("r001").json()["region"] is None


def test_undo_shows_the_region_again_and_is_an_event(house):
    ada = house.person("ada")
    ada.say("r001")
    ada.say("r002")
    back = ada.post("/api/undo", run=house.gallery.fingerprint, key=new_key())
    assert back.json()["region"]["region"] == "r002"
    assert back.json()["progress"]["given"] == 1
    assert [verdict.region for verdict in house.stored()] == ["r001"]
    with VerdictStore(house.path, house.gallery.regions, read_only=True) as store:
        assert [verdict.region for verdict in store.all()] == ["r001", "r002"]
    assert ada.post("/api/undo", run=house.gallery.fingerprint, key=new_key()).status_code == 200
    assert ada.post("/api/undo", run=house.gallery.fingerprint, key=new_key()).status_code == 409


def test_nobody_undoes_what_another_said(house):
    house.person("ada").say("r001")
    assert house.person("bob").post("/api/undo", run=house.gallery.fingerprint, key=new_key()).status_code == 409
    assert len(house.stored()) == 1


def test_a_dispute_is_hidden_until_ones_own_opinion_and_then_settled(house):
    ada, bob, cy = (house.person(name) for name in ("ada", "bob", "cy"))
    ada.say("r001", label=3)
    bob.say("r001", "no clear class")
    page = cy.browser.get("/agreement").text
    assert "1 disputed region is hidden from you" in page
    assert "ada" not in page
    assert cy.say("r001", label=3, path="/api/adjudications").status_code == 403
    cy.say("r001", label=0)
    page = cy.browser.get("/agreement").text
    assert "hidden from you" not in page
    assert all(name in page for name in ("ada", "bob", "cy"))
    assert cy.say("r002", path="/api/adjudications").status_code == 403
    assert cy.say("r001", label=3, path="/api/adjudications").status_code == 201
    assert cy.say("r001", label=0, path="/api/adjudications").status_code == 409
    assert "Disputed regions" in cy.browser.get("/agreement").text
    assert house.desk.decisions()[0].label == 3
    assert house.desk.decisions()[0].reason == "adjudicated"
    assert [verdict.adjudicates for verdict in house.stored()] == [False, False, False, True]
    assert house.person("dan").next()["region"] == "r002"


def test_nothing_is_adjudicated_that_nobody_disputes(house):
    ada = house.person("ada")
    ada.say("r001")
    assert ada.say("r001", path="/api/adjudications").status_code == 409


def test_verdicts_survive_a_restart(house, tmp_path):
    house.person("ada").say("r001")
    house.desk.close()
    with open_house(tmp_path) as again:
        ada = again.person("ada")
        assert ada.next()["region"] == "r002"
        assert ada.browser.get("/api/next").json()["progress"]["given"] == 1


def test_a_link_of_an_earlier_start_opens_nothing(house, tmp_path):
    ada = house.person("ada")
    house.desk.close()
    with open_house(tmp_path) as again:
        browser = TestClient(again.app, base_url=ORIGIN, cookies=dict(ada.browser.cookies))
        assert browser.get("/api/next").status_code == 401


def test_what_cannot_be_stored_is_not_acknowledged(house):
    ada = house.person("ada")
    ada.say("r001")
    blocker = sqlite3.connect(house.path, isolation_level=None)
    blocker.execute("ALTER TABLE verdicts RENAME TO elsewhere")
    answer = ada.say("r002")
    assert answer.status_code == 503
    assert "elsewhere" not in answer.text
    assert ada.browser.get("/api/next").json()["progress"]["given"] == 1
    blocker.execute("ALTER TABLE elsewhere RENAME TO verdicts")
    blocker.close()
    assert ada.say("r002").status_code == 201


def test_the_pace_leaves_breaks_out(tmp_path):
    gallery = make_gallery(6)
    with VerdictStore(tmp_path / "verdicts.sqlite", gallery.regions) as store:
        times = ["10:00:00", "10:00:04", "10:00:10", "12:00:00", "12:00:05"]
        store.append(
            [
                Verdict(f"r00{place}", "ada", Answer.CLASS, 0, machine=False, time=f"2024-05-01T{time}+00:00")
                for place, time in enumerate(times, start=1)
            ]
        )
    with open_house(tmp_path, gallery) as house:
        assert house.desk.progress("ada").seconds_left == 5


def test_everything_that_was_written_at_once_is_there(tmp_path):
    gallery = make_gallery()
    path = tmp_path / "verdicts.sqlite"
    order = []

    async def write_all():
        writer = Writer(lambda: VerdictStore(path, gallery.regions))
        verdicts = [Verdict("r001", f"p{number}", Answer.CLASS, 0, machine=False, time="t") for number in range(500)]

        async def write(number, verdict):
            return await writer.write(
                lambda store: store.add(verdict, f"key {number % 400}"), lambda: order.append(verdict)
            )

        try:
            return await asyncio.gather(*(write(*each) for each in enumerate(verdicts)))
        finally:
            writer.close()

    stored = asyncio.run(write_all())
    assert stored == [True] * 400 + [False] * 100
    with VerdictStore(path, gallery.regions) as store:
        assert list(store.all()) == order


def test_a_store_that_cannot_be_opened_says_so_before_anything_is_served(tmp_path):
    (tmp_path / "verdicts.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(VerdictError, match="cannot be used as a verdict store"):
        Desk(make_gallery(), tmp_path / "verdicts.sqlite", StopRule())


def test_read_only_shows_decisions_and_writes_no_file(tmp_path):
    with open_house(tmp_path / "empty", read_only=True) as viewer:
        page = viewer.person().browser.get("/").text
        assert page.count("No label: no votes") == 4
        assert not (tmp_path / "empty").exists()
    with open_house(tmp_path) as house:
        house.person("ada").say("r001", label=3, crossed=[1])
    before = house.path.read_bytes()
    with open_house(tmp_path, read_only=True) as viewer:
        guest = viewer.person()
        page = guest.browser.get("/regions/r001").text
        assert "<b>ada</b>: dash&#34;dot <small>crossed out 1 tile" in page
        assert "dash&#34;dot read as cross" in page
        assert guest.browser.get("/regions/r009").status_code == 404
        assert guest.browser.get("/agreement").status_code == 200
    assert house.path.read_bytes() == before


def test_the_session_cookie_is_kept_from_scripts_and_other_sites(house):
    browser = TestClient(house.app, base_url=ORIGIN)
    answer = browser.get("/", params={"token": house.access.token})
    flags = {part.strip().casefold() for part in answer.headers["set-cookie"].split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/"} <= flags
    assert house.access.token not in answer.text
    assert HOST.partition(":")[2] in answer.headers["set-cookie"].partition("=")[0]


def test_two_houses_do_not_share_sessions(house, tmp_path):
    other = House(tmp_path / "other")
    try:
        cookie = house.person("ada").browser.cookies
        assert other.access.session(next(iter(cookie.values()))) is None
    finally:
        other.desk.close()
