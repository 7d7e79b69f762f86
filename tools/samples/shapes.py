# SPDX-License-Identifier: Apache-2.0
"""Rebuild the embedded shapes from the meshes of the Debian package kicad-packages3d.

    python tools/samples/shapes.py [--cache FOLDER]

The package is downloaded, not installed (5.5 GB), and its VRML meshes are read from the stream. Per mesh,
2,048 points are drawn on the surface by area and thinned to 512 by farthest-point sampling, so that thin pins
keep some. Classes are the library folders with at least 20 meshes in at least 3 part families. A family (the
file name up to its first digit) lies in one split as a whole: its members are near duplicates.
"""

import argparse
import itertools
import re
import subprocess
import tarfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import torch
from numpy.typing import NDArray
from pack import pack, sha256

from conjoin.core.random import key, uniform
from conjoin.pointcloud.ops import farthest_point_sampling, gather_points

PACKAGE, VERSION = "kicad-packages3d", "6.0.10-1"
SHA256 = "e4ee3179c3935885a262e41543a675208ad5b3077d348728cac46f534d01109a"
SPLITS = {"train": 0.6, "validation": 0.15, "test": 0.25}
FEWEST_MESHES, FEWEST_FAMILIES = 20, 3
DRAWN, POINTS = 2048, 512
NUMBERS = re.compile(r"(coordIndex|point)\s*\[([^\]]*)\]")
MILLIMETRES = 2.54  # a VRML unit of KiCad is 0.1 inch


def archive(cache: Path) -> Path:
    """The package, fetched if it is not in the cache, its hash checked."""
    path = cache / f"{PACKAGE}_{VERSION}_all.deb"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", f"{PACKAGE}={VERSION}"], cwd=cache, check=True)
    if sha256(path) != SHA256:
        raise SystemExit(f"{path} is not the package of the registry: SHA-256 {sha256(path)}.")
    return path


def meshes(path: Path) -> Iterator[tuple[str, str, str]]:
    """Library folder, part name and VRML text of every mesh, as they come in the package."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(path)], stdout=subprocess.PIPE) as process:
        stream: IO[bytes] | None = process.stdout
        with tarfile.open(fileobj=stream, mode="r|") as package:
            for member in package:
                where = Path(member.name)
                if where.suffix == ".wrl" and where.parent.suffix == ".3dshapes":
                    content = package.extractfile(member)
                    assert content is not None
                    yield where.parent.stem, where.stem, content.read().decode("latin-1")


def triangles(text: str) -> NDArray[np.float64]:
    """All triangles of a VRML file, (T, 3, 3); faces with more corners are cut into a fan."""
    found, faces, points = [np.empty((0, 3, 3))], None, None
    for kind, body in NUMBERS.findall(re.sub(r"#[^\n]*", "", text)):
        if kind == "point":
            points = np.array(body.replace(",", " ").split(), np.float64).reshape(-1, 3)
        else:
            faces = np.array(body.replace(",", " ").split(), np.int64)
        if points is not None and faces is not None:
            found.append(points[fan(faces)])
            faces = points = None
    return np.concatenate(found)


def fan(faces: NDArray[np.int64]) -> NDArray[np.int64]:
    """Corner lists that end in -1 to triangles (T, 3)."""
    if len(faces) % 4 == 0 and (faces[3::4] == -1).all() and (faces.reshape(-1, 4)[:, :3] >= 0).all():
        return faces.reshape(-1, 4)[:, :3]
    cut: list[tuple[int, int, int]] = []
    for face in np.split(faces, np.flatnonzero(faces == -1) + 1):
        corners = [int(corner) for corner in face if corner >= 0]
        cut += [(corners[0], b, c) for b, c in itertools.pairwise(corners[1:])]
    return np.array(cut, np.int64).reshape(-1, 3)


def surface(corners: NDArray[np.float64], name: str) -> NDArray[np.float64] | None:
    """``DRAWN`` points by area, (DRAWN, 3); None for a mesh without area."""
    a, b, c = (torch.from_numpy(np.ascontiguousarray(corners[:, n])) for n in range(3))
    area = torch.linalg.vector_norm(torch.linalg.cross(b - a, c - a), dim=-1)
    if not bool(area.sum() > 0):
        return None
    u = uniform(torch.tensor([key(0, f"shapes/{name}")]), 3 * DRAWN)[0].view(3, DRAWN, 1)
    chosen = torch.searchsorted(area.cumsum(0) / area.sum(), u[0, :, 0]).clamp_max(len(area) - 1)
    root = u[1].sqrt()
    drawn = (1 - root) * a[chosen] + root * (1 - u[2]) * b[chosen] + root * u[2] * c[chosen]
    return drawn.numpy()


def thin(drawn: NDArray[np.float64]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Clouds (N, DRAWN, 3) to quantised ones (N, 3, POINTS) and the sides of their boxes (N, 3).

    Each axis has 256 levels over its own side, so that long thin parts keep their profile. Points are sorted
    by x, y and z and stored axis by axis, (N, 3, POINTS), which packs a quarter smaller.
    """
    clouds = torch.from_numpy(drawn).float()
    clouds = gather_points(clouds, farthest_point_sampling(clouds, POINTS))
    low, high = clouds.amin(1), clouds.amax(1)
    side = (high - low).clamp_min(1e-9)
    levels = ((clouds - low[:, None]) / side[:, None] * 255).round().to(torch.int64)
    order = (levels[..., 0] * 65536 + levels[..., 1] * 256 + levels[..., 2]).argsort(dim=-1, stable=True)
    packed = gather_points(levels, order).transpose(1, 2).to(torch.uint8)
    return packed.contiguous().numpy(), (high - low).numpy()


def family(name: str) -> str:
    """A part name up to its first digit."""
    return re.split(r"\d", name, maxsplit=1)[0]


def deal(sizes: Counter[str]) -> dict[str, int]:
    """Families to numbers of splits: the largest first, each to the split that lacks most.

    No split stays empty.
    """
    total, filled, given = sum(sizes.values()), [0] * len(SPLITS), {}
    ordered = sorted(sizes, key=lambda name: (-sizes[name], name))
    for place, name in enumerate(ordered):
        empty = [split for split in range(len(SPLITS)) if not filled[split]]
        open_ = empty if len(empty) == len(ordered) - place else list(range(len(SPLITS)))
        split = max(open_, key=lambda split: list(SPLITS.values())[split] * total - filled[split])
        filled[split] += sizes[name]
        given[name] = split
    return given


def write(clouds: dict[tuple[str, str], NDArray[np.float64]]) -> None:
    """Choose classes, deal families to splits, thin and pack: (folder, name) to points (DRAWN, 3)."""
    members: dict[str, Counter[str]] = defaultdict(Counter)
    for library, name in clouds:
        members[library][family(name)] += 1
    classes = sorted(
        library
        for library, sizes in members.items()
        if sum(sizes.values()) >= FEWEST_MESHES and len(sizes) >= FEWEST_FAMILIES
    )
    dealt = {library: deal(members[library]) for library in classes}
    rows = sorted(row for row in clouds if row[0] in dealt)
    parts = [thin(np.stack([clouds[row] for row in rows[n : n + 64]])) for n in range(0, len(rows), 64)]
    families = sorted({(library, family(name)) for library, name in rows})
    split = np.array([dealt[library][family(name)] for library, name in rows], np.uint8)
    arrays = {
        "points": np.concatenate([points for points, _ in parts]),
        "sides": np.concatenate([sides for _, sides in parts]),
        "labels": np.array([classes.index(library) for library, _ in rows], np.uint8),
        "families": np.array([families.index((library, family(name))) for library, name in rows], np.uint16),
        "split": split,
        "class_names": np.array(classes),
        "family_names": np.array([f"{library}/{name}" for library, name in families]),
        "names": np.array([name for _, name in rows]),
    }
    entry = {
        "title": f"KiCad's models of electronic parts, {len(rows):,} of 6,227, as points on their surfaces",
        "source": "https://gitlab.com/kicad/libraries/kicad-packages3D",
        "package": f"Debian {PACKAGE}",
        "version": VERSION,
        "licence": "CC-BY-SA-4.0",
        "licence_files": ["licences/shapes.txt"],
        "count": len(rows),
        "points": POINTS,
        "splits": {name: int((split == number).sum()) for number, name in enumerate(SPLITS)},
        "split_rule": (
            "by part family (file name up to the first digit): per class, families by falling size and then "
            "name, each to the split furthest below its share (train 60 %, validation 15 %, test 25 %), none "
            f"left empty; classes are folders with {FEWEST_MESHES} meshes in {FEWEST_FAMILIES} families"
        ),
        "script": "tools/samples/shapes.py",
        "source_sha256": {PACKAGE: SHA256},
    }
    pack("shapes", arrays, entry, context_bits=0)


def main() -> None:
    """Read, sample, pack."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache/conjoin/shapes")
    options = parser.parse_args()
    clouds: dict[tuple[str, str], NDArray[np.float64]] = {}
    for library, name, text in meshes(archive(options.cache)):
        # Three of the 6,227 place their pieces by nested transformations, which are not read here.
        drawn = None if "Transform" in text else surface(triangles(text) * MILLIMETRES, f"{library}/{name}")
        if drawn is not None:
            clouds[library, name] = drawn
    write(clouds)


if __name__ == "__main__":
    main()
