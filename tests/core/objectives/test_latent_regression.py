# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from conjoin.core.objectives import LatentRegression, latent_regression, normalize_targets


def loop_smooth_l1(z, h, beta):
    """Element by element in Python floats."""
    total = 0.0
    for a, b in zip(z.flatten().tolist(), h.flatten().tolist(), strict=True):
        d = abs(a - b)
        total += 0.5 * d * d / beta if d < beta else d - beta / 2
    return total / z.numel()


def loop_layer_norm(h):
    rows = []
    for row in h.reshape(-1, h.shape[-1]).tolist():
        mean = sum(row) / len(row)
        var = sum((v - mean) ** 2 for v in row) / len(row)
        rows.append([(v - mean) / math.sqrt(var + 1e-5) for v in row])
    return torch.tensor(rows, dtype=torch.float64).view_as(h)


@pytest.fixture
def pair():
    g = torch.Generator().manual_seed(0)
    return (
        torch.randn(2, 3, 4, 5, generator=g, dtype=torch.float64) * 3,
        torch.randn(2, 3, 4, 5, generator=g, dtype=torch.float64) * 7 + 2,
    )


def test_hand_case():
    z = torch.tensor([0.0, 0.5, 3.0])
    # (0 + 0.125 + 2.5) / 3
    assert latent_regression(z, torch.zeros(3), normalization="none").item() == pytest.approx(2.625 / 3)


@pytest.mark.parametrize("beta", [1.0, 0.5, 2.0])
def test_smooth_l1_of_layer_normalised_targets_equals_loops(pair, beta):
    z, h = pair
    ours = latent_regression(z, h, beta=beta)
    assert ours.item() == pytest.approx(loop_smooth_l1(z, loop_layer_norm(h), beta), rel=1e-12)


def test_other_distances_equal_loops(pair):
    z, h = pair
    flat = list(zip(z.flatten().tolist(), h.flatten().tolist(), strict=True))
    l1 = sum(abs(a - b) for a, b in flat) / len(flat)
    l2 = sum((a - b) ** 2 for a, b in flat) / len(flat)
    assert latent_regression(z, h, distance="l1", normalization="none").item() == pytest.approx(l1)
    assert latent_regression(z, h, distance="l2", normalization="none").item() == pytest.approx(l2)
    cosines = []
    for a, b in zip(z.reshape(-1, 5).tolist(), h.reshape(-1, 5).tolist(), strict=True):
        dot = sum(x * y for x, y in zip(a, b, strict=True))
        cosines.append(2 - 2 * dot / math.dist(a, [0] * 5) / math.dist(b, [0] * 5))
    ours = latent_regression(z, h, distance="cosine", normalization="none").item()
    assert ours == pytest.approx(sum(cosines) / len(cosines))


@pytest.mark.parametrize("distance", ["smooth_l1", "l2", "l1", "cosine"])
def test_only_valid_positions_count(pair, distance):
    z, h = pair
    valid = torch.zeros(2, 3, 4, dtype=torch.bool)
    valid[0, 1, :3] = True
    ours = latent_regression(z, h, valid, distance=distance)
    alone = latent_regression(z[0, 1, :3], h[0, 1, :3], distance=distance)
    assert ours.item() == pytest.approx(alone.item(), rel=1e-12)


def test_whitened_targets_have_unit_covariance():
    g = torch.Generator().manual_seed(1)
    mix = torch.diag(torch.tensor([100.0, 1.0, 0.3], dtype=torch.float64)) @ torch.randn(
        3, 3, generator=g, dtype=torch.float64
    )
    targets = torch.randn(7, 40, 3, generator=g, dtype=torch.float64) @ mix + 5
    rows = targets.flatten(0, 1)
    whitened = normalize_targets(targets, "whiten").flatten(0, 1)
    covariance = (rows - rows.mean(0)).T @ (rows - rows.mean(0)) / len(rows)
    # Symmetric, and exactly the inverse root of the covariance with its ridge.
    root = torch.linalg.lstsq(rows - rows.mean(0), whitened).solution
    torch.testing.assert_close(root, root.T, rtol=1e-6, atol=1e-9)
    ridge = 0.01 * covariance.diag().mean() * torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(
        root @ (covariance + ridge) @ root, torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-8
    )
    torch.testing.assert_close(whitened.mean(0), torch.zeros(3, dtype=torch.float64), atol=1e-9, rtol=0)


def test_whitening_learns_from_valid_targets_alone(pair):
    _, h = pair
    valid = torch.zeros(2, 3, 4, dtype=torch.bool)
    valid[:, :2] = True
    moved = torch.where(valid[..., None], h, h * 50 + 3)
    ours = normalize_targets(moved, "whiten", valid)[valid]
    torch.testing.assert_close(ours, normalize_targets(h[:, :2], "whiten").flatten(0, 2))


def test_gradient_reaches_predictions_alone(pair):
    z, h = (t.clone().requires_grad_() for t in pair)
    latent_regression(z, h).backward()
    assert z.grad is not None
    assert h.grad is None
    assert torch.autograd.gradcheck(
        lambda a: latent_regression(a, pair[1]), (pair[0].clone().requires_grad_(),)
    )


def test_perfect_predictions_cost_nothing(pair):
    _, h = pair
    assert latent_regression(normalize_targets(h), h).item() == 0


def test_half_precision_is_computed_in_float32():
    z = torch.full((1, 4), 300.0, dtype=torch.float16)
    out = LatentRegression(distance="l2", normalization="none")(z, -z)  # (600)^2 overflows float16
    assert out.loss.dtype == torch.float32
    assert out.loss.item() == pytest.approx(360000.0)


def test_float32_inside_bf16_autocast(pair):
    z, h = (t.float() for t in pair)
    with torch.autocast("cpu", torch.bfloat16):
        inside = LatentRegression()(z, h).loss
    assert torch.equal(inside, LatentRegression()(z, h).loss)


def test_compiles_without_graph_breaks(pair):
    explanation = torch._dynamo.explain(LatentRegression())(*pair)
    assert explanation.graph_break_count == 0


@pytest.mark.parametrize(
    "options",
    [{"distance": "l3"}, {"normalization": "batch"}, {"beta": 0.0}],
    ids=["distance", "normalization", "beta"],
)
def test_wrong_options_are_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        LatentRegression(**options)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(2, 4\)"):
        latent_regression(torch.zeros(2, 3), torch.zeros(2, 4))


def test_repr():
    assert (
        repr(LatentRegression()) == "LatentRegression(distance='smooth_l1', normalization='layer', beta=1.0)"
    )


@pytest.mark.parametrize("distance", ["smooth_l1", "cosine"])
def test_positions_that_count_may_broadcast(distance):
    g = torch.Generator().manual_seed(0)
    z, h = torch.randn(2, 3, 5, 4, generator=g)
    valid = torch.tensor([True, False, True, True, False])
    wanted = latent_regression(z, h, valid.expand(3, 5), distance=distance)
    for shape in ((5,), (1, 5)):
        found = latent_regression(z, h, valid.view(shape), distance=distance)
        torch.testing.assert_close(found, wanted)
    for shape in ((3, 1, 5), (5, 1), (3, 5, 1), (2, 5)):
        with pytest.raises(ValueError, match="one entry per position"):
            latent_regression(z, h, torch.ones(shape, dtype=torch.bool), distance=distance)
