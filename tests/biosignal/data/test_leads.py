# SPDX-License-Identifier: Apache-2.0
import pytest

from conjoin.biosignal.data import LEADS, STATISTICS, Statistics
from conjoin.biosignal.data.leads import lead_order


def test_leads_are_found_in_any_order_and_case():
    mimic = ["I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6"]
    order = lead_order(mimic)
    assert [mimic[place].upper() for place in order] == list(LEADS)
    assert order[3:6] == [3, 5, 4]
    with pytest.raises(ValueError, match="lead V3, V6 is missing among I, II"):
        lead_order([name for name in mimic if name not in ("V3", "V6")])


def test_published_statistics():
    for statistics in STATISTICS.values():
        assert len(statistics.mean) == len(statistics.std) == 12
    # MIMIC's are published in its own order, aVF (.004, .143) before aVL (.014, .141).
    assert STATISTICS["mimic-iv-ecg"].mean[4:6] == (0.014, 0.004)
    assert STATISTICS["mimic-iv-ecg"].std[4:6] == (0.141, 0.143)
    assert STATISTICS["code-15"].mean == (0.0,) * 12


def test_guards():
    for mean, std in (((0.0,), (0.0,)), ((0.0,), (1.0, 1.0)), ((), ())):
        with pytest.raises(ValueError, match="one mean and one positive deviation per lead"):
            Statistics(mean, std)
