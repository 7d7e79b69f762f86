# SPDX-License-Identifier: Apache-2.0
"""Deep linear JEPA and MAE: autograd, simulation and quadrature beside the closed forms; learning order."""

import math

import pytest
import torch

from conjoin.core import random
from conjoin.core.theory import (
    DeepLinearJEPA,
    DeepLinearMAE,
    JEPAFlow,
    MAEFlow,
    dynamic_pairs,
    static_pairs,
)

KINDS = {"jepa": (JEPAFlow, DeepLinearJEPA), "mae": (MAEFlow, DeepLinearMAE)}


def whitened_pairs(lam, rho):
    """Pairs whose sample moments are *exactly* those of the theory."""
    dim = len(lam)
    keys = random.fold(random.key(0, "test"), torch.arange(64))
    basis = (
        torch.linalg.qr(random.normal(keys, 2 * dim).double()).Q * 8
    )  # columns: mean square 1, uncorrelated
    x = basis[:, :dim] * (lam / rho).sqrt()
    return x, x * rho + basis[:, dim:]


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_equations_are_the_gradient_of_the_full_model(kind, depth):
    lam, rho = torch.tensor([1.0, 0.9, 0.3]).double(), torch.tensor([0.3, 1.2, 0.8]).double()
    x, y = whitened_pairs(lam, rho)
    flow, network = KINDS[kind]
    for eps in (0.05, 0.2):
        model = network(3, depth, eps)
        model(x, y).backward()
        w = torch.tensor(eps, dtype=torch.float64)
        for i in range(3):
            # d(product)/dt by the chain rule, each layer moving down its own gradient.
            each = [-layer.grad[i, i] * w ** ((depth - 1) / depth) for layer in model.layers]
            assert sum(each) == pytest.approx(
                float(flow(lam[i].item(), rho[i].item(), depth).rhs(w)), abs=1e-10
            )
        off = model.layers[0].grad - torch.diag(model.layers[0].grad.diagonal())
        assert off.abs().max() < 1e-10, "modes are coupled"


@pytest.mark.parametrize("network", [DeepLinearJEPA, DeepLinearMAE])
def test_balance_is_conserved(network):
    lam, rho = torch.tensor([1.0, 0.5]).double(), torch.tensor([0.9, 0.6]).double()
    x, y = whitened_pairs(lam, rho)
    model = network(2, 2, 0.3)
    with torch.no_grad():  # balanced, and not diagonal
        turn = torch.linalg.qr(
            random.normal(random.fold(random.key(1, "turn"), torch.arange(2)), 2).double()
        ).Q
        model.layers[0].copy_(turn @ model.layers[0])
        model.layers[1].copy_(model.layers[1] @ turn.T)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for _ in range(2000):
        optimizer.zero_grad()
        model(x, y).backward()
        optimizer.step()
    left = model.predictor.T @ model.predictor
    right = model.layers[1] @ model.layers[1].T
    assert torch.linalg.norm(left - right) < 1e-3 * torch.linalg.norm(left)
    assert model.product().diagonal().max() > 0.38, "nothing was learned"


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_closed_time_is_that_of_the_simulation(depth):
    flow = JEPAFlow(1.0, 0.8, depth)
    target = 0.9**depth * flow.fixed_point()  # 90 % of rho per layer
    time = flow.time_to(target, 0.05)
    reached = flow.simulate(0.05, torch.tensor([0.0, time]), steps=8000)[-1]
    assert reached == pytest.approx(target, rel=1e-4)
    assert super(JEPAFlow, flow).time_to(target, 0.05) == pytest.approx(time, rel=1e-9), "quadrature"


# (depth, eps): JEPA A, JEPA B, where A has lambda 1, rho .3 and B lambda .9, rho 1.2.
TIMES = {
    (1, 0.01): (104.558, 113.684),
    (2, 0.01): (545.093, 424.333),
    (2, 0.001): (12546.47, 12200.23),
    (3, 0.01): (689.646, 620.842),
    (3, 0.001): (34323.18, 24831.64),
}
# MAE A, MAE B. Figures in circulation for deeper ones follow from v^(2L - 1) in the flow of one layer, which
# the gradient of the network contradicts: it has v^L (test_equations_are_the_gradient_of_the_full_model).
MAE_TIMES = {(1, 0.01): (3.454, 4.608)}


@pytest.mark.parametrize(("depth", "eps"), TIMES)
def test_depth_inverts_the_order_of_jepa_and_not_of_mae(depth, eps):
    a, b = ((1.0, 0.3, depth), (0.9, 1.2, depth))

    def half(flow):
        return flow.time_to(flow.fixed_point() / 2, eps)

    found = half(JEPAFlow(*a)), half(JEPAFlow(*b))
    rebuilt = half(MAEFlow(*a)), half(MAEFlow(*b))
    assert found == pytest.approx(TIMES[depth, eps], rel=1e-3)
    if (depth, eps) in MAE_TIMES:
        assert rebuilt == pytest.approx(MAE_TIMES[depth, eps], rel=1e-3)
    assert (found[1] < found[0]) == (depth > 1)
    assert rebuilt[0] < rebuilt[1]


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_quadrature_of_mae_is_the_integrated_flow(depth):
    flow = MAEFlow(0.9, 1.2, depth)
    time = flow.time_to(flow.fixed_point() / 2, 0.01)
    reached = flow.simulate(0.01, torch.tensor([0.0, time]), steps=4000)[-1]
    assert float(reached) == pytest.approx(flow.fixed_point() / 2, rel=1e-6)


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_fixed_points(kind, depth):
    flow = KINDS[kind][0](1.0, 0.7, depth)
    end = 0.7**depth if kind == "jepa" else 0.7 ** (depth / (depth + 1))
    assert flow.fixed_point() == pytest.approx(end)
    assert float(flow.rhs(torch.tensor(end, dtype=torch.float64))) == pytest.approx(0, abs=1e-12)
    assert float(flow.simulate(0.1, torch.tensor([0.0, 400.0]), steps=4000)[-1]) == pytest.approx(
        end, abs=1e-6
    )


def test_one_layer_mae_has_a_closed_form():
    flow, eps, w = MAEFlow(0.7, 0.6, 1), 1e-2, 0.5
    q0, q = eps**2, w**2
    closed = math.log(q / q0 * (0.6 - q0) / (0.6 - q)) / (2 * 0.7)
    assert flow.time_to(w, eps) == pytest.approx(closed, rel=1e-10)


@pytest.mark.parametrize(("depth", "eps", "expected"), [(2, 1e-4, 339739.6), (3, 1e-3, None)])
def test_critical_time_of_jepa(depth, eps, expected):
    flow = JEPAFlow(1.0, 0.8, depth)
    terms = [1 / (n * 0.8 ** (2 * depth - n - 1) * eps ** (n / depth)) for n in range(1, 2 * depth)]
    assert flow.critical_time(eps) == pytest.approx(sum(terms))
    if expected:
        assert flow.critical_time(eps) == pytest.approx(expected, abs=0.1)
    exact = flow.time_to(flow.fixed_point() / 2, eps)
    # What is left grows like the logarithm of eps.
    assert abs(exact - flow.critical_time(eps)) < 5 * abs(math.log(eps)) / 0.8 ** (2 * depth)


@pytest.mark.parametrize("depth", [2, 3])
def test_critical_time_of_mae_leads(depth):
    flow = MAEFlow(1.0, 0.8, depth)
    ratios = [flow.time_to(flow.fixed_point() / 2, eps) / flow.critical_time(eps) for eps in (1e-3, 1e-8)]
    assert abs(ratios[1] - 1) < abs(ratios[0] - 1)
    assert ratios[1] == pytest.approx(1, abs=0.05)


def test_moments_of_the_pairs():
    signal, noise, memory = (torch.tensor(v) for v in ([2.0, 0.5], [1.0, 0.1], [0.9, -0.5]))
    x, y, latent = static_pairs(signal, noise, 200_000, seed=3)
    assert (x * y).mean(0).tolist() == pytest.approx([2.0, 0.5], rel=0.02)
    assert x.square().mean(0).tolist() == pytest.approx([3.0, 0.6], rel=0.02)
    assert (x * latent).mean(0).tolist() == pytest.approx([2.0, 0.5], rel=0.02)
    assert abs((x[:, 0] * y[:, 1]).mean()) < 0.02
    x, y, latent = dynamic_pairs(signal, memory, noise, 200_000, seed=3)
    assert (x * y).mean(0).tolist() == pytest.approx([1.8, -0.25], rel=0.03)
    assert y.square().mean(0).tolist() == pytest.approx([3.0, 0.6], rel=0.02)
    assert (x * latent).mean(0).tolist() == pytest.approx([2.0, 0.5], rel=0.02)


def half_rise_steps(model, x, y, steps, lr, ends):
    """Optimiser step at which each mode is half of its end, by minibatches of 1,000 rows."""
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    found = torch.full((len(ends),), math.inf, dtype=torch.float64)
    for step in range(steps):
        rows = slice(1000 * (step % 20), 1000 * (step % 20) + 1000)
        optimizer.zero_grad()
        model(x[rows], y[rows]).backward()
        optimizer.step()
        # Columns, not the diagonal: a common rotation of encoder and predictor changes no loss.
        risen = model.product().norm(dim=0) >= ends / 2
        found = torch.where(risen & found.isinf(), float(step), found)
    return found


def ranks(values):
    return values.argsort().argsort().double()


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "steps"), [("jepa", 18000), ("mae", 5000)])
def test_sampled_networks_learn_in_the_predicted_order(kind, steps):
    signal = torch.tensor([1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3])
    noise = torch.tensor([1.0, 0.1, 1.5, 0.05, 1.0, 0.02, 0.4, 0.01])
    x, y, _ = static_pairs(signal, noise, 20_000, seed=1)
    flow, network = KINDS[kind]
    flows = [flow(a, a / (a + n), 3) for a, n in zip(signal.tolist(), noise.tolist(), strict=True)]
    eps = 0.02
    assert all(mode.fixed_point() / 2 > eps for mode in flows)
    predicted = torch.tensor([mode.time_to(mode.fixed_point() / 2, eps) for mode in flows]).double()
    model = network(8, 3, eps)
    ends = torch.tensor([mode.fixed_point() for mode in flows]).double()
    found = half_rise_steps(model, x, y, steps, 0.05, ends)
    assert found.isfinite().all(), (
        f"not all modes rose: {found.tolist()}, predicted {(predicted / 0.05).tolist()}"
    )
    correlation = torch.corrcoef(torch.stack((ranks(found), ranks(predicted))))[0, 1]
    assert correlation >= 0.9, f"{found.tolist()} against {(predicted / 0.05).tolist()}"


def test_targets_have_no_gradient():
    model = DeepLinearJEPA(2, 1, 0.5)
    x, y = whitened_pairs(torch.ones(2).double(), torch.full((2,), 0.5).double())
    y.requires_grad_()
    model(x, y).backward()
    assert y.grad is None


@pytest.mark.slow
def test_stopped_early_jepa_keeps_the_informative_modes():
    """Four predictable modes of low variance beside four noisy ones of high variance."""
    signal = torch.tensor([0.6] * 4 + [1.0] * 4)
    noise = torch.tensor([0.02] * 4 + [4.0] * 4)
    x, y, latent = static_pairs(signal, noise, 20_000, seed=2)

    def error(features):
        """Share of the informative latents' variance that the 4 leading directions of the features leave."""
        axes = torch.linalg.eigh(features.T @ features / len(features))[1][:, -4:]
        kept = features @ axes
        wanted = latent[:, :4]
        rest = wanted - kept @ torch.linalg.lstsq(kept, wanted).solution
        return float(rest.square().sum() / wanted.square().sum())

    found = {}
    for kind, steps in (("jepa", 8000), ("mae", 1500)):
        model = KINDS[kind][1](8, 2, 0.02)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        best = math.inf
        for step in range(steps):
            rows = slice(1000 * (step % 20), 1000 * (step % 20) + 1000)
            optimizer.zero_grad()
            model(x[rows], y[rows]).backward()
            optimizer.step()
            if step % 50 == 49:  # the best moment to stop, for both
                with torch.no_grad():
                    best = min(best, error(model.encode(x)))
        found[kind] = best
    mix = random.normal(random.fold(random.key(4, "mix"), torch.arange(8)), 8).double()
    assert found["jepa"] < 0.7 * found["mae"], found
    assert found["jepa"] < 0.7 * error(x @ mix), found


@pytest.mark.parametrize(
    "values",
    [(0.0, 1.0, 1), (1.0, -1.0, 1), (1.0, 1.0, 0), (math.nan, 1.0, 1), (1.0, math.inf, 1), (1.0, 1.0, 1.5)],
)
def test_values_out_of_range_are_refused(values):
    with pytest.raises(ValueError, match="must be positive and depth at least 1"):
        JEPAFlow(*values)
    with pytest.raises(ValueError, match="dim and depth must be at least 1"):
        DeepLinearJEPA(0, 1)
    with pytest.raises(ValueError, match="whole numbers"):
        DeepLinearMAE(2, 1.5)


@pytest.mark.parametrize("flow", [JEPAFlow(1.0, 0.5, 1), JEPAFlow(1.0, 0.5, 2), MAEFlow(1.0, 0.5, 1)])
@pytest.mark.parametrize("eps", [0.0, -0.1, math.nan])
def test_a_start_is_positive(flow, eps):
    for call in (lambda: flow.critical_time(eps), lambda: flow.simulate(eps, torch.tensor([0.0, 1.0]))):
        with pytest.raises(ValueError, match="the start, must be positive"):
            call()


def test_times_and_steps_of_a_simulation_are_checked():
    flow = MAEFlow(1.0, 0.5, 2)
    with pytest.raises(ValueError, match="increasing order"):
        flow.simulate(0.1, torch.tensor([1.0, 0.0]))
    with pytest.raises(ValueError, match="At least one step"):
        flow.simulate(0.1, torch.tensor([0.0, 1.0]), steps=0)
    with pytest.raises(ValueError, match="ran away in steps of"):
        flow.simulate(0.1, torch.tensor([0.0, 1e5]), steps=10)


def test_moments_of_the_pairs_are_checked():
    one, two = torch.ones(1), torch.ones(2)
    with pytest.raises(ValueError, match="vectors of one length"):
        static_pairs(one, two, 3)
    with pytest.raises(ValueError, match="Variances are not negative"):
        static_pairs(-two, two, 3)
    for memory in (torch.tensor([0.5, 1.5]), one):
        with pytest.raises(ValueError, match="between -1 and 1"):
            dynamic_pairs(two, memory, two, 3)


@pytest.mark.parametrize("network", [DeepLinearJEPA, DeepLinearMAE])
def test_float32_pairs_are_taken(network):
    x, y = whitened_pairs(torch.ones(2).double(), torch.full((2,), 0.5).double())
    model = network(2, 2, 0.3)
    expected = model(x, y).item()
    assert model(x.float(), y.float()).item() == pytest.approx(expected, rel=1e-6)
    assert model.float()(x, y).item() == pytest.approx(expected, rel=1e-6)


def test_unreachable_values_are_refused():
    for flow in (JEPAFlow(1.0, 0.5, 2), MAEFlow(1.0, 0.5, 2)):
        for w, eps in ((flow.fixed_point(), 0.01), (0.005, 0.01), (0.1, 0.0)):
            with pytest.raises(ValueError, match="A time exists for"):
                flow.time_to(w, eps)
