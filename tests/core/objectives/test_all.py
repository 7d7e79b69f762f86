# SPDX-License-Identifier: Apache-2.0
"""What holds for every objective: ranks do not matter, compilation, precision, gradients, micro-batches."""

import inspect
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from conjoin.core import objectives
from conjoin.core.objectives import ObjectiveOutput, StatefulObjective

sys.path.insert(0, str(Path(__file__).parent))
import parity
from catalogue import CASES, Case, cut, evaluate, net, rows

NAMES = [case.name for case in CASES]
STATEFUL = [case for case in CASES if isinstance(case.build(), StatefulObjective)]


@pytest.mark.slow
@pytest.mark.ddp
def test_two_ranks_are_one_process(ddp: Any) -> None:
    """Different rows per rank, an uneven last batch: value, gradient and state of three steps."""
    found = parity.worst(ddp(parity.on_rank))
    assert list(found) == NAMES
    wrong = {name: worst for name, worst in found.items() if not max(worst) <= 1e-10}
    assert not wrong


class MeanOverOwnRows(nn.Module):
    def forward(self, z: Tensor, t: Tensor) -> ObjectiveOutput:
        return ObjectiveOutput((z - t).square().mean())


OWN = Case("own rows", MeanOverOwnRows, lambda objective, z, t, batch: objective(z[0], t[0]))


def unequal(rank: int, world: int) -> dict[str, Any]:
    return parity.train(OWN, rank)


@pytest.mark.slow
@pytest.mark.ddp
def test_the_comparison_sees_a_mean_over_own_rows(ddp: Any) -> None:
    """With unequal rows such a mean is not the mean over all of them: the test above would fail."""
    alone = parity.train(OWN, None)
    value, gradient, _ = parity.errors(ddp(unequal)[0], alone)
    assert min(value, gradient) > 1e-5


def in_ddp(rank: int, world: int) -> tuple[Tensor, Tensor]:
    case = next(case for case in CASES if case.name == "VICReg")
    student = DistributedDataParallel(net(1))
    batch = cut(rows(20), 0, 11) if rank == 0 else cut(rows(20), 11, 20)
    out = evaluate(case, case.build(), student, net(2), batch)
    out.loss.backward()
    return out.loss.detach(), student.module.weight.grad


@pytest.mark.slow
@pytest.mark.ddp
def test_the_hooks_above_do_what_ddp_does(ddp: Any) -> None:
    case = next(case for case in CASES if case.name == "VICReg")
    student = net(1)
    out = evaluate(case, case.build(), student, net(2), rows(20))
    out.loss.backward()
    for value, gradient in ddp(in_ddp):
        torch.testing.assert_close(value, out.loss.detach(), rtol=1e-12, atol=0)
        torch.testing.assert_close(gradient, student.weight.grad, rtol=1e-10, atol=1e-13)


def test_every_public_objective_has_a_case() -> None:
    public = {
        name
        for name in objectives.__all__
        if inspect.isclass(cls := getattr(objectives, name)) and issubclass(cls, nn.Module)
    }
    assert public - {"StatefulObjective"} == {type(case.build()).__name__ for case in CASES}


def test_the_table_in_the_docs_has_every_case() -> None:
    page = (Path(__file__).parents[3] / "docs" / "objectives.md").read_text()
    table = page.split("<!-- DDP -->")[1].split("<!-- /DDP -->")[0]
    listed = [line.split("|")[1].strip() for line in table.strip().splitlines()[2:]]
    assert listed == NAMES, "run: python docs/objectives_ddp.py --write"
    for case in CASES:
        assert f"`{type(case.build()).__name__}`" in page.split("## State")[0]


def embeddings(count: int = 24, seed: int = 3) -> tuple[list[Tensor], list[Tensor], dict[str, Tensor]]:
    batch = rows(count, seed)
    with torch.no_grad():
        z, t = net(1)(batch["x"]), net(2)(batch["x"])
    return list(z.unbind(1)), list(t.unbind(1)), batch


# Weights, moment and codes depend on the embeddings, without gradient: these have tests of their own.
STOPPED = ("DCLW", "TiCo", "SwAV", "SwAV, queue")


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.name not in STOPPED], ids=lambda case: case.name
)
def test_gradient_is_that_of_the_value(case: Case) -> None:
    z, t, batch = embeddings(9)
    torch.manual_seed(0)
    objective = case.build().double().eval()

    def loss(*views: Tensor) -> Tensor:
        value: Tensor = case.call(objective, list(views), t, batch).loss
        return value

    views = [view.clone().requires_grad_() for view in z]
    assert torch.autograd.gradcheck(loss, views, eps=1e-6, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_second_derivatives_are_right_or_refused(case: Case) -> None:
    """A gradient penalty never gets a wrong number: hand-written gradients say that they are taken once."""
    z, t, batch = embeddings(9)
    torch.manual_seed(0)
    objective = case.build().double().eval()
    views = [view.clone().requires_grad_() for view in z]
    value = case.call(objective, views, t, batch).loss
    try:
        grads = torch.autograd.grad(value, views, create_graph=True, allow_unused=True)
    except RuntimeError as error:
        if "cannot be differentiated twice" not in str(error):
            raise
        return
    g = torch.Generator().manual_seed(0)
    weights = [torch.randn(view.shape, dtype=view.dtype, generator=g) for view in views]
    used = [(grad, weight) for grad, weight in zip(grads, weights, strict=True) if grad is not None]
    (found,) = torch.autograd.grad([(grad * weight).sum() for grad, weight in used], views[:1])
    step = 1e-5

    def slope(sign: int) -> Tensor:
        moved = [v.detach() + sign * step * w for v, w in zip(views, weights, strict=True)]
        moved = [v.requires_grad_() for v in moved]
        return torch.autograd.grad(case.call(objective, moved, t, batch).loss, moved[0])[0]

    torch.testing.assert_close(found, (slope(1) - slope(-1)) / (2 * step), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_two_passes_before_one_backward(case: Case) -> None:
    z, t, batch = embeddings(9)
    torch.manual_seed(0)
    objective = case.build().double()
    views = [view.clone().requires_grad_() for view in z]
    (case.call(objective, views, t, batch).loss + case.call(objective, views, t, batch).loss).backward()
    assert all(view.grad is None or view.grad.isfinite().all() for view in views)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_compiles_into_one_graph(case: Case) -> None:
    """Without a graph break (``fullgraph``), with the same value, gradient and state."""
    torch._dynamo.reset()
    z, t, batch = embeddings()
    views = [view.float().requires_grad_() for view in z]
    t = [view.float() for view in t]
    torch.manual_seed(0)
    plain, compiled = case.build(), case.build()
    compiled.load_state_dict(plain.state_dict())

    def loss(*views: Tensor) -> Tensor:
        value: Tensor = case.call(compiled, list(views), t, batch).loss
        return value

    quick = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for _ in range(2):  # state moves in between
        wanted = case.call(plain, views, t, batch).loss
        found = quick(*views)
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
        ours = torch.autograd.grad(found, views, allow_unused=True)
        theirs = torch.autograd.grad(wanted, views, allow_unused=True)
        for a, b in zip(ours, theirs, strict=True):
            if b is not None:
                torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(compiled.state_dict()[name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_full_precision_inside_autocast(case: Case) -> None:
    z, t, batch = embeddings()
    z, t = [v.bfloat16().float() for v in z], [v.bfloat16().float() for v in t]
    torch.manual_seed(0)
    inside, outside = case.build(), case.build()
    inside.load_state_dict(outside.state_dict())
    before = {name: value.clone() for name, value in outside.state_dict().items()}
    with torch.autocast("cpu", torch.bfloat16):
        found = case.call(inside, z, t, batch)
    wanted = case.call(outside, z, t, batch)
    assert found.loss.dtype == torch.float32
    assert torch.equal(found.loss, wanted.loss)
    for name, value in outside.state_dict().items():
        assert torch.equal(inside.state_dict()[name], value)
    # What a network hands over inside autocast is in bfloat16: here the same numbers.
    narrow = case.build()
    narrow.load_state_dict(before)
    half = case.call(narrow, [v.bfloat16() for v in z], [v.bfloat16() for v in t], batch)
    assert half.loss.dtype == torch.float32
    torch.testing.assert_close(half.loss, wanted.loss)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
@pytest.mark.parametrize("kind", ["zeros", "identical rows", "large", "tiny"])
def test_extreme_embeddings_give_finite_numbers(case: Case, kind: str) -> None:
    z, t, batch = embeddings()
    change = {
        "zeros": torch.zeros_like,
        "identical rows": lambda v: v[:1].expand_as(v).clone(),
        "large": lambda v: v * 1e6,
        "tiny": lambda v: v * 1e-8,
    }[kind]
    z, t = [change(v).float().requires_grad_() for v in z], [change(v).float() for v in t]
    if case.name.startswith("WMSE") and kind in ("zeros", "identical rows"):
        with pytest.raises(torch.linalg.LinAlgError):  # a singular covariance has no inverse
            case.call(case.build(), z, t, batch)
        return
    out = case.call(case.build(), z, t, batch)
    assert bool(out.loss.isfinite()), out
    out.loss.backward()
    assert all(bool(v.grad.isfinite().all()) for v in z if v.grad is not None)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_terms_are_detached_scalars(case: Case) -> None:
    z, t, batch = embeddings()
    views = [view.requires_grad_() for view in z]
    out = case.call(case.build().double(), views, t, batch)
    assert isinstance(out, ObjectiveOutput)
    assert out.loss.ndim == 0
    assert out.loss.requires_grad
    assert all(term.ndim == 0 and not term.requires_grad for term in out.terms.values())
    summands = {name: term for name, term in out.terms.items() if name != "temperature"}
    if summands:
        torch.testing.assert_close(sum(summands.values()), out.loss.detach())


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_targets_get_no_gradient(case: Case) -> None:
    z, t, batch = embeddings()
    targets = [view.clone().requires_grad_() for view in t]
    case.call(case.build().double(), [v.requires_grad_() for v in z], targets, batch).loss.backward()
    assert all(target.grad is None for target in targets)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_settings_are_printed(case: Case) -> None:
    text = repr(case.build())
    assert text.startswith(type(case.build()).__name__)
    assert "=" in text or case.name in ("BYOL", "SimSiam"), "these two have no settings"


@pytest.mark.parametrize("case", STATEFUL, ids=[case.name for case in STATEFUL])
def test_state_moves_once_per_optimiser_step(case: Case) -> None:
    """Two micro-batches and `advance` leave the state of one step over both; evaluation none."""
    z, t, batch = embeddings()
    torch.manual_seed(0)
    whole, parts = case.build().double(), case.build().double()
    parts.load_state_dict(whole.state_dict())
    parts.defer()
    before = {name: value.clone() for name, value in whole.state_dict().items()}
    case.call(whole.eval(), z, t, batch)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, before[name]), name
    whole.train()
    for step in range(2):
        case.call(whole, z, t, batch)
        for part in (slice(0, 10), slice(10, 24)):
            some = {name: value[part] for name, value in batch.items()}
            case.call(parts, [v[part] for v in z], [v[part] for v in t], some)
            assert parts.steps == step
        parts.advance()
        assert parts.steps == step + 1
        for name, value in whole.state_dict().items():
            torch.testing.assert_close(parts.state_dict()[name], value, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("case", STATEFUL, ids=[case.name for case in STATEFUL])
def test_state_survives_saving(case: Case) -> None:
    """Two steps, save, load into a new one, a third step: the same value as without the interruption."""
    z, t, batch = embeddings()
    torch.manual_seed(0)
    straight = case.build().double()
    for _ in range(2):
        case.call(straight, z, t, batch)
    resumed = case.build().double()
    resumed.load_state_dict(straight.state_dict())
    z = [v.roll(1, 0) for v in z]
    wanted = case.call(straight, z, t, batch).loss
    assert torch.equal(case.call(resumed, z, t, batch).loss, wanted)
