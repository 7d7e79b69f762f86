# SPDX-License-Identifier: Apache-2.0
"""Models that collapse on purpose are warned of before their run ends; healthy ones are left alone."""

import math
from dataclasses import replace

import lightning.pytorch as pl
import pytest
import torch
from torch import nn

from conjoin.core.callbacks import ProjectionCollapse, Reading, RepresentationMonitor
from conjoin.core.callbacks.monitor import _RANKED_ROWS, _assignment_information, _projection_spread
from conjoin.core.data import DataModule
from conjoin.core.masking import RandomMask
from conjoin.core.methods import (
    JEPA,
    Contrastive,
    Head,
    MaskedSelfDistillation,
    RedundancyReduction,
    SelfDistillation,
)
from conjoin.core.methods.joint_embedding import StepOutput
from conjoin.core.metrics import rankme
from conjoin.core.nn import Transformer, sincos_positions
from conjoin.core.nn.gather import gather_tokens
from conjoin.core.objectives import BYOL, DINO, IBOT, BarlowTwins, LeJEPA, NTXent, SimSiam, SwAV, TiCo, VICReg
from conjoin.core.objectives.dino import teacher_probabilities
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
    assert same == pytest.approx(
        {"projection_std": 0, "projection_scale": 0, "projection_rankme": 1}, abs=1e-4
    )
    far = _projection_spread({"projection": 1e8 + 1e-3 * z.double()})
    assert far["projection_scale"] == pytest.approx(1e-3, rel=0.01)
    few = z[:40].double()
    unit = few / few.norm(dim=1, keepdim=True)
    found = _projection_spread({"projection": z[:40]})
    assert found["projection_std"] == pytest.approx(sum(unit[:, k].std().item() for k in range(16)) / 4)
    assert found["projection_scale"] == pytest.approx(sum(few[:, k].std().item() for k in range(16)) / 16)
    assert _projection_spread({}) == {}
    assert _projection_spread({"projection": torch.full((5, 4), math.nan)})["projection_std"] == 0


def test_rank_of_projections():
    z = torch.randn(2000, 16, generator=torch.Generator().manual_seed(1))
    found = _projection_spread({"projection": z})["projection_rankme"]
    assert found == pytest.approx(float(rankme(z[:_RANKED_ROWS])))
    assert 15.9 < found < 16.1
    flat = _projection_spread({"projection": z[:, :3] @ z[:3]})["projection_rankme"]
    assert 2.5 < flat < 3.1


def test_information_between_samples_and_prototypes():
    def information(logits):
        return _assignment_information({"prototype_logits": logits})

    sure = 100 * torch.eye(8)
    assert information(sure.repeat(4, 1)) == pytest.approx(1)  # every prototype has its samples
    assert information(sure[:4].repeat(8, 1)) == pytest.approx(2 / 3)  # half of them have
    assert information(sure[:1].repeat(32, 1)) == pytest.approx(0, abs=1e-9)  # one has all
    assert information(torch.zeros(32, 8)) == pytest.approx(0, abs=1e-9)  # all have each alike
    assert information(torch.randn(1, 8).repeat(32, 1)) == pytest.approx(0, abs=1e-9)
    assert information(100 * torch.eye(64)[:8]) == pytest.approx(1)  # eight samples cannot tell more apart
    assert math.isnan(_assignment_information({}))
    assert information(torch.full((5, 4), math.nan)) == 0
    logits = torch.randn(20, 6).double()
    p = logits.exp() / logits.exp().sum(1, keepdim=True)
    mean = p.mean(0)
    assert information(logits) == pytest.approx(float((p * (p / mean).log()).sum(1).mean()) / math.log(6))


@pytest.mark.parametrize("kind", [SelfDistillation, MaskedSelfDistillation])
def test_assignments_are_those_of_the_objective(kind):
    objective = DINO(64) if kind is SelfDistillation else IBOT(64)
    model = kind(SmallViT(), objective, DINO_HEAD, ema=(0.9, 1.0), views=VIEWS, seed=0)
    objective.center.normal_(std=0.1)
    objective.defer()  # as in training: the centre moves after the optimiser's step
    batch = {"x": torch.randn(6, 1, 16, 16), "index": torch.arange(6)}
    with torch.no_grad():
        seen = model.teacher_projector(model.teacher(model.make_views(batch)[0]).mean(1))
        expected = teacher_probabilities([seen], objective.center, objective.temperature())[0]
        found = model.step(batch).extras
    assert set(found) == {"prototype_logits"}
    torch.testing.assert_close(found["prototype_logits"].softmax(1), expected)


def numbers():
    z = torch.randn(40, 8, generator=torch.Generator().manual_seed(1))
    return {"projection": z, "prototype_logits": 3 * z}


def measured(outputs):
    return {**_projection_spread(outputs), "information": _assignment_information(outputs)}


def on_a_rank(rank, world):
    return measured({name: z[:25] if rank == 0 else z[25:] for name, z in numbers().items()})


@pytest.mark.ddp
def test_two_ranks_measure_what_one_does(ddp):
    for found in ddp(on_a_rank):
        assert found == pytest.approx(measured(numbers()), rel=1e-9)


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
    grid = (4, 4)

    def __init__(self):
        super().__init__()
        self.project = nn.Linear(16, 32)
        self.register_buffer("positions", sincos_positions((4, 4), 32))
        self.transformer = Transformer(32, depth=2, heads=2, init="xavier")

    def forward(self, x, keep=None, hide=None):
        patches = x.unfold(2, 4, 4).unfold(3, 4, 4).flatten(1, 3).flatten(2)
        tokens = self.project(patches)
        tokens = (tokens if hide is None else hide(tokens)) + self.positions
        return self.transformer(tokens if keep is None else gather_tokens(tokens, keep))


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


class WithoutStopGradient(SelfDistillation):
    """SimSiam whose targets learn too."""

    def compare(self, views, batch):
        features = self.pooled(self.encoder, views)
        z = self.projected(self.projector, features)
        first, second = self.projected(self.predictor, z)
        cosine = nn.functional.cosine_similarity
        loss = -(cosine(first, z[1]).mean() + cosine(second, z[0]).mean()) / 2
        return StepOutput(loss, {}, features[0].detach(), self.monitored(z, z))


class Guess(nn.Module):
    """Features of hidden tokens from the mean of the visible ones and their positions."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 32))
        self.register_buffer("positions", sincos_positions((4, 4), 32))

    def forward(self, context, context_index, target_index, context_valid=None, targets_valid=None):
        where = self.positions[target_index]
        return self.layers(torch.cat((context.mean(1)[:, None, None].expand(where.shape), where), -1))


class OwnTargets(JEPA):
    """A JEPA without a teacher, whose targets learn too."""

    def step(self, batch):
        masks = self.partition(batch)
        features = self.encoder(batch["x"])
        targets = gather_tokens(features, masks.targets)
        loss = (self.predict(self.encode_context(batch, masks), masks) - targets).square().mean()
        extras = {"targets": targets.detach(), "target_index": masks.targets}
        return StepOutput(loss, {}, features.mean(1).detach(), extras)


def jepa(kind, ema):
    return lambda e, views, **k: kind(e, Guess(), RandomMask((0.5, 0.5)), ema=ema, **k)


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
    "ibot": lambda e, **k: MaskedSelfDistillation(e, IBOT(64), DINO_HEAD, ema=(0.99, 1.0), **k),
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
    "simsiam without stop-gradient": lambda e, **k: WithoutStopGradient(
        e, SimSiam(), Head(64, 32), ema=None, **k
    ),
    "dino without centre": lambda e, **k: SelfDistillation(
        e, DINO(64, center_momentum=1.0), DINO_HEAD, ema=(0.99, 1.0), **k
    ),
    "dino without sharpening": lambda e, **k: SelfDistillation(
        e, DINO(64, teacher_temperature=0.1), DINO_HEAD, ema=(0.99, 1.0), **k
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
        with pytest.warns(UserWarning, match=r"step \d+: (projections|embeddings|RankMe|samples)") as said:
            readings = run(COLLAPSING[name], encoder, tmp_path)
        steps = [int(str(w.message).split(":")[0][5:]) for w in said if str(w.message).startswith("step ")]
        assert min(steps) < 200
        first, last = readings[0], readings[-1]
        if name.startswith("dino"):
            assert last.assignment_information < 0.001 < first.assignment_information
            return
        assert last.projection_std < 0.2 or last.projection_scale < 0.1 * first.projection_scale

    @pytest.mark.parametrize(("kind", "dies"), [(OwnTargets, True), (JEPA, False)])
    def test_a_jepa_without_stop_gradient_collapses(self, kind, dies, encoder, tmp_path, recwarn):
        if encoder is SmallCNN:
            pytest.skip("hides no patches")
        readings = run(jepa(kind, (0.99, 1.0)), encoder, tmp_path)
        said = [str(w.message) for w in recwarn if str(w.message).startswith("step ")]
        assert bool([text for text in said if "embeddings of different samples" in text]) == dies
        assert dies or not said
        assert (readings[-1].feature_std < 0.1 * readings[0].feature_std) == dies

    @pytest.mark.parametrize("name", HEALTHY)
    def test_healthy_runs_are_left_alone(self, name, encoder, tmp_path, recwarn):
        if name == "ibot" and encoder is SmallCNN:
            pytest.skip("hides no patches")
        readings = run(HEALTHY[name], encoder, tmp_path)
        assert not [str(w.message) for w in recwarn if str(w.message).startswith("step ")]
        scored = name in ("dino", "ibot")
        assert math.isnan(readings[-1].projection_std) == scored
        assert math.isnan(readings[-1].assignment_information) != scored
        if scored:
            assert min(r.assignment_information for r in readings) > 0.002
        else:
            assert readings[-1].projection_std > 0.3
