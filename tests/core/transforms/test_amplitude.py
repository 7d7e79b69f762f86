# SPDX-License-Identifier: Apache-2.0
"""What amplitude transforms do, by the statistics they promise."""

import math

import pytest
import torch

from conjoin.core import random
from conjoin.core.transforms import Blur, ChannelDropout, Noise, Scale, SpanDropout

MANY = random.fold(11, torch.arange(2000))


def test_scale_is_uniform_in_the_logarithm():
    x = torch.ones(len(MANY), 2, 3)
    together, apart = (Scale((0.5, 2.0), per_channel=p)(x, MANY) for p in (False, True))
    assert torch.equal(together[:, 0], together[:, 1])
    assert not torch.equal(apart[:, 0], apart[:, 1])
    logs = together[:, 0, 0].log2()
    assert logs.mean().item() == pytest.approx(0, abs=0.05)
    assert logs.std().item() == pytest.approx(2 / math.sqrt(12), abs=0.03)
    assert logs.abs().max() <= 1


def test_noise_has_its_deviation_and_its_share():
    x = torch.zeros(len(MANY), 2, 10)
    noise = Noise(0.3)(x, MANY)
    assert noise.std().item() == pytest.approx(0.3, rel=0.02)
    some = Noise(0.3, p=0.25)(x, MANY)
    touched = some.flatten(1).any(1)
    assert touched.float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert some[touched].std().item() == pytest.approx(0.3, rel=0.03)


def test_blur_leaves_constants_and_smooths_noise():
    x = torch.randn(len(MANY), 1, 16, 16, generator=torch.Generator().manual_seed(0))
    keys = MANY
    blurred = Blur((1.0, 1.0), p=1.0)(x, keys)
    # The variance of white noise shrinks by the sum of squared weights per axis: 1 / (2 sqrt(pi) sigma).
    inner = blurred[:, :, 5:11, 5:11]
    assert inner.var().item() == pytest.approx(1 / (4 * math.pi), rel=0.05)
    flat = torch.full((len(MANY), 1, 16, 16), 2.0)
    torch.testing.assert_close(Blur(p=1.0)(flat, keys), flat)
    assert torch.equal(Blur(p=0.0)(x, keys), x)


def test_channels_are_lost_at_their_rate_but_never_all():
    x = torch.ones(len(MANY), 12, 4)
    out = ChannelDropout(0.3)(x, MANY)
    assert ((out == 1).all(-1) | (out == 0).all(-1)).all()
    assert out.mean().item() == pytest.approx(0.7, abs=0.02)
    assert (ChannelDropout(1.0)(x, MANY).sum((1, 2)) == 4).all()


def test_spans_are_stretches_of_the_promised_length_anywhere():
    x = torch.ones(len(MANY), 2, 5, 100)
    out = SpanDropout((0.1, 0.3))(x, MANY)
    lost = out[:, 0, 0] == 0
    assert torch.equal(out[:, 1, 4] == 0, lost)
    length = lost.sum(1)
    assert length.min() >= 10
    assert length.max() <= 30
    assert length.float().mean().item() == pytest.approx(20, abs=0.5)
    assert (lost.int().diff(dim=1).abs().sum(1) <= 2).all()
    assert lost.any(0).all()
    assert torch.equal(SpanDropout(p=0.0)(x[:5], MANY[:5]), x[:5])
    bands = SpanDropout((0.4, 0.4), axis=2)(x[:5], MANY[:5])
    assert (bands == 0).all(-1).any(1).sum(1).tolist() == [2] * 5


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Noise(-1.0), "std must not be negative, not -1.0"),
        (lambda: Scale((0.0, 1.0)), "factor must be two ascending"),
        (lambda: Blur((2.0, 1.0)), "sigma must be two ascending"),
        (lambda: ChannelDropout(1.1), "p is a probability"),
        (lambda: SpanDropout((0.5, 1.1)), "share must be two ascending"),
    ],
)
def test_refusals(make, words):
    with pytest.raises(ValueError, match=words):
        make()
