from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defuse.identify.coverage import POINTS, coverage_curve, good_turing
from defuse.identify.shards import Shard
from defuse.records import Failures, ProposalCount


def shard(pairs, proposal="posterior_noise", candidates=100):
    labels, answers = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
    failures = Failures(
        seed=np.zeros(len(pairs), dtype=np.int64),
        label=labels,
        predicted=answers,
        proposal=(proposal,) * len(pairs),
        z=np.zeros((len(pairs), 2), dtype=np.float32),
        scores={},
    )
    return Shard(failures, ProposalCount(proposal, candidates, len(pairs), len(pairs)), {}, (1, 1))


def test_it_is_one_less_the_share_seen_once():
    assert good_turing(Counter()) is None
    assert good_turing(Counter("a")) == 0
    assert good_turing(Counter("aabc")) == pytest.approx(1 - 2 / 4)
    assert good_turing(Counter("aabb")) == 1


@given(st.integers(0, 1000))
def test_it_foretells_the_share_of_kinds_seen_already(seed):
    """Against the truth, which is known here: kinds drawn from a fixed law."""
    rng = np.random.default_rng(seed)
    law = rng.dirichlet(np.full(40, 0.3))
    drawn = rng.choice(40, size=3000, p=law)
    assert good_turing(Counter(drawn.tolist())) == pytest.approx(law[np.unique(drawn)].sum(), abs=0.02)


def test_the_curve_counts_the_first_proposal_alone():
    curve = coverage_curve(
        [
            shard([(0, 1), (0, 1)]),
            shard([(5, 6), (7, 8)], "style_transfer"),
            shard([(0, 1), (2, 3)], candidates=50),
            shard([(9, 8)], "style_transfer"),
        ]
    )
    assert [(at.candidates, at.kept, at.confusions) for at in curve] == [(100, 2, 1), (150, 4, 2)]
    assert [at.covered for at in curve] == [1.0, 0.75]


@given(st.integers(1, 40))
def test_the_curve_has_ten_points_at_most_and_ends_at_the_end(count):
    curve = coverage_curve([shard([(0, 1)])] * count)
    assert len(curve) == min(count, POINTS)
    assert curve[-1].candidates == 100 * count
    assert [at.candidates for at in curve] == sorted({at.candidates for at in curve})


def test_nothing_found_is_nothing_known():
    assert [at.covered for at in coverage_curve([shard([])] * 3)] == [None] * 3
