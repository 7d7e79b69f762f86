# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from conjoin.pointcloud.ops import SparseVoxels, strided_rules, submanifold_rules

SHAPE = (5, 6, 7)


def random_places(count=60, batch=2, shape=SHAPE):
    cells = torch.randperm(batch * shape[0] * shape[1] * shape[2])[:count]
    return torch.stack(torch.unravel_index(cells, (batch, *shape)), dim=1)


def pairs(rules, tap):
    return set(zip(rules.outputs[tap].tolist(), rules.inputs[tap].tolist(), strict=True))


@pytest.mark.parametrize("kernel", [(3, 3, 3), (1, 3, 5), (1, 1, 1)])
def test_submanifold_pairs_are_those_of_the_loop(kernel):
    places = random_places()
    rules = submanifold_rules(places, SHAPE, 2, kernel)
    rows = {tuple(place): row for row, place in enumerate(places.tolist())}
    tap, total = 0, 0
    for dz in range(-(kernel[0] // 2), kernel[0] // 2 + 1):
        for dy in range(-(kernel[1] // 2), kernel[1] // 2 + 1):
            for dx in range(-(kernel[2] // 2), kernel[2] // 2 + 1):
                expected = {
                    (row, rows[b, z + dz, y + dy, x + dx])
                    for (b, z, y, x), row in rows.items()
                    if (b, z + dz, y + dy, x + dx) in rows
                }
                assert pairs(rules, tap) == expected
                total += len(expected)
                tap += 1
    assert len(rules) == total
    assert torch.equal(rules.places, places)
    assert pairs(rules, rules.identity) == {(row, row) for row in rows.values()}


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [
        ((3, 3, 3), (2, 2, 2), (1, 1, 1)),
        ((3, 3, 3), (2, 2, 2), (0, 1, 1)),
        ((3, 1, 1), (2, 1, 1), (0, 0, 0)),
        ((2, 2, 2), (3, 2, 2), (0, 0, 0)),
    ],
)
def test_strided_pairs_are_those_of_the_loop(kernel, stride, padding):
    places = random_places()
    rules = strided_rules(places, SHAPE, 2, kernel, stride, padding)
    assert rules.shape == tuple(
        (s + 2 * p - k) // t + 1 for s, p, k, t in zip(SHAPE, padding, kernel, stride, strict=True)
    )
    active = {tuple(place): row for row, place in enumerate(places.tolist())}
    out = {tuple(place): row for row, place in enumerate(rules.places.tolist())}
    assert len(out) == len(rules.places)
    reached = set()
    for tap, taps in enumerate(torch.cartesian_prod(*map(torch.arange, kernel)).view(-1, 3).tolist()):
        expected = set()
        for b in range(2):
            for cell in torch.cartesian_prod(*map(torch.arange, rules.shape)).tolist():
                source = (b, *(o * t - p + k for o, t, p, k in zip(cell, stride, padding, taps, strict=True)))
                if source in active:
                    reached.add((b, *cell))
                    expected.add((out[b, *cell], active[source]))
        assert pairs(rules, tap) == expected
    assert set(out) == reached


def test_no_voxels_give_empty_rulebooks():
    nothing = torch.empty(0, 4, dtype=torch.int64)
    assert len(submanifold_rules(nothing, SHAPE, 2)) == 0
    assert len(strided_rules(nothing, SHAPE, 2).places) == 0


def test_dense_puts_features_where_they_belong():
    places = random_places(10)
    voxels = SparseVoxels(torch.randn(10, 4), places, SHAPE, 2)
    dense = voxels.dense()
    assert dense.shape == (2, 4, *SHAPE)
    for row, (b, z, y, x) in enumerate(places.tolist()):
        assert torch.equal(dense[b, :, z, y, x], voxels.features[row])
    assert dense.count_nonzero() == voxels.features.count_nonzero()


def test_layers_over_the_same_places_share_the_rulebook():
    voxels = SparseVoxels(torch.randn(60, 2), random_places(), SHAPE, 2)
    first = voxels.submanifold((3, 3, 3))
    assert voxels.with_features(torch.randn(60, 8)).submanifold((3, 3, 3)) is first
    assert voxels.submanifold((1, 1, 3)) is not first


@pytest.mark.parametrize("build", [submanifold_rules, strided_rules])
def test_refuses_wrong_places(build):
    places = random_places(4)
    with pytest.raises(ValueError, match="1 voxels share a place"):
        build(torch.cat((places, places[:1])), SHAPE, 2)
    with pytest.raises(ValueError, match=r"1 of 5 voxels lie outside the 2 grids of \(5, 6, 7\)"):
        build(torch.cat((places, torch.tensor([[0, 0, 0, 7]]))), SHAPE, 2)
    with pytest.raises(ValueError, match="lie outside"):
        build(torch.cat((places, torch.tensor([[2, 0, 0, 0]]))), SHAPE, 2)


def test_refuses_wrong_sizes():
    places = random_places(4)
    with pytest.raises(ValueError, match=r"odd sides, not \(3, 2, 3\)"):
        submanifold_rules(places, SHAPE, 2, (3, 2, 3))
    with pytest.raises(ValueError, match="does not fit into a grid"):
        strided_rules(places, SHAPE, 2, (9, 3, 3))
    with pytest.raises(ValueError, match="must be positive"):
        strided_rules(places, SHAPE, 2, stride=(0, 2, 2))
    with pytest.raises(ValueError, match=r"places \(M, 4\), not \(3, 2\) and \(4, 4\)"):
        SparseVoxels(torch.zeros(3, 2), places, SHAPE, 2)
    with pytest.raises(ValueError, match=r"must be int64, not torch.int32"):
        SparseVoxels(torch.zeros(4, 2), places.int(), SHAPE, 2)
