# SPDX-License-Identifier: Apache-2.0
"""Every job of the project by one name: ``python -m nox -s NAME``, listed by ``python -m nox -l``.

Each session makes its own environment with uv, once, and installs with the pinned set of constraints.txt.
"""

import shutil
import zipfile
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "uv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "docs", "tests"]

ROOT = Path(__file__).parent
CORE = "packages/core"
MODALITIES = tuple(
    sorted({path.parent.name for path in ROOT.glob("packages/*/pyproject.toml")} - {"core", "samples"})
)
PACKAGES = (CORE, *(f"packages/{name}" for name in (*MODALITIES, "samples")))
# What the tests read beyond the packages' own needs.
EXTRAS = {CORE: "[report,parquet]", "packages/biosignal": "[wfdb]", "packages/vision": "[hdf5]"}
# One thread per process: the suites run in parallel processes.
SINGLE = {"OMP_NUM_THREADS": "1"}
# Three commands import the same libraries: without bytecode each would compile them again, for ten seconds.
CACHED = {"PYTHONDONTWRITEBYTECODE": ""}


def install(session, *packages, group=None, extras=None):
    """Installs workspace members in editable form, then a dependency group of pyproject.toml, all pinned."""
    arguments = [part for path in packages for part in ("-e", f"{path}{(extras or {}).get(path, '')}")]
    if group:
        arguments += nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), group)
    session.install("-c", "constraints.txt", *arguments)


def marked(posargs):
    """Pytest's arguments; ``--slow`` adds the slow tests, ``--slow-only`` leaves the fast ones out."""
    expression = {"--slow": "not gpu", "--slow-only": "slow and not gpu"}
    rest = [argument for argument in posargs if argument not in expression]
    return [*(part for flag in expression if flag in posargs for part in ("-m", expression[flag])), *rest]


@nox.session
def demo(session):
    """Pretrain I-JEPA on the embedded images, test the frozen encoder, write the report (minutes)."""
    install(session, CORE, "packages/vision", "packages/samples", extras={CORE: "[report]"})
    small = ("--config", "ijepa-small")
    session.run("conjoin", "fit", *small, *session.posargs, env=CACHED)
    session.run("conjoin", "test", *small, "--ckpt_path", "last", *session.posargs, env=CACHED)
    session.run("conjoin", "report", env=CACHED)
    report = max(ROOT.glob("runs/ijepa-small/*/report.html"), key=lambda path: path.stat().st_mtime)
    session.log(f"The report, for any browser: {report}")


@nox.session
def tests(session):
    """The test suite; ``-- --slow`` for everything, ``-- --slow-only`` for the rest, or pytest's own."""
    install(session, *PACKAGES, group="test", extras=EXTRAS)
    session.run(
        "python", "-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", "--timeout", "900",
        *marked(session.posargs), env=SINGLE,
    )  # fmt: skip


@nox.session
def tests_minimal(session):
    """Core alone: no torchvision, no timm, no plotly, no modality; the tests of core pass all the same."""
    install(session, CORE, group="test")
    siblings = [f"conjoin-{name}" for name in MODALITIES]
    session.run("uv", "pip", "uninstall", "torchvision", "timm", "plotly", *siblings, silent=True)
    for module in ("torchvision", "timm", "plotly", *(f"conjoin.{name}" for name in MODALITIES)):
        session.run(
            "python", "-c", f"import importlib.util as u\ntry: found = u.find_spec({module!r})\n"
            f"except ModuleNotFoundError: found = None\nassert found is None, '{module} is installed here'",
        )  # fmt: skip
    session.run(
        "python", "-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", "--timeout", "900", "tests/core",
        *marked(session.posargs), env=SINGLE,
    )  # fmt: skip


@nox.session(venv_backend="uv", reuse_venv=True)
@nox.parametrize("package", MODALITIES)
def alone(session, package):
    """One modality with core and the embedded data, in an environment that holds nothing else: its tests."""
    install(session, CORE, f"packages/{package}", "packages/samples", group="test")
    session.run(
        "python", "-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", "--timeout", "900",
        f"tests/{package}", *marked(session.posargs), env=SINGLE,
    )  # fmt: skip


@nox.session
def lowest(session):
    """The tests of core at the lower bounds that its metadata declares."""
    requirements = nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), "test")
    session.install("--resolution", "lowest-direct", "-e", CORE)
    session.install(*requirements)
    session.run("python", "-m", "pytest", "-q", "tests/core", *marked(session.posargs), env=SINGLE)


@nox.session
def lint(session):
    """Ruff: rules and format."""
    install(session, group="lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session):
    """Mypy, strict, over every package and the examples."""
    install(session, *PACKAGES, group="types", extras=EXTRAS)
    for path in PACKAGES:
        session.run("mypy", "-p", f"conjoin.{path.removeprefix('packages/')}")
    session.run("mypy", "examples")


@nox.session
def docs(session):
    """The documentation into site/, strictly; ``-- serve`` shows it while it is written."""
    install(session, group="docs")
    session.run("mkdocs", *(session.posargs or ("build", "--strict")), env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session
def build(session):
    """Wheels and source archives of all packages into dist/; core's wheel alone in an empty environment."""
    dist = ROOT / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    session.run(
        "uv", "build", "--all-packages", "--build-constraints", "constraints.txt", "--out-dir", str(dist)
    )
    owners: dict[str, str] = {}
    for wheel in sorted(dist.glob("*.whl")):
        for name in zipfile.ZipFile(wheel).namelist():
            if name in owners:
                session.error(f"{name} is in both {owners[name]} and {wheel.name}")
            owners[name] = wheel.name
    (core,) = dist.glob("conjoin-*.whl")
    session.install("-c", "constraints.txt", str(core))
    session.run("conjoin", "--version", env={"PYTHONSAFEPATH": "1"})
    session.run("python", "-P", "-c", "import conjoin.core; print('conjoin.core', conjoin.core.__file__)")
    # Where vision is not installed, asking for its system is answered with the extra to install.
    answer = session.run("conjoin", "fit", "--model", "IJEPA", silent=True, success_codes=[2])
    if "conjoin[vision]" not in answer or "Traceback" in answer:
        session.error(f"core alone does not name the extra of IJEPA: {answer}")


@nox.session
def bench(session):
    """The benchmarks, all or those named after ``--`` (scripts under benchmarks/ without .py)."""
    install(session, *PACKAGES, group="test", extras={CORE: "[report]"})
    names = session.posargs or sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py"))
    for name in names:
        session.run("python", f"benchmarks/{name}.py")
