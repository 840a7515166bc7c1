import contextlib
import sqlite3
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
from label_makers import make_region, make_regions

from defuse.errors import VerdictError
from defuse.label import VerdictStore, regions_fingerprint
from defuse.label.schema import FIRST as VERSION_1
from defuse.records import Answer, Verdict

REGIONS = make_regions()
FIRST = Verdict("r001", "ada", Answer.CLASS, 6, machine=False, time="2024-05-01T10:00:00Z")
SECOND = Verdict("r002", "ada", Answer.NO_CLEAR_CLASS, None, machine=False, time="2024-05-01T10:00:05Z")
CHANGED = Verdict("r001", "ada", Answer.NOT_AN_ERROR, None, machine=False, time="2024-05-01T09:00:00Z")
OTHER = Verdict("r001", "judges", Answer.CLASS, 6, machine=True, time="2024-05-01T10:00:00Z")
FULL = replace(FIRST, annotator="bob", shown=(0, 1, 5), crossed=(5,), page="a1", adjudicates=True)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "verdicts.sqlite"


def test_verdicts_survive_closing(path):
    with VerdictStore(path, REGIONS) as store:
        store.append([FIRST, SECOND])
        store.append([OTHER])
    with VerdictStore(path, REGIONS) as store:
        assert store.all() == (FIRST, SECOND, OTHER)
    assert [each.name for each in path.parent.iterdir()] == ["verdicts.sqlite"]


def test_a_later_verdict_supersedes_by_order_not_by_clock(path):
    with VerdictStore(path, REGIONS) as store:
        store.append([FIRST, SECOND, OTHER])
        store.append([CHANGED])
        assert store.all() == (FIRST, SECOND, OTHER, CHANGED)
        assert store.current() == (SECOND, OTHER, CHANGED)


def test_a_person_does_not_supersede_a_machine_of_the_same_name(path):
    person = Verdict("r001", "judges", Answer.NOT_AN_ERROR, None, machine=False, time="t")
    with VerdictStore(path, REGIONS) as store:
        store.append([OTHER, person])
        assert store.current() == (OTHER, person)


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM verdicts", "UPDATE verdicts SET label = 1", "DELETE FROM undos", "UPDATE undos SET verdict = 2"],
)
def test_no_event_can_be_changed_or_deleted(path, statement):
    with VerdictStore(path, REGIONS) as store:
        store.append([FIRST, SECOND])
        store.undo("ada", "undo", time="t")
    connection = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match="never"):
        connection.execute(statement)
    connection.close()


def test_appending_is_all_or_nothing(path):
    nameless = Verdict("r002", " ", Answer.NO_CLEAR_CLASS, None, machine=False, time="t")
    with VerdictStore(path, REGIONS) as store:
        with pytest.raises(VerdictError, match="verdict on r002: the annotator has no name"):
            store.append([FIRST, nameless])
        assert store.all() == ()


def test_text_is_stored_as_text(path):
    verdict = Verdict("r001", "Robert'); DROP TABLE verdicts;--", Answer.CLASS, 0, machine=False, time="t")
    with VerdictStore(path, REGIONS) as store:
        store.append([verdict])
        assert store.all() == (verdict,)


def test_two_writers_take_turns(path):
    with VerdictStore(path, REGIONS) as one, VerdictStore(path, REGIONS) as two:
        one.append([FIRST])
        two.append([SECOND])
        assert one.all() == two.all() == (FIRST, SECOND)


def test_what_append_acknowledged_survives_a_kill(path):
    script = f"""
        import os, signal, sys
        from pathlib import Path
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from label_makers import make_regions
        from defuse.label import VerdictStore
        from defuse.records import Answer, Verdict
        store = VerdictStore(Path({str(path)!r}), make_regions())
        for i in range(5):
            store.append([Verdict("r001", f"ada {{i}}", Answer.CLASS, i, machine=False, time="t")])
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert done.returncode == -9
    with VerdictStore(path, REGIONS) as store:
        assert [verdict.label for verdict in store.all()] == [0, 1, 2, 3, 4]


def test_the_fingerprint_sees_names_classes_and_gaussians():
    changed = [make_region("r002"), make_region(label=3), make_region(predicted=2), make_region(), make_region()]
    changed[-1].mean[0] = 1e-9
    changed[-2].covariance[0, 1] = 1e-9
    base = make_regions(make_region())
    prints = {regions_fingerprint(regions) for regions in [base, make_regions(), *map(make_regions, changed)]}
    assert len(prints) == 7
    assert regions_fingerprint(make_regions(make_region())) == regions_fingerprint(base)


def made_by_version_1(path, regions):
    """A store as the first version wrote it, with one verdict of a person and one of a machine."""
    path.parent.mkdir(parents=True)
    connection = sqlite3.connect(path)
    connection.executescript(VERSION_1)
    connection.executemany(
        "INSERT INTO about VALUES (?, ?)", [("version", "1"), ("regions", regions_fingerprint(regions))]
    )
    connection.executemany(
        "INSERT INTO verdicts (region, annotator, answer, label, machine, time) VALUES (?, ?, ?, ?, ?, ?)",
        [("r001", "ada", "class", 6, 0, FIRST.time), ("r001", "judges", "class", 6, 1, FIRST.time)],
    )
    connection.commit()
    connection.close()


def version_of(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT value FROM about WHERE key = 'version'").fetchone()


def test_a_store_of_version_1_is_read_and_brought_up_to_date(path):
    made_by_version_1(path, REGIONS)
    before = path.read_bytes()
    with VerdictStore(path, REGIONS, read_only=True) as store:
        assert store.all() == store.standing() == store.current() == (FIRST, OTHER)
    assert path.read_bytes() == before
    with VerdictStore(path, REGIONS) as store:
        assert store.all() == (FIRST, OTHER)
        store.append([FULL])
    with VerdictStore(path, REGIONS) as store:
        assert store.all() == (FIRST, OTHER, FULL)
    assert version_of(path) == ("2",)


def test_a_store_of_other_regions_is_not_brought_up_to_date(path):
    made_by_version_1(path, make_regions(make_region("r001", 3, 1)))
    with pytest.raises(VerdictError, match="other regions"):
        VerdictStore(path, REGIONS)
    assert version_of(path) == ("1",)


def test_everything_that_was_shown_is_kept(path):
    with VerdictStore(path, REGIONS) as store:
        store.append([FULL])
    with VerdictStore(path, REGIONS, read_only=True) as store:
        assert store.all() == (FULL,)
        with pytest.raises(VerdictError, match="readonly"):
            store.append([FIRST])


def test_reading_leaves_no_file_behind_and_sees_what_a_writer_has_written(path):
    with VerdictStore(path, REGIONS) as store:
        store.append([FIRST])
    with VerdictStore(path, REGIONS, read_only=True) as store:
        assert store.all() == (FIRST,)
    assert [each.name for each in path.parent.iterdir()] == ["verdicts.sqlite"]
    with VerdictStore(path, REGIONS) as writing:
        writing.append([SECOND])
        with VerdictStore(path, REGIONS, read_only=True) as store:
            assert store.all() == (FIRST, SECOND)


def test_only_shown_tiles_can_be_crossed_out():
    with pytest.raises(ValueError, match="only tiles that were shown"):
        Verdict("r001", "ada", Answer.CLASS, 6, machine=False, time="t", shown=(1, 2), crossed=(3,))


def test_an_event_is_stored_once(path):
    with VerdictStore(path, REGIONS) as store:
        assert store.add(FIRST, "key 1")
        assert not store.add(CHANGED, "key 1")
        assert store.add(FIRST, "key 2")
        assert store.all() == (FIRST, FIRST)


def test_undo_takes_back_the_last_verdict_that_stands(path):
    with VerdictStore(path, REGIONS) as store:
        store.append([FIRST, SECOND, OTHER, CHANGED])
        assert store.undo("ada", "undo 1", time="t")
        assert store.current() == (FIRST, SECOND, OTHER)
        assert not store.undo("ada", "undo 1", time="t")
        assert store.current() == (FIRST, SECOND, OTHER)
        assert store.undo("ada", "undo 2", time="t")
        assert store.undo("ada", "undo 3", time="t")
        assert not store.undo("ada", "undo 4", time="t")
        assert not store.undo("judges", "undo 5", time="t")
        assert store.standing() == (OTHER,)
        assert store.all() == (FIRST, SECOND, OTHER, CHANGED)


def test_an_opinion_and_an_adjudication_of_one_person_both_stand(path):
    last_word = replace(CHANGED, adjudicates=True)
    with VerdictStore(path, REGIONS) as store:
        store.append([FIRST, last_word])
        assert store.current() == (FIRST, last_word)


def test_a_block_that_fails_writes_nothing(path):
    with VerdictStore(path, REGIONS) as store:
        with pytest.raises(VerdictError, match="no name"), store.together():  # noqa: PT012 -- both belong to the block
            store.add(FIRST, "key 1")
            store.add(replace(FIRST, annotator=" "), "key 2")
        assert store.all() == ()


class TestBadInput:
    def test_bad_input_unknown_region(self, path):
        with (
            VerdictStore(path, REGIONS) as store,
            pytest.raises(VerdictError, match="verdict on r009: not among the 3"),
        ):
            store.append([Verdict("r009", "ada", Answer.NOT_AN_ERROR, None, machine=False, time="t")])

    def one_line(self, error):
        assert "\n" not in str(error.value)

    def test_bad_input_file_is_no_database(self, path):
        path.parent.mkdir()
        path.write_bytes(b"these are no verdicts" * 100)
        with pytest.raises(VerdictError, match=r"verdicts\.sqlite: cannot be used .*not a database") as error:
            VerdictStore(path, REGIONS)
        self.one_line(error)
        assert path.read_bytes().startswith(b"these are no verdicts")

    def test_bad_input_damaged_page(self, path):
        with VerdictStore(path, REGIONS) as store:
            store.append([FIRST] * 2000)
        data = bytearray(path.read_bytes())
        data[4096 * 4 :] = b"\xff" * (len(data) - 4096 * 4)
        path.write_bytes(data)
        with (
            pytest.raises(VerdictError, match=r"verdicts\.sqlite: cannot be used") as error,
            VerdictStore(path, REGIONS) as store,
        ):
            store.all()
        self.one_line(error)

    def test_bad_input_foreign_database(self, path):
        path.parent.mkdir()
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE songs (name TEXT)")
        connection.close()
        with pytest.raises(VerdictError, match="no verdict store"):
            VerdictStore(path, REGIONS)

    def test_bad_input_other_regions(self, path):
        VerdictStore(path, REGIONS).close()
        with pytest.raises(VerdictError, match=r"other regions \(\w{16}\) than this run's \(\w{16}\)"):
            VerdictStore(path, make_regions(make_region("r001", 3, 1)))

    def test_bad_input_other_version(self, path):
        VerdictStore(path, REGIONS).close()
        connection = sqlite3.connect(path)
        connection.execute("UPDATE about SET value = '99' WHERE key = 'version'")
        connection.commit()
        connection.close()
        with pytest.raises(VerdictError, match="expected a verdict store of version 1 or 2, got 99"):
            VerdictStore(path, REGIONS)

    def test_bad_input_path_is_a_folder(self, tmp_path):
        with pytest.raises(VerdictError, match="cannot be used"):
            VerdictStore(tmp_path, REGIONS)

    def test_bad_input_parent_is_a_file(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(VerdictError, match="cannot be used"):
            VerdictStore(tmp_path / "file" / "verdicts.sqlite", REGIONS)

    def test_bad_input_unknown_answer_in_the_file(self, path):
        with VerdictStore(path, REGIONS) as store:
            store._connection.execute(
                "INSERT INTO verdicts (region, annotator, answer, machine, time) VALUES ('r001', 'a', 'maybe', 0, 't')"
            )
            with pytest.raises(VerdictError, match="maybe"):
                store.all()
