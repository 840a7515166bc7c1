import contextlib
import json
import os
import signal
import subprocess
import sys

import httpx2
import pytest

from defuse.label import VerdictStore
from defuse.records import Answer
from defuse.rundir import RunDir
from defuse.web.pages import PAGE_VERSION


@contextlib.contextmanager
def serving(*arguments):
    """Start ``defuse label serve``; yield the process and what it says first."""
    process = subprocess.Popen(
        [sys.executable, "-m", "defuse.cli", "label", "serve", *map(str, arguments), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        said = ""
        while not said.endswith("}\n"):
            line = process.stdout.readline()
            assert line, process.stderr.read()
            said += line
        yield process, json.loads(said)
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def visit(link, name=None):
    """Open the link as a browser would, and say who is there."""
    origin = link.partition("/?")[0]
    with httpx2.Client(base_url=origin, headers={"Origin": origin}, trust_env=False, timeout=60) as browser:
        assert browser.get(link).status_code == 200
        if name is not None:
            page = browser.get("/").text
            browser.headers["X-CSRF-Token"] = page.partition('name="csrf" content="')[2].partition('"')[0]
            assert browser.post("/api/name", json={"name": name}).status_code == 200
        yield browser


def test_what_people_say_on_the_page_is_repaired(defuse, finished, tmp_path):
    out = finished.copy(tmp_path / "out")
    regions = finished.results.summary.regions
    with serving(out, "--agreeing", "1") as (process, told):
        assert (told["regions"], told["read_only"]) == (len(regions), False)
        assert "another run is at work here" in defuse("label", "auto", out).complaint
        with visit(told["link"], "Ada Lovelace") as browser:
            run = browser.get("/api/run").json()
            region = browser.get("/api/next").json()["region"]
            for number in range(len(regions)):
                body = {"run": run["run"], "page": PAGE_VERSION, "key": f"{number:032x}", "region": region["region"]}
                body |= {"answer": "class", "label": region["proposed"]} if number == 0 else {"answer": "not an error"}
                if number == 0:
                    body |= {"shown": list(range(12)), "crossed": [3]}
                answer = browser.post("/api/verdicts", json=body)
                assert answer.status_code == 201
                region = answer.json()["region"]
            assert region is None
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == ""
    decided = json.loads(defuse("label", "auto", out, "--json").out)
    assert [(each["decision"], each["machine"]) for each in decided] == [(regions[0].label, False)] + [
        (None, False) for _ in regions[1:]
    ]
    assert json.loads(defuse("correct", "--out", out, "--json").out)["suite_cases"] == 1
    labels = json.loads(RunDir(out).labels.read_text(encoding="utf-8"))
    assert labels[0][2:] == [[3]]
    assert defuse("report", "--out", out, "--quiet").code == 0
    assert "<strong>Ada Lovelace</strong>" in RunDir(out).report.read_text(encoding="utf-8")
    assert "crossed out 1 tile" in RunDir(out).report.read_text(encoding="utf-8")
    assert defuse("report", "--out", out, "--quiet", "--withhold-names").code == 0
    assert "Lovelace" not in RunDir(out).report.read_text(encoding="utf-8")
    assert "<strong>annotator 1</strong>" in RunDir(out).report.read_text(encoding="utf-8")


def test_read_only_shows_a_finished_run_and_leaves_it_alone(finished, tmp_path):
    out = finished.copy(tmp_path / "out")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with serving(out, "--read-only") as (_, told), visit(told["link"]) as browser:
        assert told["read_only"] is True
        page = browser.get("/").text
        for region in finished.results.summary.regions:
            assert f'href="/regions/{region.name}"' in page
        assert "judges" in browser.get("/regions/r001").text
        assert browser.post("/api/verdicts", json={}).status_code == 404
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_verdicts_go_out_as_json_and_label_studio_and_come_back(defuse, finished, tmp_path):
    out, record, tasks = finished.copy(tmp_path / "out"), tmp_path / "v.json", tmp_path / "t.json"
    assert "tasks; set up Label Studio" in defuse("label", "export", out, tasks, "--format", "label-studio").out
    told = json.loads(tasks.read_text(encoding="utf-8"))
    choice = {"from_name": "answer", "to_name": "tiles", "type": "choices", "value": {"choices": ["no clear class"]}}
    told[0]["annotations"] = [{"completed_by": 7, "created_at": "2024-05-01T10:00:00Z", "result": [choice]}]
    tasks.write_text(json.dumps(told), encoding="utf-8")
    for _ in range(2):
        decided = json.loads(defuse("label", "import", out, tasks, "--format", "label-studio", "--json").out)
        assert (decided[0]["decision"], decided[0]["reason"]) == (None, "no clear class")
    assert defuse("label", "export", out, record, "--quiet").out == ""
    (said,) = json.loads(record.read_text(encoding="utf-8"))["verdicts"]
    assert (said["annotator"], said["answer"]) == ("user 7", "no clear class")
    other = finished.copy(tmp_path / "other")
    assert json.loads(defuse("label", "import", other, record, "--json").out)[0]["reason"] == "no clear class"
    from defuse.distill import load_regions  # noqa: PLC0415 -- here alone

    with VerdictStore(RunDir(out).verdicts, load_regions(RunDir(out).regions), read_only=True) as store:
        people = [verdict for verdict in store.all() if not verdict.machine]
    assert [(verdict.annotator, verdict.answer) for verdict in people] == [("user 7", Answer.NO_CLEAR_CLASS)]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nowhere"], "nowhere: no run here"),
        (["{out}", "--host", "0.0.0.0"], "add --open-to-network if they should"),  # noqa: S104 -- refused
        (["{out}", "--host", "256.1.1.1", "--open-to-network"], "cannot be listened on"),
        (["{unfinished}"], "no regions yet; make them with `defuse distill"),
        (["{damaged}"], "cannot be used as a verdict store"),
    ],
)
def test_bad_input_serve(defuse, finished, tmp_path, arguments, expected):
    places = {name: finished.copy(tmp_path / name) for name in ("out", "unfinished", "damaged")}
    RunDir(places["unfinished"]).regions_done.unlink()
    RunDir(places["damaged"]).verdicts.write_bytes(b"no database" * 100)
    given = [argument.format(**places) for argument in arguments]
    ended = defuse("label", "serve", *given, cwd=tmp_path)
    assert ended.code == 2
    assert expected in ended.err
    assert "Traceback" not in ended.err


def test_bad_input_json_to_import(defuse, finished, tmp_path):
    out = finished.copy(tmp_path / "out")
    (tmp_path / "v.json").write_text("{}", encoding="utf-8")
    assert "v.json: defuse_verdicts: Field required" in defuse("label", "import", out, tmp_path / "v.json").complaint
    assert (
        "v.json: expected a list of tasks"
        in defuse("label", "import", out, tmp_path / "v.json", "--format", "label-studio").complaint
    )
