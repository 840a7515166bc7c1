from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from identify_toys import CLASSES, SETTINGS, Toys
from torch import nn

from defuse.classifiers import TorchClassifier
from defuse.identify import BetaNoise, GradientSearch, PosteriorNoise, StyleTransfer
from defuse.identify.budget import LEAST, round_ends, share_out, yields
from defuse.identify.shards import Shard, read_shard
from defuse.records import Failures, ProposalCount


def shard(kinds, candidates=100):
    """A shard with failures of these (seed, label, predicted)."""
    seed, label, predicted = np.array(kinds, dtype=np.int64).reshape(-1, 3).T
    none = np.zeros((len(seed), 2), dtype=np.float32)
    failures = Failures(seed, label, predicted, ("p",) * len(seed), none, {})
    return Shard(failures, ProposalCount("p", candidates, len(seed), len(seed)), {}, (1, 1))


def test_yield_is_distinct_failures_for_the_budget_spent():
    one, same, other = (5, 0, 1), (5, 0, 1), (5, 0, 2)
    shards = [shard([one, same]), shard([]), shard([one, other]), shard([one], candidates=300)]
    found = yields([0, 1, 0, 1], shards, [1, 10])
    assert found == [(1 + 2) / 200, (1 + 1) / (10 * 400)]


@given(st.integers(1, 400), st.integers(1, 12), st.integers(1, 4))
def test_rounds_end_with_the_last_shard_and_give_every_proposal_a_turn(shards, rounds, proposals):
    ends = round_ends(shards, rounds, proposals)
    sizes = np.diff([0, *ends])
    assert ends[-1] == shards
    assert 1 <= len(ends) <= rounds
    assert sizes.max() - sizes.min() <= 1
    if shards >= proposals:
        assert sizes.min() >= proposals


@given(st.integers(0, 200), st.lists(st.floats(1e-9, 1.0), min_size=1, max_size=5))
def test_turns_follow_the_weights_to_within_one_shard_at_every_moment(shards, weights):
    turns = share_out(shards, weights)
    parts = LEAST / len(weights) + (1 - LEAST) * np.array(weights) / sum(weights)
    given_out = np.cumsum(np.eye(len(weights))[turns], axis=0) if turns else np.zeros((0, len(weights)))
    wanted = np.arange(1, shards + 1)[:, None] * parts
    assert len(turns) == shards
    assert (given_out - wanted < 1 + 1e-6).all()
    assert (wanted - given_out <= len(weights)).all()


def test_equal_weights_take_turns():
    assert share_out(7, [2.0, 2.0, 2.0]) == [0, 1, 2, 0, 1, 2, 0]


class TestSearch:
    settings = replace(
        SETTINGS, budget=3_000, rounds=3, proposals=(PosteriorNoise(scale=0.2), StyleTransfer(scale=3.0))
    )

    def turns(self, folder):
        return [read_shard(folder / f"shard-{number}.parquet").count.proposal for number in range(self.settings.shards)]

    def test_later_rounds_go_where_distinct_failures_were(self, tmp_path):
        Toys().run(tmp_path, self.settings)
        turns = self.turns(tmp_path)
        ends = round_ends(len(turns), 3, 2)
        first, last = Counter(turns[: ends[0]]), Counter(turns[ends[1] :])
        assert abs(first["posterior_noise"] - first["style_transfer"]) <= 1
        assert last["style_transfer"] > first["style_transfer"]
        assert last["posterior_noise"] >= 1

    @pytest.mark.parametrize("lost", [0, 8, 15, 19])
    def test_a_search_that_was_stopped_takes_the_same_turns(self, tmp_path, lost):
        """Rounds are decided from complete shards, so that it matters nowhere the search was stopped."""
        whole = Toys().run(tmp_path, self.settings)
        for number in range(lost, self.settings.shards):
            (tmp_path / f"shard-{number}.parquet").unlink()
        again = Toys().run(tmp_path, self.settings)
        assert np.array_equal(whole.failures.z, again.failures.z)
        assert whole.search.counts == again.search.counts

    def test_one_round_takes_turns_whatever_comes(self, tmp_path):
        settings = replace(self.settings, rounds=1, proposals=(*self.settings.proposals, BetaNoise()))
        found = Toys().run(tmp_path, settings)
        assert [count.candidates for count in found.search.counts] == [1_000] * 3

    def test_a_costly_proposal_draws_as_many_fewer_candidates(self, tmp_path):
        layer = nn.Linear(4, 3)
        with torch.no_grad():  # the class is the third pixel's; the first decides against it, without a step
            layer.weight.copy_(torch.tensor([[0.0, 0, -9, 0], [4, 0, 0, 0], [0, 0, 9, 0]]))
            layer.bias.copy_(torch.tensor([2.0, 0, -5]))
        proposals = (PosteriorNoise(), GradientSearch(steps=2))
        classifier = TorchClassifier(nn.Sequential(nn.Flatten(), layer), CLASSES)
        settings = replace(self.settings, rounds=1, proposals=proposals)
        Toys(classifier=classifier).run(tmp_path, settings)
        for number in range(settings.shards):
            count = read_shard(tmp_path / f"shard-{number}.parquet").count
            cost = {proposal.name: proposal.cost for proposal in proposals}[count.proposal]
            assert cost == (1 if number % 2 == 0 else 5)
            assert count.candidates == settings.candidates(number) // cost
