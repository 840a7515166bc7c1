import json

import pytest


def good(ended):
    assert ended.code == 0, ended.err
    return ended.out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "--data: mnist needs mnist.npz; give the folder that holds it"),
        (["--data", "nowhere"], "nowhere/mnist.npz: not found; give the folder that holds mnist.npz as --data"),
        (["--tasks", "thin-7"], "--tasks: no task is called 'thin-7'; choose from thin-6-as-1, "),
        (["--methods", "magic"], "--methods: no method is called 'magic'; choose from default, paper, "),
        (["--levels", "half"], "--levels: no level is called 'half'; choose from seen, unseen"),
        (
            ["--tasks", "signs-dark-50-as-80", "--set", "identify.budgte=3"],
            "yours: unknown key identify.budgte; did you mean identify.budget?",
        ),
    ],
)
def test_bad_input_is_one_line_before_any_work(defuse, tmp_path, arguments, expected):
    line = defuse("bench", "planted", "--out", tmp_path / "out", *arguments, cwd=tmp_path).complaint
    assert expected in line
    assert not (tmp_path / "out").exists()


def test_an_audit_is_written_and_scored(defuse, finished, tmp_path):
    said = good(defuse("bench", "audit", finished.copy(tmp_path / "out"), "--to", tmp_path / "audit", "--real", 5))
    key = json.loads((tmp_path / "audit" / "key.json").read_text(encoding="utf-8"))
    assert said.startswith(f"{len(key['images'])} images: {tmp_path / 'audit' / 'audit.html'}.")
    answers = tmp_path / "answers.json"
    told = {number: image["label"] for number, image in enumerate(key["images"], start=1)}
    answers.write_text(json.dumps({"sheet": key["sheet"], "answers": told}), encoding="utf-8")
    said = good(defuse("bench", "audited", tmp_path / "audit" / "key.json", answers))
    reported = len(key["images"]) - 5
    assert f"{reported} of {reported}.\n" in said
    assert said.endswith("5 of 5.\n")
    line = defuse("bench", "audited", tmp_path / "audit" / "key.json", tmp_path / "none.json").complaint
    assert f"{tmp_path / 'none.json'}: not found; give the answers.json that the sheet's page saves" in line


def test_oracles_look_at_a_run_and_the_figures_are_kept(defuse, finished, tmp_path):
    run, path = finished.copy(tmp_path / "out"), tmp_path / "validity.json"
    said = good(
        defuse("bench", "validity", run, "--cache", tmp_path / "oracles", "--epochs", 1, "--json", path, cwd=tmp_path)
    )
    assert said.startswith("bars, default: of real held-out images the oracles confirm: networks ")
    written = json.loads(path.read_text(encoding="utf-8"))
    assert written["command"].startswith("defuse bench validity")
    assert written["figures"]["validity.bars.default.seed3.regions"] == len(written["runs"][0]["regions"])


def test_validity_of_a_folder_that_holds_no_run_is_refused_in_one_line(defuse, tmp_path):
    line = defuse("bench", "validity", tmp_path / "nothing", cwd=tmp_path).complaint
    assert f"{tmp_path / 'nothing'}" in line
    assert not (tmp_path / "nothing").exists()
