import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from defuse.distill.packing import CACHED, FEWEST, Packing, Padded

CPU = torch.device("cpu")


def precision_of(rng, latent, *, full, shape=(2, 3)):
    if not full:
        return torch.from_numpy(rng.normal(size=(*shape, latent)))
    root = rng.normal(size=(*shape, latent, latent))
    return torch.from_numpy(root + root.swapaxes(-1, -2))


@given(latent=st.integers(1, 12), full=st.booleans(), seed=st.integers(0, 2**32))
def test_one_product_evaluates_any_quadratic_function_and_sums_its_moments(latent, full, seed):
    rng = np.random.default_rng(seed)
    groups = [torch.from_numpy(rng.normal(size=(size, latent))) for size in (5, 3)]
    data, packing = Padded.join(groups), Packing(latent, full=full, device=CPU)
    constant, linear = (torch.from_numpy(rng.normal(size=(2, 3, *tail))) for tail in ((), (latent,)))
    precision = precision_of(rng, latent, full=full)
    coefficients = packing.coefficients(constant, linear, precision)
    responsibilities = torch.from_numpy(rng.uniform(size=(2, 3, 5)))
    scores = []

    def respond(features, start):
        assert start == 0
        scores.append(coefficients @ features)
        return responsibilities

    count, sums, second = packing.moments(packing.accumulate(data, 3, respond))
    matrix = precision if full else precision.diag_embed()
    for row, group in enumerate(groups):
        points, weights = group - group.mean(dim=0), responsibilities[row, :, : len(group)]
        quadratic = torch.einsum("ni,kij,nj->kn", points, matrix[row], points)
        expected = constant[row, :, None] + linear[row] @ points.T - 0.5 * quadratic
        torch.testing.assert_close(scores[0][row, :, : len(group)], expected)
        assert (scores[0][row, :, len(group) :] == 0).all()
        torch.testing.assert_close(count[row], weights.sum(dim=1))
        torch.testing.assert_close(sums[row], weights @ points)
        products = torch.einsum("kn,ni,nj->kij", weights, points, points)
        torch.testing.assert_close(second[row], products if full else products.diagonal(dim1=1, dim2=2))
        if full:
            assert torch.equal(second, second.mT)


@pytest.mark.parametrize(("latent", "components"), [(16, 100), (64, 100), (2, 1)])
def test_chunks_cover_every_code_once_and_stay_small(latent, components):
    packing = Packing(latent, full=True, device=CPU)
    data = Padded.join([torch.randn((5000, latent), dtype=torch.float64)])
    held, starts = [], []

    def respond(features, start):
        width = features.shape[2]
        held.append(width * (packing.features + components))
        starts.append((start, width))
        return features.new_ones((1, components, width))

    count, _, _ = packing.moments(packing.accumulate(data, components, respond))
    assert (count == 5000).all()
    assert max(held) <= max(CACHED, FEWEST * (packing.features + components))
    assert [start for start, _ in starts] == np.cumsum([0, *(width for _, width in starts[:-1])]).tolist()
