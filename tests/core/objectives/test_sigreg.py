# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from conjoin.core.objectives import LeJEPA, SIGReg, epps_pulley, sigreg
from conjoin.core.objectives.sigreg import directions

ONE = torch.ones(1, 1, dtype=torch.float64)


def column(values):
    return torch.tensor(values, dtype=torch.float64).view(1, -1, 1)


def closed_form(x):
    """The statistic over the infinite line, from the Gaussian integrals of its three parts."""
    count = len(x)
    pairs = sum(math.exp(-((a - b) ** 2) / 2) for a in x for b in x) / count**2
    single = sum(math.exp(-(a**2) / 4) for a in x) / count
    return count * math.sqrt(2 * math.pi) * (pairs - math.sqrt(2) * single + 1 / math.sqrt(3))


def trapezoid(x, t_max, nodes):
    """The rule on the whole of [-t_max, t_max] with ``nodes`` nodes, in Python floats."""
    step, total = 2 * t_max / (nodes - 1), 0.0
    for k in range(nodes):
        t = -t_max + k * step
        cos = sum(math.cos(t * v) for v in x) / len(x)
        sin = sum(math.sin(t * v) for v in x) / len(x)
        gauss = math.exp(-t * t / 2)
        total += ((cos - gauss) ** 2 + sin**2) * gauss * step * (0.5 if k in (0, nodes - 1) else 1)
    return len(x) * total


SAMPLES = {
    0.4020475798: [0.0],
    0.2056592319: [-1.0, 1.0],
    2.3720116110: [1.0, 1.0],
    0.2288283584: [-1.5, -0.5, 0.5, 1.5],
}


@pytest.mark.parametrize(("value", "x"), SAMPLES.items())
def test_known_values(value, x):
    assert epps_pulley(column(x), ONE).item() == pytest.approx(value, abs=1e-9)
    assert epps_pulley(column(x), ONE).item() == pytest.approx(trapezoid(x, 3, 33), rel=1e-12)
    assert epps_pulley(column(x), ONE, 12.0, 8001).item() == pytest.approx(closed_form(x), rel=1e-9)


@pytest.mark.parametrize("scale", [1e-6, 10.0, 1e4])
def test_extreme_samples(scale):
    x = [v * scale for v in (-1.5, 0.3, 0.9, 2.0, -0.4)]
    assert epps_pulley(column(x), ONE, 5.0, 41).item() == pytest.approx(trapezoid(x, 5, 81), rel=1e-9)


def test_collapse_grows_with_the_samples():
    values = [epps_pulley(torch.zeros(1, n, 1, dtype=torch.float64), ONE).item() for n in (1, 10, 100)]
    assert values == pytest.approx([0.4020475798, 4.020475798, 40.20475798])


def test_mean_under_the_null_hypothesis():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(1, 64, 2048, dtype=torch.float64, generator=g)
    eye = torch.eye(2048, dtype=torch.float64)
    assert epps_pulley(x, eye).mean().item() == pytest.approx(1.0525, abs=0.05)


def test_chunks_and_float32_change_nothing():
    g = torch.Generator().manual_seed(0)
    z = torch.randn(2, 30, 8, dtype=torch.float64, generator=g, requires_grad=True)
    a = directions(5, torch.tensor(0), 20, 8)
    wanted = epps_pulley(z, a)
    (slope,) = torch.autograd.grad(wanted.sum(), z)
    for chunk in (1, 7, 20):
        found = epps_pulley(z, a, chunk=chunk)
        torch.testing.assert_close(found, wanted)
        torch.testing.assert_close(torch.autograd.grad(found.sum(), z)[0], slope)
    short = epps_pulley(z.float(), a.float())
    torch.testing.assert_close(short.double(), wanted, rtol=1e-4, atol=1e-5)


def test_rotating_data_and_directions_together():
    g = torch.Generator().manual_seed(0)
    z = torch.randn(2, 20, 6, dtype=torch.float64, generator=g)
    q = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64, generator=g)).Q
    a = directions(1, torch.tensor(3), 9, 6)
    torch.testing.assert_close(sigreg(list(z @ q), a @ q), sigreg(list(z), a))


def test_pooling_views_is_one_test_of_all_rows():
    z = torch.randn(3, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    a = directions(1, torch.tensor(0), 8, 4)
    torch.testing.assert_close(sigreg(list(z), a, pool_views=True), sigreg([z.flatten(0, 1)], a))
    assert not torch.isclose(sigreg(list(z), a, pool_views=True), sigreg(list(z), a))


def test_directions_are_new_each_step_and_follow_seed_and_step():
    objective, other = SIGReg(slices=8, seed=1), SIGReg(slices=8, seed=2)
    z = torch.randn(2, 10, 4, generator=torch.Generator().manual_seed(0))
    first, second = objective(z).loss, objective(z).loss
    assert first != second
    assert objective.steps == 2
    assert other(z).loss != first
    again = SIGReg(slices=8, seed=1)
    again.steps.fill_(1)
    assert torch.equal(again(z).loss, second)
    a = directions(3, torch.tensor(2), 1000, 3)
    torch.testing.assert_close(a.norm(dim=1), torch.ones(1000, dtype=torch.float64))
    assert a.mean(0).abs().max() < 0.06


def test_lejepa_weighs_and_centres_on_global_views():
    z = torch.randn(3, 10, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    out = LeJEPA(weight=0.3, global_views=2, slices=8, seed=1)(z)
    total = 0.0
    for n in range(10):
        for k in range(4):
            centre = (z[0, n, k] + z[1, n, k]).item() / 2
            total += sum((centre - z[v, n, k].item()) ** 2 for v in range(3))
    assert out.terms["invariance"].item() == pytest.approx(0.7 * total / 120)
    torch.testing.assert_close(out.terms["sigreg"], 0.3 * SIGReg(slices=8, seed=1)(z).loss)
    same = LeJEPA(slices=8)(z[0], z[0], z[0])
    assert same.terms["invariance"].item() == pytest.approx(0, abs=1e-30)


def test_lejepa_sends_gradient_to_every_view():
    z = torch.randn(3, 10, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    LeJEPA(weight=0.0, global_views=2)(z).loss.backward()
    assert bool((z.grad.abs().sum(dim=(1, 2)) > 0).all())


def test_the_backward_pass_stores_the_input_alone():
    z = torch.randn(2, 64, 16, requires_grad=True)
    a = torch.randn(256, 16)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        epps_pulley(z, a, chunk=4)
    assert max(kept) <= 2 * 17 * 2 * 256  # the sums; the projections are 2 * 64 * 256 per node


@pytest.mark.parametrize("options", [{"slices": 0}, {"t_max": 0.0}, {"n_points": 1}, {"chunk": 0}])
def test_wrong_options_are_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        SIGReg(**options)


@pytest.mark.parametrize("options", [{"weight": 1.5}, {"global_views": 0}])
def test_wrong_options_of_lejepa_are_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        LeJEPA(**options)
