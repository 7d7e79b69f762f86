# SPDX-License-Identifier: Apache-2.0
import json
import re
import sys

import numpy as np
import pytest

from conjoin.core.report.figure import axis, figure, plotly_source, script_json, thin


def test_json_cannot_leave_its_block() -> None:
    bad = "</script><script>alert(1)</script><!--&"
    made = script_json({"a": bad})
    inner = re.fullmatch(r'<script type="application/json">(.*)</script>', made)[1]
    assert not set("<>&") & set(inner)
    assert json.loads(inner) == {"a": bad}


def test_json_holds_arrays_gaps_and_five_digits() -> None:
    value = {"x": np.array([1.0, np.nan, np.inf]), "y": (np.float32(0.5), 1 / 3), "z": np.int64(3), "n": None}
    inner = script_json(value).split(">", 1)[1].removesuffix("</script>")
    assert json.loads(inner) == {"x": [1, None, None], "y": [0.5, 0.33333], "z": 3, "n": None}


def test_figure_has_a_text_in_its_place() -> None:
    made = figure("f", [{"type": "bar"}], {"yaxis": axis("a < b")}, alt='"x" < 1', caption="a & b")
    assert 'aria-label="&quot;x&quot; &lt; 1"' in made
    assert "a &amp; b" in made
    assert 'data-figure="f"' in made


def test_thin_keeps_the_mean() -> None:
    steps, values = np.arange(1001.0), np.random.default_rng(0).normal(size=1001)
    few_steps, few = thin(steps, values, most=100)
    assert len(few) == 91  # groups of 11
    np.testing.assert_allclose(few[3], values[33:44].mean())
    np.testing.assert_allclose(few_steps[-1], steps[990:].mean())
    assert thin(steps, values, most=2000)[1] is values
    assert len(thin(steps[:0], values[:0])[0]) == 0


def test_without_plotly_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly", None)
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(ImportError, match=r"conjoin\[report\]"):
        plotly_source()


def test_the_library_cannot_end_its_own_script() -> None:
    pytest.importorskip("plotly")
    source = plotly_source()
    assert len(source) > 1_000_000
    assert "</script" not in source
