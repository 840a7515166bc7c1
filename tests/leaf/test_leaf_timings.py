import pytest

from defuse.timings import Timings


def test_time_adds_up_however_a_block_ends(tmp_path):
    timings = Timings(tmp_path / "timings.json")
    with timings.of("search"):
        pass
    with pytest.raises(KeyboardInterrupt), timings.of("search"):
        raise KeyboardInterrupt
    assert timings.read().keys() == {"search"}


def test_a_stage_that_was_done_keeps_its_time_and_counts_as_none_where_a_kill_lost_it(tmp_path):
    timings = Timings(tmp_path / "timings.json")
    timings.path.write_text('{"search": 12.5}', encoding="utf-8")
    for stage in ("search", "judges"):
        with timings.of(stage, done=True):
            pass
    assert timings.read() == {"search": 12.5, "judges": 0.0}
