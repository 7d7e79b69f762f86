# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
from torch.nn.functional import normalize

from conjoin.core.objectives import NTXent, SupCon


def loop(views, labels, temperature):
    rows = normalize(torch.cat(views), dim=1).tolist()
    labels = labels.tolist() * len(views)
    total = 0.0
    for i, row in enumerate(rows):
        scores = {
            j: sum(x * y for x, y in zip(row, other, strict=True)) / temperature
            for j, other in enumerate(rows)
            if j != i
        }
        partition = math.log(sum(math.exp(s) for s in scores.values()))
        positive = [scores[j] for j in scores if labels[j] == labels[i]]
        total += partition - sum(positive) / len(positive)
    return total / len(rows)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("labels", [[0, 1, 0, 2, 1, 0], [5, 5, 5, 5, 5, 5], [-1, 3, 9, 7, 4, 2]])
def test_equals_loops(count, labels):
    g = torch.Generator().manual_seed(0)
    views = list(torch.randn(count, 6, 4, dtype=torch.float64, generator=g) * 50)
    labels = torch.tensor(labels)
    found = SupCon(0.2)(views, labels=labels).loss.item()
    assert found == pytest.approx(loop(views, labels, 0.2), rel=1e-12)
    scaled = SupCon(0.2, base_temperature=0.1)(views, labels=labels).loss.item()
    assert scaled == pytest.approx(2 * found)


def test_without_labels_it_is_half_of_nt_xent():
    z = torch.randn(2, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(2 * SupCon(0.3)(z).loss, NTXent(0.3)(z).loss)


def test_guards():
    with pytest.raises(ValueError, match=r"labels must have shape \(3,\), not \(4,\)"):
        SupCon()(torch.ones(2, 3, 2), labels=torch.zeros(4))
    with pytest.raises(ValueError, match="temperature"):
        SupCon(base_temperature=0)
