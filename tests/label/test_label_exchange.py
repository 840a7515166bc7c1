import csv
import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from label_makers import NAMES, make_regions
from PIL import Image

from defuse.errors import RunError, VerdictError
from defuse.label import contact_sheet, export_csv, import_csv, unheard
from defuse.label.exchange import COLUMNS
from defuse.records import Answer, Regions, Verdict

TIME = "2024-05-01T10:00:00Z"


@pytest.fixture
def regions():
    return make_regions()


def table(*lines, header="region,annotator,answer,label"):
    return "\n".join([header, *lines]) + "\n"


def rows_of(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def read(path, text, names=NAMES):
    path.write_text(text, encoding="utf-8")
    return import_csv(path, make_regions(), names, time=TIME)


SAID = Verdict("r001", "ann", Answer.CLASS, 1, machine=False, time=TIME)


def test_what_a_table_was_written_with_is_no_news_and_what_was_changed_in_it_is(regions, tmp_path):
    path = tmp_path / "labels.csv"
    export_csv(path, regions, NAMES, [SAID])
    since = replace(SAID, label=2, time="2024-05-02T10:00:00Z")
    assert unheard(import_csv(path, regions, NAMES, time="now"), [SAID, since]) == ()
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(f"ann,class,{NAMES[1]}", f"ann,class,{NAMES[0]}"), encoding="utf-8")
    assert unheard(import_csv(path, regions, NAMES, time="now"), [SAID, since]) == (replace(SAID, label=0),)
    filled = read(path, table("r002,bob,class,0"))
    assert unheard(filled, [SAID]) == filled


def test_export_describes_every_region(regions, tmp_path):
    path = tmp_path / "to label.csv"
    export_csv(path, regions, NAMES)
    rows = rows_of(path)
    assert tuple(rows[0]) == COLUMNS
    assert [row["region"] for row in rows] == ["r001", "r002", "r003"]
    assert rows[0] == {
        "region": "r001",
        "shows": "circle",
        "model_says": "square",
        "support": "40",
        "failure_rate": "0.900",
        "sheet": "to label-sheets/r001.png",
        "annotator": "",
        "answer": "",
        "label": "",
        "given": "",
    }
    for row in rows:
        with Image.open(tmp_path / row["sheet"]) as sheet:
            assert sheet.size == (10 * 68 - 4, 2 * 68 - 4)


def test_contact_sheet_holds_every_pixel_of_every_image():
    images = np.random.default_rng(0).integers(0, 256, (23, 32, 32, 3), dtype=np.uint8)
    with Image.open(io.BytesIO(contact_sheet(images))) as picture:
        sheet = np.asarray(picture)
    for place, image in enumerate(images):
        top, left = 68 * (place // 10), 68 * (place % 10)
        assert (sheet[top : top + 64 : 2, left : left + 64 : 2] == image).all()
        assert (sheet[top + 1 : top + 64 : 2, left + 1 : left + 64 : 2] == image).all()


def test_an_unfilled_table_holds_no_verdict(regions, tmp_path):
    path = tmp_path / "verdicts.csv"
    export_csv(path, regions, NAMES)
    assert import_csv(path, regions, NAMES, time=TIME) == ()


def test_a_region_without_tiles_has_no_sheet(regions, tmp_path):
    export_csv(tmp_path / "v.csv", Regions(regions.reported, {}, fitted=3), NAMES)
    assert rows_of(tmp_path / "v.csv")[0]["sheet"] == ""
    assert not (tmp_path / "v-sheets").exists()


verdicts = st.builds(
    lambda region, annotator, answer: Verdict(region, annotator, *answer, machine=False, time=TIME),
    st.sampled_from(["r001", "r002", "r003"]),
    st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1).map(str.strip).filter(bool),
    st.sampled_from([(Answer.CLASS, 0), (Answer.CLASS, 2), (Answer.NO_CLEAR_CLASS, None), (Answer.NOT_AN_ERROR, None)]),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(given_verdicts=st.lists(verdicts, max_size=6), odd_name=st.sampled_from(["30 km/h", 'a "b", c', "x;y", " pad "]))
def test_verdicts_round_trip(tmp_path, given_verdicts, odd_name):
    names = (odd_name, *NAMES[1:])
    regions = Regions(make_regions().reported, {}, fitted=3)
    path = tmp_path / "v.csv"
    machine = Verdict("r001", "judges", Answer.CLASS, 3, machine=True, time=TIME)
    export_csv(path, regions, names, [machine, *given_verdicts])
    found = import_csv(path, regions, names, time=TIME)
    assert found == tuple(sorted(given_verdicts, key=lambda verdict: verdict.region))


def test_labels_by_name_or_index_and_names_win(tmp_path):
    found = read(tmp_path / "v.csv", table("r001,ada,class,square", "r001,bob,,3", "r002,ada,Class,7", "r003,ada,,"))
    assert [(verdict.annotator, verdict.label) for verdict in found] == [("ada", 1), ("bob", 3), ("ada", 2)]
    assert {(verdict.machine, verdict.time) for verdict in found} == {(False, TIME)}


def test_what_spreadsheets_do_to_a_table(tmp_path):
    text = "\ufeff" + table(" r001 ; extra ; ada ;; cross ", header="region;notes;annotator;answer;label").replace(
        "\n", "\r\n"
    )
    assert [verdict.label for verdict in read(tmp_path / "v.csv", text)] == [3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (table("r001,ada,class,squre"), "line 2, column 'label': expected a class name or an index from 0 to 3, got "),
        (table("r001,ada,class,squre"), ".*got 'squre'; did you mean 'square'?"),
        (table("r001,ada,class,circle", "r002,ada,,4"), "line 3, column 'label': .*got '4'"),
        (table("r001,ada,class,-1"), "line 2, column 'label'"),
        (table("r001,ada,class,1.0"), "line 2, column 'label'"),
        (table("r001,ada,class,"), "line 2, column 'label'"),
        (table("r001,ada,not an error,circle"), "line 2, column 'label': expected nothing beside"),
        (table("r001,ada,perhaps,circle"), "line 2, column 'answer': expected 'class' or 'no clear class' or"),
        (table("r001,,class,circle"), "line 2, column 'annotator': expected a name"),
        (table("r0001,ada,class,circle"), "line 2, column 'region': .* the run's 3 regions, got 'r0001'; did you mean"),
        (table('r001,"a\nb",class,circle', "r002,ada,x,"), "line 4, column 'answer'"),
        (table("r001,ada", header="region,annotator"), "line 1: no column 'answer'; expected region, annotator"),
        ("", "line 1: no column 'region'"),
        (table('r001,ada,class,"circ'), "line .*: no valid CSV"),
    ],
)  # fmt: skip
def test_bad_input_names_file_line_and_column(tmp_path, text, message):
    with pytest.raises(VerdictError, match=rf"v\.csv: {message}".replace("?", r"\?")) as error:
        read(tmp_path / "v.csv", text)
    assert "\n" not in str(error.value)


def test_bad_input_missing_or_unreadable_file(tmp_path):
    with pytest.raises(VerdictError, match=r"none\.csv: not found"):
        import_csv(tmp_path / "none.csv", make_regions(), NAMES, time=TIME)
    (tmp_path / "latin.csv").write_bytes("région".encode("latin-1"))
    with pytest.raises(VerdictError, match=r"latin\.csv: cannot be read"):
        import_csv(tmp_path / "latin.csv", make_regions(), NAMES, time=TIME)


def test_bad_input_folder_that_cannot_be_written(regions, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        export_csv(tmp_path / "file" / "v.csv", regions, NAMES)
