# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch.nn.functional import normalize

from conjoin.core.objectives import TiCo


def batches(steps, rows=6, dim=4):
    g = torch.Generator().manual_seed(0)
    return torch.randn(steps, 2, rows, dim, dtype=torch.float64, generator=g) * 7


def test_contrast_is_the_weighted_history_of_squared_cosines():
    """Five steps against the explicit sum over all past embeddings."""
    objective, beta, rho = TiCo(4).double(), 0.9, 8.0
    history = []
    for step, (z, t) in enumerate(batches(5)):
        out = objective(z, t)
        u, v = normalize(z, dim=1).tolist(), normalize(t, dim=1).tolist()
        history.append(u)
        contrast = 0.0
        for row in u:
            for past, rows in enumerate(history):
                for other in rows:
                    square = sum(a * b for a, b in zip(row, other, strict=True)) ** 2
                    contrast += (1 - beta) * beta ** (step - past) * square / len(rows) / len(u)
        cosine = sum(a * b for x, y in zip(u, v, strict=True) for a, b in zip(x, y, strict=True)) / len(u)
        assert out.terms["contrast"].item() == pytest.approx(rho * contrast, rel=1e-10)
        assert out.terms["alignment"].item() == pytest.approx(1 - cosine, rel=1e-10)
        assert objective.memory.trace().item() == pytest.approx(1 - beta ** (step + 1))
    values = torch.linalg.eigvalsh(objective.memory)
    assert torch.equal(objective.memory, objective.memory.T)
    assert values.min() > 0
    assert values.max() < 1


def test_known_values():
    eye, ones = torch.eye(4, dtype=torch.float64), torch.ones(3, 4, dtype=torch.float64)
    assert TiCo(4).double()(eye, eye).loss.item() == pytest.approx(0.2)
    assert TiCo(4).double()(ones, ones).loss.item() == pytest.approx(0.8)
    assert TiCo(4, constant=False).double()(eye, eye).loss.item() == pytest.approx(-0.8)


def test_gradient_of_the_moment_is_an_option():
    """With it, the contrast of the first step is a fourth-order form: twice the gradient along each row."""
    z = batches(1)[0, 0].requires_grad_()
    gradients = []
    for option in (False, True):
        objective = TiCo(4, moment_gradient=option, rho=1.0).double()
        contrast = objective(z, torch.zeros(6, 4)).loss
        gradients.append(torch.autograd.grad(contrast, z)[0])
    torch.testing.assert_close(gradients[1], 2 * gradients[0])


def test_evaluation_leaves_the_memory():
    objective = TiCo(4).double()
    z, t = batches(1)[0]
    trained = objective(z, t).loss
    kept = objective.memory.clone()
    objective.eval()
    assert objective(z, t).loss != trained, "the memory counts"
    assert torch.equal(objective.memory, kept)


@pytest.mark.parametrize("options", [{"rho": -1.0}, {"beta": 1.0}])
def test_wrong_options_are_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        TiCo(4, **options)
