# SPDX-License-Identifier: Apache-2.0
"""Models that collapse on purpose are warned of before their run ends; healthy ones are left alone."""

import math
from dataclasses import replace

import lightning.pytorch as pl
import pytest
import torch
from torch import nn

from conjoin.core.callbacks import ProjectionCollapse, Reading, RepresentationMonitor
from conjoin.core.callbacks.monitor import _projection_spread
from conjoin.core.data import DataModule
from conjoin.core.methods import Contrastive, Head, RedundancyReduction, SelfDistillation
from conjoin.core.nn import Transformer, sincos_positions
from conjoin.core.objectives import BYOL, DINO, BarlowTwins, LeJEPA, NTXent, SimSiam, SwAV, TiCo, VICReg
from conjoin.core.optim import Optim
from conjoin.core.transforms import Crop, Noise, Scale, ViewGroup, Views

GOOD = Reading(100, 40.0, math.nan, 0.9, True, True, projection_std=0.8, projection_scale=1.0)


def test_the_rule_speaks_below_its_thresholds_only():
    rule = ProjectionCollapse(threshold=0.3, fraction=0.1)
    for fine in ({}, {"projection_std": 0.3}, {"projection_scale": 0.1}):
        assert rule.check(replace(GOOD, **fine), GOOD) is None
    parallel = rule.check(replace(GOOD, projection_std=0.29), None)
    assert "deviation 0.29, threshold 0.3" in parallel
    shrunk = rule.check(replace(GOOD, projection_scale=0.09), replace(GOOD, step=7))
    assert "0.09 of what they did at step 7" in shrunk
    assert rule.check(replace(GOOD, projection_scale=0.09), None) is None


def test_a_system_without_projections_is_not_judged():
    nothing = replace(GOOD, projection_std=math.nan, projection_scale=math.nan)
    assert ProjectionCollapse().check(nothing, nothing) is None


def test_deviations_of_projections():
    torch.manual_seed(0)
    z = torch.randn(4000, 16)
    spread = _projection_spread({"projection": z})
    assert spread["projection_std"] == pytest.approx(1, abs=0.01)  # evenly over all directions
    assert spread["projection_scale"] == pytest.approx(1, abs=0.01)
    longer = _projection_spread({"projection": 7 * z})
    assert longer["projection_std"] == pytest.approx(spread["projection_std"])
    assert longer["projection_scale"] == pytest.approx(7 * spread["projection_scale"])
    same = _projection_spread({"projection": torch.ones(50, 16)})
    assert same == pytest.approx({"projection_std": 0, "projection_scale": 0}, abs=1e-6)
    few = z[:40].double()
    unit = few / few.norm(dim=1, keepdim=True)
    found = _projection_spread({"projection": z[:40]})
    assert found["projection_std"] == pytest.approx(sum(unit[:, k].std().item() for k in range(16)) / 4)
    assert found["projection_scale"] == pytest.approx(sum(few[:, k].std().item() for k in range(16)) / 16)
    assert _projection_spread({}) == {}
    assert _projection_spread({"projection": torch.full((5, 4), math.nan)})["projection_std"] == 0


def on_a_rank(rank, world):
    z = torch.randn(40, 8, generator=torch.Generator().manual_seed(1))
    return _projection_spread({"projection": z[:25] if rank == 0 else z[25:]})


@pytest.mark.ddp
def test_two_ranks_measure_what_one_does(ddp):
    z = torch.randn(40, 8, generator=torch.Generator().manual_seed(1))
    for found in ddp(on_a_rank):
        assert found == pytest.approx(_projection_spread({"projection": z}), rel=1e-9)


class Blobs(DataModule):
    """Pictures of 16 x 16 with one of eight smooth patterns at a random brightness and place."""

    num_classes = 8

    def build(self, split):
        generator = torch.Generator().manual_seed(5)
        coarse = torch.randn(8, 1, 4, 4, generator=generator)
        pattern = nn.functional.interpolate(coarse, size=16, mode="bicubic")
        label = torch.arange(512) % 8
        shift = torch.randint(-3, 4, (512, 2), generator=generator)
        x = [p.roll(tuple(s.tolist()), (1, 2)) for p, s in zip(pattern[label], shift, strict=True)]
        x = torch.stack(x) + 0.3 * torch.randn(512, 1, 16, 16, generator=generator)
        return [{"x": a, "label": int(b)} for a, b in zip(x, label, strict=True)]


class SmallViT(nn.Module):
    embed_dim = 32

    def __init__(self):
        super().__init__()
        self.project = nn.Linear(16, 32)
        self.register_buffer("positions", sincos_positions((4, 4), 32))
        self.transformer = Transformer(32, depth=2, heads=2, init="xavier")

    def forward(self, x, keep=None):
        patches = x.unfold(2, 4, 4).unfold(3, 4, 4).flatten(1, 3).flatten(2)
        return self.transformer(self.project(patches) + self.positions)


class SmallCNN(nn.Module):
    embed_dim = 32

    def __init__(self):
        super().__init__()
        layers = []
        for inside, outside in ((1, 16), (16, 32), (32, 32)):
            layers += [nn.Conv2d(inside, outside, 3, 2, 1), nn.BatchNorm2d(outside), nn.ReLU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, x, keep=None):
        return self.layers(x).flatten(2).transpose(1, 2)


VIEWS = Views([ViewGroup(2, [Crop((0.5, 1.0)), Scale((0.7, 1.4)), Noise(0.1)])])
WIDE = Head(64, 64, 3)
DINO_HEAD = Head(64, 32, 3, norm="none", activation="gelu", hidden_bias=True, bias=True, prototypes=64)

HEALTHY = {
    "simclr": lambda e, **k: Contrastive(e, NTXent(0.2), **k),
    "swav": lambda e, **k: Contrastive(e, SwAV(32, 24), Head(64, 32), **k),
    "vicreg": lambda e, **k: RedundancyReduction(e, VICReg(), WIDE, **k),
    "barlow twins": lambda e, **k: RedundancyReduction(e, BarlowTwins(), WIDE, **k),
    "lejepa": lambda e, **k: RedundancyReduction(e, LeJEPA(slices=64, seed=0), Head(64, 16, 3), **k),
    "byol": lambda e, **k: SelfDistillation(e, BYOL(), Head(64, 32), ema=(0.99, 1.0), **k),
    "simsiam": lambda e, **k: SelfDistillation(
        e, SimSiam(), Head(64, 64, 3, last_norm="plain"), Head(16, 64, bias=True), ema=None, **k
    ),
    "dino": lambda e, **k: SelfDistillation(e, DINO(64), DINO_HEAD, ema=(0.99, 1.0), **k),
    "tico": lambda e, **k: SelfDistillation(e, TiCo(32), Head(64, 32), ema=(0.99, 1.0), **k),
}
COLLAPSING = {
    "vicreg without variance": lambda e, **k: RedundancyReduction(e, VICReg(variance=0.0), WIDE, **k),
    "lejepa with lambda 0": lambda e, **k: RedundancyReduction(
        e, LeJEPA(weight=0.0, slices=64, seed=0), Head(64, 16, 3), **k
    ),
    "byol without teacher and predictor": lambda e, **k: SelfDistillation(
        e, BYOL(), Head(64, 32), Head(layers=0), ema=None, **k
    ),
    "tico without contrast": lambda e, **k: SelfDistillation(
        e, TiCo(32, rho=0.0), Head(64, 32), ema=(0.9, 1.0), **k
    ),
}


def run(make, encoder, tmp_path):
    """Train; the step of the first complaint about collapse, or None, and all readings."""
    torch.manual_seed(0)
    optim = Optim(
        lr=3e-3, start_lr=0.0, final_lr=0.0, warmup_steps=10, weight_decay=0.01, final_weight_decay=None
    )
    model = make(encoder(), views=VIEWS, optim=optim, seed=0)
    monitor = RepresentationMonitor(max_samples=256, every_n_steps=10)
    readings = []
    raise_alarms = monitor._raise_alarms
    monitor._raise_alarms = lambda trainer, reading: (
        readings.append(reading),
        raise_alarms(trainer, reading),
    )
    pl.Trainer(
        accelerator="cpu", max_steps=200, logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False, limit_val_batches=0, default_root_dir=tmp_path, callbacks=[monitor],
    ).fit(model, Blobs(batch_size=64, seed=0))  # fmt: skip
    return readings


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")
@pytest.mark.parametrize("encoder", [SmallViT, SmallCNN])
class TestCollapse:
    @pytest.mark.parametrize("name", COLLAPSING)
    def test_collapse_is_announced_before_the_end(self, name, encoder, tmp_path):
        with pytest.warns(UserWarning, match=r"step \d+: (projections|embeddings|RankMe)") as said:
            readings = run(COLLAPSING[name], encoder, tmp_path)
        steps = [int(str(w.message).split(":")[0][5:]) for w in said if str(w.message).startswith("step ")]
        assert min(steps) < 200
        first, last = readings[0], readings[-1]
        assert last.projection_std < 0.2 or last.projection_scale < 0.1 * first.projection_scale

    @pytest.mark.parametrize("name", HEALTHY)
    def test_healthy_runs_are_left_alone(self, name, encoder, tmp_path, recwarn):
        readings = run(HEALTHY[name], encoder, tmp_path)
        assert not [str(w.message) for w in recwarn if str(w.message).startswith("step ")]
        assert math.isnan(readings[-1].projection_std) == (name == "dino")
        assert name == "dino" or readings[-1].projection_std > 0.3
