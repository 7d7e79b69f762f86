# SPDX-License-Identifier: Apache-2.0
from conjoin.core.evaluation.task import METRICS
from conjoin.core.report.metrics import better, called, gain, higher_is_better, written


def test_shares_and_errors() -> None:
    assert {name for name in METRICS.values() if not higher_is_better(name)} == {"rmse"}
    assert better("accuracy", 0.6, 0.5)
    assert not better("accuracy", 0.5, 0.5)
    assert better("rmse", 0.5, 0.6)
    assert not better("rmse", 0.5, 0.5)
    assert (written("macro_auc", 0.9271), written("rmse", 1234.567)) == ("92.7\u202f%", "1\u202f235")
    assert called("macro_auc") == "macro AUC"
    assert called("f1") == "f1"
    assert gain("accuracy", 0.6, 0.5) == "+10.0 points"
    assert gain("rmse", 3.0, 4.0) == "-25.0\u202f% error"
    assert gain("rmse", 3.0, 0.0) == "\u2013"
