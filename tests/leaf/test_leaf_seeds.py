import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from defuse.seeds import derive, numpy_rng, torch_rng

paths = st.lists(st.one_of(st.text("ab/:1int", max_size=8), st.integers(0, 20)), max_size=4).map(tuple)


def test_values_are_stable():
    """Stored runs depend on these numbers: a change of them is a change of every result."""
    assert derive(0) == 3456079177858693020
    assert derive(7, "identify", 3) == 1254765606674506175


@given(st.integers(0, 2**40), paths)
def test_seeds_fit_every_generator(seed, path):
    value = derive(seed, *path)
    assert 0 <= value < 2**63
    assert value == derive(seed, *path)


@given(paths, paths)
def test_different_paths_give_different_seeds(first, second):
    assert (derive(0, *first) == derive(0, *second)) == (first == second)


def test_look_alikes_give_different_seeds():
    look_alikes = [("a", "b"), ("ab",), ("b", "a"), ("a/b",), ("a/str:b",), ("a",), (1,), ("1",), ("int:1",), ()]
    assert len({derive(0, *path) for path in look_alikes}) == len(look_alikes)
    assert derive(1) != derive(0, 1) != derive(0, "1")


def test_streams_are_the_seed_s_own():
    assert np.array_equal(numpy_rng(1, "x").random(4), np.random.default_rng(derive(1, "x")).random(4))
    expected = torch.rand(4, generator=torch.Generator().manual_seed(derive(1, "x")))
    assert torch.equal(torch.rand(4, generator=torch_rng(1, "x")), expected)


def test_global_random_state_is_untouched():
    before_torch, before_numpy = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002  what is tested
    torch.rand(3, generator=torch_rng(0, "x"))
    numpy_rng(0, "x").random(3)
    assert torch.equal(torch.random.get_rng_state(), before_torch)
    assert np.array_equal(np.random.get_state()[1], before_numpy)  # noqa: NPY002  as above
