# SPDX-License-Identifier: Apache-2.0
import math
import random as python_random
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch

from conjoin.core import random

MASK = (1 << 64) - 1
KEYS = random.fold(random.key(5, "test"), torch.arange(2000))
RECORDED = (3165896611938284204, [0.6404300002207207, 0.7648821713720063], [5, 2, 3, 0, 1, 4])


def splitmix64(state, count):
    """The published generator, in plain integers."""
    numbers = []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        numbers.append(z ^ (z >> 31))
    return numbers


def test_the_mixer_gives_the_published_numbers():
    # First outputs of SplitMix64 from the seeds 0 and 1234567 (the known-answer vectors of Rosetta Code).
    assert splitmix64(0, 1) == [0xE220A8397B1DCDAF]
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert splitmix64(1234567, 5) == expected
    state = torch.tensor(random._signed(1234567 ^ random._NUMBERS))
    assert [number & MASK for number in random._bits(state, 5).tolist()] == expected


@pytest.mark.parametrize("key", [0, 1, -1, 2**62, -(2**63), 2**63 - 1])
def test_uniform_is_the_top_53_bits_of_the_stream(key):
    stream = splitmix64((key & MASK) ^ random._NUMBERS, 4)
    expected = [(number >> 11) / 2**53 for number in stream]
    assert random.uniform(torch.tensor(key), 4).tolist() == expected


def test_fold_of_parts_is_the_key_of_the_parts():
    parts = torch.tensor([0, 1, 7, -1, 123456789012, -(2**63)])
    base = random.key(3, "mask", 4)
    assert random.fold(base, parts).tolist() == [random.key(3, "mask", 4, part) for part in parts.tolist()]
    assert random.fold(base, parts.view(2, 3)).shape == (2, 3)
    assert random.fold(base, torch.tensor([5], dtype=torch.int32)).tolist() == [random.key(3, "mask", 4, 5)]


def test_keys_fit_int64_and_differ_by_every_part():
    keys = {
        random.key(seed, purpose, *parts)
        for seed in (0, 1, 2**63)
        for purpose in ("", "mask", "order")
        for parts in ((), (0,), (1,), (0, 0), (0, 1), (1, 0))
    }
    assert len(keys) == 54
    assert all(-(2**63) <= key < 2**63 for key in keys)


def test_the_numbers_of_a_key_are_not_the_keys_folded_from_it():
    base = random.key(0, "a")
    numbers = random._bits(torch.tensor(base), 100).tolist()
    assert not set(numbers) & set(random.fold(base, torch.arange(100)).tolist())


def test_a_row_depends_on_its_key_alone():
    whole = random.uniform(KEYS, 5)
    assert whole.dtype == torch.float64
    assert torch.equal(random.uniform(KEYS[7:9], 5), whole[7:9])
    assert torch.equal(random.uniform(KEYS, 2), whole[:, :2])
    assert random.uniform(KEYS.view(40, 50), 3).shape == (40, 50, 3)


def test_uniform_is_uniform_along_keys_along_the_stream_and_between_them():
    u = random.uniform(KEYS, 8)
    assert u.min() >= 0
    assert u.max() < 1
    for numbers in (u[:, 0], u[:, 7], random.uniform(torch.tensor([3]), 2000)[0]):
        counts = torch.histc(numbers, 20, 0, 1)
        assert ((counts - 100) ** 2 / 100).sum() < 43.8  # 19 degrees of freedom, p = 0.001
    correlation = torch.corrcoef(u.T) - torch.eye(8, dtype=u.dtype)
    assert correlation.abs().max() < 5 / math.sqrt(2000)
    neighbours = torch.corrcoef(torch.stack((u[:-1, 0], u[1:, 0])))[0, 1]
    assert abs(neighbours) < 5 / math.sqrt(2000)


def test_randint_covers_its_range_and_takes_bounds_per_number():
    numbers = random.randint(KEYS, 1, 5)
    counts = torch.bincount(numbers.flatten(), minlength=5)
    assert len(counts) == 5
    assert ((counts - 400.0) ** 2 / 400).sum() < 18.5  # 4 degrees of freedom, p = 0.001
    several = random.randint(KEYS, 3, torch.tensor([1, 2, 1000]))
    assert several.dtype == torch.int64
    assert several.max(0).values.tolist()[:2] == [0, 1]
    assert 900 < several[:, 2].max() < 1000


def test_normal_has_the_moments_of_a_normal_distribution():
    numbers = random.normal(KEYS, 5)
    assert numbers.shape == (2000, 5)
    flat = numbers.flatten()
    n = flat.numel()
    assert abs(flat.mean()) < 4 / math.sqrt(n)
    assert abs(flat.var() - 1) < 4 * math.sqrt(2 / n)
    assert abs((flat**4).mean() - 3) < 4 * math.sqrt(96 / n)
    assert torch.corrcoef(numbers.T).sub(torch.eye(5)).abs().max() < 5 / math.sqrt(2000)
    assert torch.isfinite(flat).all()


def test_permutations_are_permutations_and_all_of_them_occur():
    orders = random.permutation(KEYS, 50)
    assert (orders.sort(dim=-1).values == torch.arange(50)).all()
    seen = Counter(map(tuple, random.permutation(KEYS, 3).tolist()))
    assert len(seen) == 6
    assert sum((n - 2000 / 6) ** 2 / (2000 / 6) for n in seen.values()) < 20.5  # 5 degrees, p = 0.001
    assert random.permutation(KEYS[:2], 0).shape == (2, 0)


def draws():
    return python_random.random(), float(np.random.rand()), float(torch.rand(()))


def test_seeded_blocks_repeat_and_leave_no_trace():
    python_random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    untouched = [draws() for _ in range(2)]
    python_random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    first = draws()
    with random.seeded(-7):
        inside = draws()
    with pytest.raises(KeyError), random.seeded(3):
        _ = {}[draws()]
    assert [first, draws()] == untouched
    with random.seeded(-7):
        assert draws() == inside
    with random.seeded(8):
        assert all(a != b for a, b in zip(draws(), inside, strict=True))


def test_generator_is_a_function_of_the_key():
    a, b, c = (torch.rand(3, generator=random.generator(key)) for key in (-9, -9, 10))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


@pytest.mark.slow
def test_another_process_draws_the_same():
    code = (
        "import torch; from conjoin.core import random as r;"
        "k = r.fold(r.key(5, 'test', 2), torch.arange(3));"
        "print(k.tolist(), r.uniform(k, 2).tolist(), r.permutation(k, 5).tolist())"
    )
    keys = random.fold(random.key(5, "test", 2), torch.arange(3))
    expected = f"{keys.tolist()} {random.uniform(keys, 2).tolist()} {random.permutation(keys, 5).tolist()}"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == expected


def test_the_stream_never_changes():
    """Recorded: a change would silently alter every seeded result."""
    assert random.key(0, "mask", 1, 2) == RECORDED[0]
    assert random.uniform(torch.tensor([RECORDED[0]]), 2).tolist() == [RECORDED[1]]
    assert random.permutation(torch.tensor([RECORDED[0]]), 6).tolist() == [RECORDED[2]]


@pytest.mark.gpu
def test_cuda_draws_the_same():
    assert torch.equal(random.uniform(KEYS.cuda(), 9).cpu(), random.uniform(KEYS, 9))
    assert torch.equal(random.permutation(KEYS.cuda(), 9).cpu(), random.permutation(KEYS, 9))
