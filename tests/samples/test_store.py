# SPDX-License-Identifier: Apache-2.0
import hashlib
import json
import shutil
from importlib.resources import files
from pathlib import Path

import pytest

from conjoin.samples import SampleError, licence, manifest, names, store

FOLDER = Path(str(files("conjoin.samples").joinpath("manifest.json"))).parent


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the embedded files that a test may spoil."""
    for name in ("data", "licences"):
        shutil.copytree(FOLDER / name, tmp_path / name)
    shutil.copy(FOLDER / "manifest.json", tmp_path)
    monkeypatch.setattr(store, "files", lambda _: tmp_path)
    return tmp_path


def test_manifest_describes_the_files():
    assert names() == tuple(sorted(manifest()))
    assert {"emoji", "fashion"} <= set(names())
    for entry in manifest().values():
        data = (FOLDER / entry["file"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == entry["sha256"]
        assert len(data) == entry["bytes"] < 7e6
        assert sum(entry["splits"].values()) == entry["count"]
        assert (Path(__file__).parents[2] / entry["script"]).is_file()
        assert {"title", "source", "package", "version", "licence"} <= set(entry)
        assert {"split_rule", "source_sha256"} <= set(entry)
        assert all(len((FOLDER / path).read_text()) > 300 for path in entry["licence_files"])
    used = {path for entry in manifest().values() for path in entry["licence_files"]}
    assert {f"licences/{path.name}" for path in (FOLDER / "licences").iterdir()} == used
    described = {entry["file"] for entry in manifest().values()}
    assert {f"data/{path.name}" for path in (FOLDER / "data").iterdir()} == described


def test_licences_name_their_owners():
    assert "Zalando" in licence("fashion")
    assert "WITHOUT WARRANTY" in licence("fashion")
    for word in ("CC-BY-4.0", "Apache License", "Twemoji", "Noto"):
        assert word in licence("emoji")


def test_damaged_file_is_refused(copy):
    path = copy / "data/fashion.npz.xz"
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        SampleError, match=r"data/fashion.npz.xz has SHA-256 .* damaged or was changed; reinstall"
    ):
        store.arrays("fashion")


def test_missing_file_is_refused(copy):
    (copy / "data/emoji.npz.xz").unlink()
    with pytest.raises(
        SampleError, match=r"data/emoji.npz.xz of conjoin-samples cannot be read .* reinstall"
    ):
        store.arrays("emoji")


def test_the_hash_of_the_manifest_counts(copy):
    entries = json.loads((copy / "manifest.json").read_text())
    entries["fashion"]["sha256"] = "0" * 64
    (copy / "manifest.json").write_text(json.dumps(entries))
    with pytest.raises(SampleError, match=r"the manifest says 000000000000"):
        store.arrays("fashion")
