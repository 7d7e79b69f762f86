# SPDX-License-Identifier: Apache-2.0


def test_version_and_help(conjoin):
    code, out, _ = conjoin("--version")
    assert code == 0
    assert out.startswith("conjoin 0.")
    code, out, _ = conjoin("--help")
    assert code == 0
    assert all(name in out for name in ("fit", "recipes", "embed", "probe", "report", "convert"))


def test_unknown_command_names_the_nearest(conjoin):
    code, _, err = conjoin("fitt")
    assert code == 2
    assert "conjoin fit`" in err
