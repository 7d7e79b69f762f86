# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys

import pytest


def test_recipes_lists_and_shows(conjoin):
    pytest.importorskip("conjoin.vision")
    code, out, _ = conjoin("recipes")
    assert code == 0
    assert "ijepa-small" in out
    assert "ScatteredFashion" in out
    code, out, _ = conjoin("recipes", "show", "ijepa-small")
    assert out.startswith("# I-JEPA")
    code, _, err = conjoin("recipes", "show", "ijepa-smol")
    assert code == 2
    assert "ijepa-small" in err
    code, _, err = conjoin("fit", "--config", "ijepa-smal")
    assert code == 2
    assert "ijepa-small" in err


def test_catalogue_needs_no_torch():
    code = (
        "import sys, types; m = types.ModuleType('conjoin.core'); import importlib.util as u;"
        "m.__path__ = [p + '/core' for p in u.find_spec('conjoin').submodule_search_locations];"
        "sys.modules['conjoin.core'] = m; from conjoin.core.cli.main import main;"
        "assert main(['recipes']) == 0;"
        "assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
