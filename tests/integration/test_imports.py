# SPDX-License-Identifier: Apache-2.0
"""Importing conjoin is light: what it loads, what it leaves alone and, slow, how long it takes."""

import json
import os
import statistics
import subprocess
import sys

import pytest

HEAVY = ("torchvision", "torchaudio", "timm", "pandas", "plotly", "sklearn", "matplotlib", "pyarrow", "scipy")


def run(code: str) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()[-1]


LOADED = "import sys, json; print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"


def test_core_imports_nothing_heavy() -> None:
    base = set(json.loads(run(f"import lightning.pytorch; {LOADED}")))
    core = set(json.loads(run(f"import conjoin.core.methods, conjoin.core.callbacks; {LOADED}")))
    # torchmetrics, through Lightning, imports torchvision and others where they are installed.
    assert not (core - base) & set(HEAVY)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["recipes"], ["convert", "--help"]])
def test_what_needs_no_tensor_does_not_wait_for_torch(arguments: list[str]) -> None:
    script = f"import sys; from conjoin.core.cli import main; assert main({arguments!r}) == 0;"
    assert run(script + "print('torch' in sys.modules, 'yaml' in sys.modules)").startswith("False")


def test_lazy_names_are_the_real_ones() -> None:
    """``conjoin.core`` names its classes without importing them; whoever asks gets them once and for all."""
    assert "torch" not in json.loads(
        run(f"import conjoin.core; assert 'JEPA' in dir(conjoin.core); {LOADED}")
    )
    script = (
        "import conjoin.core as core; from conjoin.core import JEPA, JointEmbedding;"
        "from conjoin.core.methods import JEPA as real;"
        "print(core.JEPA is JEPA is real, vars(core)['JEPA'] is real)"
    )
    assert run(script) == "True True"
    import conjoin.core

    with pytest.raises(AttributeError, match=r"module 'conjoin\.core' has no attribute 'JEPPA'"):
        _ = conjoin.core.JEPPA


def test_core_imports_no_modality() -> None:
    loaded = json.loads(run("import conjoin.core.methods, sys, json; print(json.dumps(sorted(sys.modules)))"))
    others = {name.split(".")[1] for name in loaded if name.startswith("conjoin.")} - {"core"}
    assert not others


@pytest.mark.slow
def test_trainer_is_untouched() -> None:
    """A plain Trainer has the same callbacks whether conjoin is imported or not."""
    script = (
        "import lightning.pytorch as pl; {extra}"
        "trainer = pl.Trainer(logger=False, accelerator='cpu', enable_progress_bar=False);"
        "print([type(c).__name__ for c in trainer.callbacks])"
    )
    with_conjoin = "import conjoin.core.methods, conjoin.core.callbacks, conjoin.vision;"
    assert run(script.format(extra=with_conjoin)) == run(script.format(extra=""))


@pytest.mark.slow
def test_global_generators_are_untouched() -> None:
    """Lightning draws from Python's generator while it is imported, so it comes before the seeds."""
    script = (
        "import torch, random, numpy, lightning.pytorch;"
        "torch.manual_seed(0); random.seed(0); numpy.random.seed(0); {extra}"
        "print(torch.rand(()).item(), random.random(), numpy.random.rand())"
    )
    assert run(script.format(extra="import conjoin.core.methods, conjoin.vision;")) == run(
        script.format(extra="")
    )


@pytest.mark.slow
def test_import_time_is_that_of_lightning() -> None:
    """Medians of interleaved processes: at most a tenth above ``import lightning.pytorch``."""
    clock = "import time; begin = time.perf_counter(); import {}; print(time.perf_counter() - begin)"

    def ratio(times: int) -> float:
        pairs = [
            (run(clock.format("lightning.pytorch")), run(clock.format("conjoin.core.methods")))
            for _ in range(times)
        ]
        base, ours = (statistics.median(map(float, column)) for column in zip(*pairs, strict=True))
        return ours / base

    ratio(1)  # the first reading fills the disk cache
    # A loaded machine gives outliers in both directions: one more, longer look before it counts as too slow.
    assert ratio(5) <= 1.1 or ratio(15) <= 1.1
