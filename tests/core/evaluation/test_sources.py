# SPDX-License-Identifier: Apache-2.0
"""What is evaluated, and how it is embedded."""

import contextlib
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import conjoin.core.checkpoint
from conjoin.core.evaluation import evaluate
from conjoin.core.evaluation.sources import sources

sys.path.insert(0, str(Path(__file__).parent))
from standin import Data, Model


def test_the_teacher_comes_first_and_baselines_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def fresh(model: Any) -> Model:
        made.append(model)
        return Model(trained=False).eval()

    monkeypatch.setattr(conjoin.core.checkpoint, "fresh", fresh)
    model, batch = Model().eval(), next(iter(Data().evaluation_dataloader("val")))
    found = iter(sources(model, ("raw", "random"), Data(), (1,), contextlib.nullcontext))
    teacher = next(found)
    assert (teacher.name, teacher.model) == ("teacher", model)
    assert not made
    untrained, raw = found
    assert (untrained.name, raw.name, raw.model, raw.tokens) == ("random init", "raw input", None, None)
    assert made == [model]
    with torch.no_grad():
        for source in (teacher, untrained, raw):
            (only,) = source.choices(batch)
            assert torch.equal(only, source.embed(batch))
        assert (teacher.embed(batch).shape[1], untrained.embed(batch).shape[1]) == (3, 2)
    assert torch.equal(raw.embed(batch), batch["x"].flatten(1))


def test_embeds_in_the_precision_that_is_asked_for() -> None:
    class Watching(Model):
        def embed(self, batch: Any) -> torch.Tensor:
            seen.append(torch.is_autocast_enabled("cpu"))
            return super().embed(batch)

    for wanted in (True, False):
        seen: list[bool] = []
        options: dict[str, Any] = (
            {"precision": lambda: torch.autocast("cpu", torch.bfloat16)} if wanted else {}
        )
        evaluate(Watching(), Data(), budgets=(None,), baselines=("raw",), progress=False, **options)
        assert seen
        assert set(seen) == {wanted}
