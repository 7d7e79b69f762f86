# SPDX-License-Identifier: Apache-2.0
"""Randomness as a function of a key, not as the state of a generator.

Everything random in conjoin (masks, augmentations, sampling order, random slices) is drawn
from a *key*: a 64-bit integer made of the run's seed, a purpose, and whatever identifies the
draw (sample index, epoch, step). The same key gives the same numbers on any device, in any
worker process, on any number of ranks and after any resume; nothing has to be saved.

Two ways to use a key:

* :func:`uniform`, :func:`randint`, :func:`normal` and :func:`permutation` are counter-based: one
  row of numbers per key, vectorised over a tensor of keys, made by integer arithmetic (so the
  uniforms agree bit for bit between CPU and CUDA).
* :func:`generator` and :func:`seeded` hand a key to code that wants a ``torch.Generator`` or that
  draws from the global generators (torchvision's transforms, for example).

The stream of a key is SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
generators", OOPSLA 2014): number ``j`` is the mixed value of ``key + (j + 1) * gamma``.
"""

import contextlib
import hashlib
import math
import os
import random as _python_random
import sys
from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = (
    "default_seed",
    "fold",
    "generator",
    "key",
    "normal",
    "permutation",
    "randint",
    "seeded",
    "uniform",
)

_BITS = (1 << 64) - 1
_GAMMA = 0x9E3779B97F4A7C15
_MULTIPLIERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
# Numbers are drawn from a key turned by this constant, so that `uniform(key)` and the keys made
# by `fold(key, ...)` are different streams.
_NUMBERS = 0xD1B54A32D192ED03


def _signed(value: int) -> int:
    """Two's complement reading of 64 bits: what an int64 tensor holds."""
    value &= _BITS
    return value - (1 << 64) if value >> 63 else value


def _mix_int(value: int) -> int:
    value &= _BITS
    value = ((value ^ (value >> 30)) * _MULTIPLIERS[0]) & _BITS
    value = ((value ^ (value >> 27)) * _MULTIPLIERS[1]) & _BITS
    return value ^ (value >> 31)


def _shift(value: Tensor, bits: int) -> Tensor:
    """Logical right shift: ``>>`` on int64 is arithmetic and would smear the sign bit."""
    return (value >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def _mix(value: Tensor) -> Tensor:
    # In place from here on: what is drawn may be large.
    value = (value ^ _shift(value, 30)).mul_(_signed(_MULTIPLIERS[0]))
    value = value.bitwise_xor_(_shift(value, 27)).mul_(_signed(_MULTIPLIERS[1]))
    return value.bitwise_xor_(_shift(value, 31))


def key(seed: int, purpose: str, *parts: int) -> int:
    """Make a key from a seed, a purpose and any number of integers.

    Args:
        seed: The run's seed.
        purpose: What the numbers are for (``"mask"``, ``"order"``); streams of different
            purposes are independent.
        *parts: What identifies the draw: epoch, step, rank, sample index.

    Returns:
        A signed 64-bit integer, the same in every process, machine and Python version.
    """
    digest = hashlib.blake2b(purpose.encode(), digest_size=8).digest()
    state = _mix_int(_mix_int(seed + _GAMMA) ^ int.from_bytes(digest, "little"))
    for part in parts:
        state = _mix_int(state + (part + 1) * _GAMMA)
    return _signed(state)


def default_seed() -> int:
    """The run's seed: what ``lightning.seed_everything`` (``--seed_everything``) set, or 0."""
    return int(os.environ.get("PL_GLOBAL_SEED", 0))


def fold(base: int, parts: Tensor) -> Tensor:
    """One key per entry of ``parts``; ``fold(key(s, p, a), b)`` equals ``key(s, p, a, b)``.

    Args:
        base: A key.
        parts: Integers, any shape.

    Returns:
        int64 keys of the same shape on the same device.
    """
    return _mix((parts.to(torch.int64) + 1) * _signed(_GAMMA) + base)


def _bits(keys: Tensor, count: int) -> Tensor:
    """(..., ) keys to (..., count) streams of 64 random bits."""
    steps = torch.arange(1, count + 1, device=keys.device, dtype=torch.int64) * _signed(_GAMMA)
    return _mix((keys.to(torch.int64) ^ _signed(_NUMBERS)).unsqueeze(-1) + steps)


def uniform(keys: Tensor, count: int) -> Tensor:
    """Uniform numbers in [0, 1), one row per key.

    Args:
        keys: int64 keys (...).
        count: Numbers per key.

    Returns:
        float64 tensor (..., count); row ``i`` depends on ``keys[i]`` only. The first ``n`` numbers
        do not depend on ``count``.
    """
    return _shift(_bits(keys, count), 11).to(torch.float64).mul_(2.0**-53)


def randint(keys: Tensor, count: int, high: int | Tensor) -> Tensor:
    """Integers in [0, high), one row per key.

    Args:
        keys: int64 keys (...).
        count: Numbers per key.
        high: Exclusive upper bound, at least 1; a tensor broadcasts against (..., count).

    Returns:
        int64 tensor (..., count).
    """
    return (uniform(keys, count) * high).to(torch.int64)


def normal(keys: Tensor, count: int) -> Tensor:
    """Standard normal numbers by the Box-Muller transform, one row per key: float64 (..., count)."""
    half = (count + 1) // 2
    u = uniform(keys, 2 * half)
    radius = (-u[..., 0::2]).log1p_().mul_(-2).sqrt_()
    angle = 2 * math.pi * u[..., 1::2]
    pairs = torch.stack((angle.cos().mul_(radius), angle.sin_().mul_(radius)), dim=-1)
    return pairs.flatten(-2)[..., :count]


def permutation(keys: Tensor, count: int) -> Tensor:
    """A random permutation of ``range(count)`` per key: int64 (..., count)."""
    # The top 63 bits are non-negative and distinct but for a chance of about count^2 / 2^64;
    # a stable sort makes even that case well defined.
    return _shift(_bits(keys, count), 1).argsort(dim=-1, stable=True)


def generator(key_: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A ``torch.Generator`` seeded by a key."""
    return torch.Generator(device).manual_seed(key_ & (_BITS >> 1))


@contextlib.contextmanager
def seeded(key_: int) -> Iterator[None]:
    """Run a block with Python's, NumPy's and torch's global CPU generators seeded by a key.

    Their previous states come back afterwards, so nothing outside the block can tell. NumPy is
    touched only if something has imported it.
    """
    numpy = sys.modules.get("numpy")
    torch_state = torch.random.get_rng_state()
    python_state = _python_random.getstate()
    numpy_state = numpy.random.get_state() if numpy else None
    torch.default_generator.manual_seed(key_ & (_BITS >> 1))
    _python_random.seed(key_)
    if numpy:
        numpy.random.seed(key_ & 0xFFFFFFFF)
    try:
        yield
    finally:
        torch.random.set_rng_state(torch_state)
        _python_random.setstate(python_state)
        if numpy:
            numpy.random.set_state(numpy_state)
