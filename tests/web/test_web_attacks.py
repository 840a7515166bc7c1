"""The attack list: each is refused, logged, and changes nothing."""

import logging

import pytest
from starlette.testclient import TestClient
from web_makers import HOST, NAMES, ORIGIN, make_gallery, open_house

from defuse.web.guard import MOST_BYTES


@pytest.fixture
def ada(house):
    """Somebody who has said one thing; whatever comes after must leave it so."""
    person = house.person("ada")
    assert person.say("r001").status_code == 201
    return person


@pytest.fixture
def unchanged(house, ada, caplog):  # noqa: ARG001 -- ada has said something before
    """Check a refusal: its code, a line in the log, the store as it was."""
    before = house.stored()
    assert len(before) == 1
    caplog.set_level(logging.WARNING, "defuse.web")

    def check(response, code):
        assert response.status_code == code, response.text
        assert any("refused" in record.getMessage() for record in caplog.records)
        assert house.stored() == before
        assert "Traceback" not in response.text

    return check


def stranger(house):
    return TestClient(house.app, base_url=ORIGIN)


@pytest.mark.parametrize("path", ["/", "/agreement", "/api/run", "/api/next", "/images/" + 32 * "0"])
def test_nothing_is_shown_without_the_token(house, unchanged, path):
    unchanged(stranger(house).get(path), 401)


@pytest.mark.parametrize("token", ["x", "é", "", "a" * 43])
def test_a_wrong_token_opens_nothing(house, unchanged, token):
    response = stranger(house).get("/", params={"token": token})
    unchanged(response, 401)
    assert "set-cookie" not in response.headers


def test_no_cookie_no_verdict(house, ada, unchanged):
    unchanged(stranger(house).post("/api/verdicts", json=ada.verdict("r002"), headers=ada.headers), 401)


@pytest.mark.parametrize("host", ["evil.example:8000", "127.0.0.1", "127.0.0.1:80", "localhost:8000.evil.example", ""])
def test_wrong_host(ada, unchanged, host):
    headers = ada.headers | {"Host": host, "Origin": f"http://{host}"}
    unchanged(ada.browser.post("/api/verdicts", json=ada.verdict("r002"), headers=headers), 403)
    unchanged(ada.browser.get("/api/next", headers={"Host": host}), 403)


@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", f"https://{HOST}", f"{ORIGIN}.evil.example"])
def test_cross_origin_post(ada, unchanged, origin):
    headers = {key: value for key, value in (ada.headers | {"Origin": origin}).items() if value is not None}
    unchanged(ada.browser.post("/api/verdicts", json=ada.verdict("r002"), headers=headers), 403)


def test_post_that_the_browser_says_is_cross_site(ada, unchanged):
    headers = ada.headers | {"Sec-Fetch-Site": "cross-site"}
    unchanged(ada.browser.post("/api/verdicts", json=ada.verdict("r002"), headers=headers), 403)


@pytest.mark.parametrize("csrf", [None, "", "x", "\u00e9".encode()])
@pytest.mark.parametrize("path", ["/api/verdicts", "/api/adjudications", "/api/undo", "/api/skip", "/api/name"])
def test_no_csrf_token(ada, unchanged, csrf, path):
    headers = {key: value for key, value in (ada.headers | {"X-CSRF-Token": csrf}).items() if value is not None}
    unchanged(ada.browser.post(path, json=ada.verdict("r002"), headers=headers), 403)


def test_another_persons_csrf_token(house, ada, unchanged):
    headers = ada.headers | {"X-CSRF-Token": house.person("bob").headers["X-CSRF-Token"]}
    unchanged(ada.browser.post("/api/verdicts", json=ada.verdict("r002"), headers=headers), 403)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/assets/../../../../etc/passwd", 404),
        ("/assets/..%2f..%2fapp.py", 404),
        ("/assets/%2e%2e/app.py", 404),
        ("/assets/page.css%00.js", 422),
        ("/assets/none.css", 404),
        ("/images/..%2f..%2f..%2fetc%2fpasswd", 404),
        ("/images/" + "g" * 32, 422),
        ("/images/" + "0" * 32, 404),
        ("/openapi.json", 404),
        ("/docs", 404),
    ],
)
def test_path_traversal(ada, unchanged, path, code):
    response = ada.browser.get(path)
    unchanged(response, code)
    assert "root:" not in response.text


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script>",
        "Robert'); DROP TABLE verdicts;--",
        "",
        "  ",
        "a" * 41,
        "a\x00b",
        "\u202eada",
        "judges",
        "Judges",
    ],
)
def test_names_that_are_none(house, unchanged, name):
    unchanged(house.person().post("/api/name", name=name), 422)


def test_class_names_are_shown_as_text(house, ada):
    bob = house.person("bob")
    bob.say("r001", "no clear class")
    ada.say("r001", label=0, path="/api/verdicts")
    for page in (ada.browser.get("/").text, ada.browser.get("/agreement").text):
        assert NAMES[0] not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in ada.browser.get("/agreement").text


def test_oversized_body(ada, unchanged):
    body = ada.verdict("r002", padding="x" * MOST_BYTES)
    unchanged(ada.post("/api/verdicts", **body), 413)


def test_oversized_body_of_unknown_length(ada, unchanged):
    chunks = (b"x" * 1024 for _ in range(2 * MOST_BYTES // 1024))
    headers = ada.headers | {"Content-Type": "application/json"}
    unchanged(ada.browser.post("/api/verdicts", content=chunks, headers=headers), 413)


@pytest.mark.parametrize("length", ["-1", "1e3", "9" * 30, "abc"])
def test_lengths_that_are_none(ada, unchanged, length):
    headers = ada.headers | {"Content-Length": length}
    unchanged(ada.browser.post("/api/verdicts", content=b"{}", headers=headers), 413)


def test_replayed_form(house, ada):
    body = ada.verdict("r002")
    assert ada.post("/api/verdicts", **body).status_code == 201
    stored = house.stored()
    response = ada.post("/api/verdicts", **body)
    assert (response.status_code, response.json()) == (409, {"detail": "stored before"})
    changed = body | {"answer": "not an error", "label": None}
    assert ada.post("/api/verdicts", **changed).status_code == 409
    assert house.person("bob").post("/api/verdicts", **body).status_code == 409
    assert house.stored() == stored


def test_replayed_undo(house, ada):
    ada.say("r002")
    body = {"run": house.gallery.fingerprint, "key": "a" * 32}
    assert ada.post("/api/undo", **body).status_code == 200
    again = ada.post("/api/undo", **body)
    assert (again.status_code, again.json()["detail"]) == (409, "stored before"), "so the page goes on"
    assert [verdict.region for verdict in house.stored()] == ["r001"]
    assert ada.post("/api/undo", run=body["run"], key="b" * 32).status_code == 200
    nothing = ada.post("/api/undo", run=body["run"], key="c" * 32)
    assert (nothing.status_code, nothing.json()["detail"]) == (409, "nothing to take back")


def test_another_runs_page_and_region(ada, unchanged):
    unchanged(ada.say("r001", run=make_gallery(5).fingerprint), 409)
    unchanged(ada.say("r005"), 404)
    unchanged(ada.say("r002", page="0" * 12), 409)
    unchanged(ada.post("/api/skip", run=make_gallery().fingerprint, region="r005"), 404)
    unchanged(ada.post("/api/undo", run="0" * 16, key="b" * 32), 409)


SQL = "' OR 1=1; DROP TABLE verdicts; --"


@pytest.mark.parametrize(
    "changes",
    [
        *({field: SQL} for field in ("run", "page", "key", "region", "answer", "label", "shown", "crossed")),
        {"label": 4_000_000_000}, {"label": -1}, {"label": 1.5}, {"label": True}, {"label": None},
        {"answer": "not an error"}, {"shown": [0, 0]}, {"shown": [-1]}, {"crossed": [29]}, {"shown": [10**6]},
        {"extra": 1}, {"key": "A" * 32}, {"region": ["r002"]}, {"annotator": "bob"}, {"machine": True},
    ],
    ids=str,
)  # fmt: skip
def test_fields_of_the_wrong_kind(ada, unchanged, changes):
    unchanged(ada.post("/api/verdicts", **(ada.verdict("r002") | changes)), 422)


def test_classes_and_tiles_that_are_not_there(ada, unchanged):
    unchanged(ada.say("r002", label=len(NAMES)), 404)
    unchanged(ada.say("r002", shown=[30]), 404)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        *((content, 422) for content in (b"", b"{", b"[]", b"null", b'{"label": NaN}')),
        *((content, 400) for content in (b'"\x80"', b"[" * 50_000)),
    ],
)
def test_bodies_that_are_no_object(ada, unchanged, content, code):
    headers = ada.headers | {"Content-Type": "application/json"}
    unchanged(ada.browser.post("/api/verdicts", content=content, headers=headers), code)


def test_nobody_labels_without_a_name(house, unchanged):
    nameless = house.person()
    unchanged(nameless.say("r002"), 403)
    unchanged(nameless.browser.get("/api/next"), 403)


def test_read_only_takes_nothing_in(house, ada, tmp_path):
    before = house.stored()
    with open_house(tmp_path, read_only=True) as viewer:
        guest = viewer.person()
        for path in ("/api/verdicts", "/api/adjudications", "/api/undo", "/api/skip", "/api/name"):
            assert guest.post(path, **ada.verdict("r002")).status_code == 404
    assert house.stored() == before


def test_refusals_are_one_line_of_the_log_whatever_the_path(ada, caplog):
    caplog.set_level(logging.WARNING, "defuse.web")
    ada.browser.get("/images/a%0d%0arefused%20GET%20forged")
    for record in caplog.records:
        assert "\n" not in record.getMessage()
        assert "\r" not in record.getMessage()
