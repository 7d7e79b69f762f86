# SPDX-License-Identifier: Apache-2.0
"""Kill a run with SIGKILL again and again, go on from its last checkpoint, compare with a run left alone.

``python resume_driver.py FOLDER WORKERS ACCUMULATE KILLS``: a process that imports once and forks for every
run (a killed child costs no second import). Prints a line per mismatch, and "identical" if there is none.
"""

import math
import os
import random
import signal
import sys
from pathlib import Path

import lightning.pytorch as pl
import torch

from conjoin.core.checkpoint_io import SaveLast, load

sys.path.insert(0, str(Path(__file__).parent))
import tiny

STEPS = 36  # 3 epochs of 12 batches of 8


class Kill(pl.Callback):
    """SIGKILL at a given optimiser step, before, inside or after the checkpoint of that step is due."""

    def __init__(self, step, place):
        self.step, self.place = step, place

    def _strike(self, trainer, place):
        if trainer.global_step == self.step and place == self.place:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_before_zero_grad(self, trainer, pl_module, optimizer):
        self._strike(trainer, "backward")

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self._strike(trainer, "after step")

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self._strike(trainer, "next batch")


def run(folder, workers, accumulate, kill=None):
    torch.set_num_threads(1)
    callbacks = [*tiny.monitors(), SaveLast(every_n_steps=1), *([kill] if kill else [])]
    options = {"accumulate_grad_batches": accumulate, "enable_checkpointing": True}
    trainer = tiny.trainer(folder, callbacks=callbacks, **options)
    last = Path(folder) / "checkpoints" / "last.ckpt"
    data = tiny.TinyData(batch_size=8, num_workers=workers)
    trainer.fit(tiny.TinyJEPA(), data, ckpt_path=last if last.exists() else None)


def forked(*arguments):
    """Run in a child; True if it lived to the end."""
    child = os.fork()
    if child == 0:
        try:
            run(*arguments)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        sys.exit("a run failed")
    return os.WIFEXITED(status)


def differences(a, b, path=""):
    """Places where two checkpoints differ, but for wall-clock times and paths."""
    if any(word in path for word in ("seconds", "dirpath", "path", "time")):
        return
    if isinstance(a, dict) and isinstance(b, dict):
        for name in a.keys() | b.keys():
            if name in a and name in b:
                yield from differences(a[name], b[name], f"{path}/{name}")
            else:
                yield f"{path}/{name} is in one only"
    elif isinstance(a, list | tuple):
        if len(a) != len(b):
            yield f"{path}: {len(a)} against {len(b)} entries"
        for i, (x, y) in enumerate(zip(a, b, strict=False)):
            yield from differences(x, y, f"{path}/{i}")
    elif isinstance(a, torch.Tensor):
        if not torch.equal(a, b) and not torch.allclose(a, b, rtol=0, atol=0, equal_nan=True):
            yield f"{path}: largest difference {(a.double() - b.double()).abs().max():.2e}"
    elif a != b and not (isinstance(a, float) and math.isnan(a) and math.isnan(b)):
        yield f"{path}: {a} against {b}"


def main(folder, workers, accumulate, kills):
    folder, workers, accumulate, kills = Path(folder), int(workers), int(accumulate), int(kills)
    assert forked(folder / "whole", workers, accumulate)
    dice = random.Random(workers * 10 + accumulate)
    places = ["backward", "after step", "next batch"]
    when = sorted(dice.sample(range(1, STEPS // accumulate), kills))
    for step in when:
        if forked(folder / "killed", workers, accumulate, Kill(step, dice.choice(places))):
            sys.exit(f"the run that was to be killed at step {step} ended by itself")
    assert forked(folder / "killed", workers, accumulate)
    whole, killed = (load(folder / name / "checkpoints" / "last.ckpt") for name in ("whole", "killed"))
    assert whole["global_step"] == STEPS // accumulate
    wrong = []
    for part in ("state_dict", "optimizer_states", "callbacks", "global_step", "epoch"):
        wrong += differences(whole[part], killed[part], part)
    print("\n".join(wrong) or f"identical after {kills} kills at steps {when}")


if __name__ == "__main__":
    main(*sys.argv[1:])
