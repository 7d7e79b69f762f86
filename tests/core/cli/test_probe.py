# SPDX-License-Identifier: Apache-2.0


def test_probe_prints_and_writes_the_table(run, folder, conjoin):
    arguments = ("--budgets", "[null]", "--baselines", "[raw]", "--draws", "1", "--out", "t.json")
    code, out, err = conjoin("probe", "--probes", "[knn]", *arguments)
    assert code == 0, err
    assert "knn" in out
    from conjoin.core.evaluation import Table

    assert len(Table.from_json((folder / "t.json").read_text())) > 0
