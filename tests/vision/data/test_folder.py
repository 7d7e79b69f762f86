# SPDX-License-Identifier: Apache-2.0
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from conjoin.vision.data.folder import FolderDataset, classes_of, require_folder, scan, warn_lonely


def test_scan_finds_pictures_at_any_depth_and_counts_the_rest(tmp_path):
    wanted = ["a/1.jpg", "a/b/c/2.PNG", "d/3.webp", "e.jpeg"]
    for name in [*wanted, "a/notes.txt", "archive.zip", ".hidden.jpg", ".cache/4.jpg"]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "empty").mkdir()
    assert scan(tmp_path) == (sorted(wanted), 2)
    assert classes_of(tmp_path) == ("a", "d", "empty")


def test_paths_of_any_name_survive_packing_and_pickling(tmp_path, write_picture):
    names = ["ä ö/ü.png", "x/" + "long" * 30 + ".png"]
    for number, name in enumerate(names):
        write_picture(tmp_path / name, seed=number)
    data = pickle.loads(pickle.dumps(FolderDataset(tmp_path, names, np.array([1, 0]))))
    assert [data.path(index) for index in range(2)] == [tmp_path / name for name in names]
    assert data[0]["label"] == 1
    assert data[1]["x"].shape == (3, 40, 52)
    assert data.paths.dtype.kind == "S"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list everything")
def test_a_folder_that_may_not_be_listed(tmp_path):
    tmp_path.chmod(0)
    try:
        with pytest.raises(PermissionError, match=r"may not be listed: check its permissions\."):
            require_folder(tmp_path, "The folder")
    finally:
        tmp_path.chmod(0o755)


def test_many_lonely_classes_are_shortened():
    names = [f"c{n}" for n in range(9)]
    with pytest.warns(UserWarning, match=r"8 class\(es\) of x .* only \(c0, .*, c4 and 3 more\)"):
        warn_lonely(np.array([*range(9), 8]), names, Path("x"))
