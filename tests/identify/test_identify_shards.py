import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from defuse.errors import RunError
from defuse.identify.shards import Shard, join, read_shard, write_shard
from defuse.records import Failures, ProposalCount


def shard(rows, latent=3, seed=0):
    rng = np.random.default_rng(seed)
    failures = Failures(
        seed=rng.integers(0, 2**40, rows),
        label=rng.integers(0, 9, rows),
        predicted=rng.integers(0, 9, rows),
        proposal=tuple(rng.choice(["beta_noise", "ü"], rows).tolist()),
        z=rng.standard_normal((rows, latent)).astype(np.float32),
        scores={"misclassified": rng.random(rows, np.float32), "keeps_label": rng.random(rows, np.float32)},
    )
    count = ProposalCount("beta_noise", 100 + rows, rows + 1, rows)
    return Shard(failures, count, {"z": (100 + rows, rows + 1), "a": (rows + 1, rows)}, (50, 40))


def same(first, second):
    for name in ("seed", "label", "predicted", "z"):
        one, other = getattr(first, name), getattr(second, name)
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)
    assert first.proposal == second.proposal
    assert list(first.scores) == list(second.scores)
    for name in first.scores:
        assert np.array_equal(first.scores[name], second.scores[name])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(rows=st.integers(0, 40), latent=st.integers(1, 6), seed=st.integers(0, 9))
def test_round_trip_and_equal_bytes(tmp_path, rows, latent, seed):
    written = shard(rows, latent, seed)
    write_shard(tmp_path / "a.parquet", written)
    write_shard(tmp_path / "b.parquet", written)
    read = read_shard(tmp_path / "a.parquet")
    same(read.failures, written.failures)
    assert read.count == written.count
    assert list(read.gates.items()) == list(written.gates.items())  # the order of testing comes back
    assert read.seeds == written.seeds
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


@pytest.mark.parametrize("folder", ["seed=3", "score_x=1", "_hidden", ".dot", "a b"])
def test_names_of_folders_are_no_columns(tmp_path, folder):
    write_shard(tmp_path / folder / "s.parquet", shard(5))
    same(read_shard(tmp_path / folder / "s.parquet").failures, shard(5).failures)


def test_join_puts_failures_one_after_another():
    parts = [shard(rows, seed=rows).failures for rows in (3, 0, 2)]
    joined = join(parts)
    assert len(joined) == 5
    assert np.array_equal(joined.z, np.concatenate([part.z for part in parts]))
    assert joined.proposal == parts[0].proposal + parts[2].proposal
    assert np.array_equal(joined.scores["keeps_label"][3:], parts[2].scores["keeps_label"])
    same(join([parts[0]]), parts[0])


def test_bad_input_any_cut_is_noticed(tmp_path):
    path = tmp_path / "s.parquet"
    write_shard(path, shard(20))
    whole = path.read_bytes()
    for kept in range(0, len(whole), max(1, len(whole) // 50)):
        path.write_bytes(whole[:kept])
        with pytest.raises(RunError, match="damaged shard"):
            read_shard(path)


def test_bad_input_missing(tmp_path):
    with pytest.raises(RunError, match=r"s\.parquet: damaged shard"):
        read_shard(tmp_path / "s.parquet")
