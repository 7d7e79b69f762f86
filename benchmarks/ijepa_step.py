# SPDX-License-Identifier: Apache-2.0
"""Time and memory of one I-JEPA training step, alone or beside the official code.

A step is: teacher forward, context encoder and predictor forward, loss, backward, AdamW, teacher average.
Data and masks are made beforehand, so that both sides see the same images and the same masks (released
constants).

    python benchmarks/ijepa_step.py --encoder vit_small --batch 16
    python benchmarks/ijepa_step.py --official ~/src/ijepa    # a checkout of facebookresearch/ijepa
    python benchmarks/ijepa_step.py --stable-pretraining      # in an environment that has it

With rivals all sides take turns in one process, so that a busy machine slows them alike; a ratio is that of
the medians. The official code is given our masks; stable-pretraining draws its own inside the step (four
targets that do not overlap, all other patches as context). Peak memory is measured in one fresh process per
side: the largest resident set on the CPU, imports included, and the most allocated memory on CUDA.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Step = Callable[[Tensor, Tensor, Tensor], Tensor]


def masks_for(grid: tuple[int, int], batch: int, step: int) -> tuple[Tensor, Tensor]:
    """Context (B, Kc) and target (B, M, Kt) indices of a step."""
    from conjoin.core import random
    from conjoin.core.masking import MultiBlockMask

    keys = random.fold(random.key(0, "benchmark", step), torch.arange(batch))
    masks = MultiBlockMask()(grid, keys, random.key(0, "benchmark/step", step))
    return masks.context, masks.targets


def our_step(args: argparse.Namespace) -> Step:
    """The step of conjoin's IJEPA."""
    from conjoin.core.callbacks.ema import update_average
    from conjoin.core.masking import Masks
    from conjoin.core.nn import gather_tokens
    from conjoin.core.optim import Optim, parameter_groups
    from conjoin.vision import IJEPA

    sizes = (args.encoder, args.image, args.patch)
    model = IJEPA(*sizes, predictor_depth=args.predictor_depth, prediction=args.prediction, seed=0).to(
        args.device
    )
    optimizer = Optim().build(parameter_groups(model.trainable()))
    if args.compile:
        model.encoder.compile()
        model.teacher.compile()
        model.predictor.compile()

    def step(x: Tensor, context: Tensor, targets: Tensor) -> Tensor:
        with torch.autocast(args.device, torch.bfloat16, enabled=args.dtype == "bf16"):
            with torch.no_grad():
                wanted = gather_tokens(model.teacher(x), targets)
            predicted = model.predict(model.encoder(x, keep=context), Masks(context, targets))
            loss: Tensor = model.objective(predicted, wanted).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        update_average(model.encoder, model.teacher, 0.996)
        return loss.detach()

    return step


def official_step(args: argparse.Namespace) -> Step:
    """The step of the official training script, made of its own modules."""
    sys.path.insert(0, args.official)
    import copy

    from src.helper import init_model, init_opt
    from src.masks.utils import apply_masks

    encoder, predictor = init_model(
        args.device, args.patch, args.encoder, args.image, pred_depth=args.predictor_depth
    )
    teacher = copy.deepcopy(encoder).requires_grad_(False)
    optimizer, *_ = init_opt(
        encoder, predictor, 100, start_lr=2e-4, ref_lr=1e-3, warmup=1, num_epochs=10, wd=0.04, final_wd=0.4
    )

    def step(x: Tensor, context: Tensor, targets: Tensor) -> Tensor:
        seen, hidden = [context], list(targets.unbind(1))
        with torch.autocast(args.device, torch.bfloat16, enabled=args.dtype == "bf16"):
            with torch.no_grad():
                h = teacher(x)
                h = apply_masks(F.layer_norm(h, (h.size(-1),)), hidden)
            loss = F.smooth_l1_loss(predictor(encoder(x, seen), seen, hidden), h)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            for q, k in zip(encoder.parameters(), teacher.parameters(), strict=True):
                k.data.mul_(0.996).add_((1.0 - 0.996) * q.detach().data)
        return loss.detach()

    return step


def stable_pretraining_step(args: argparse.Namespace) -> Step:
    """The step of stable-pretraining's I-JEPA on timm's transformer, with our optimiser."""
    from stable_pretraining.methods import IJEPA

    from conjoin.core.optim import Optim, parameter_groups

    name = f"{args.encoder}_patch{args.patch}_{args.image}"
    model = IJEPA(name, predictor_embed_dim=384, predictor_depth=args.predictor_depth).to(args.device)
    model.train()
    trained = [model.encoder.student, model.predictor]
    optimizer = Optim().build(parameter_groups(trained))

    def step(x: Tensor, context: Tensor, targets: Tensor) -> Tensor:
        with torch.autocast(args.device, torch.bfloat16, enabled=args.dtype == "bf16"):
            loss: Tensor = model(x).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        model.encoder.update_teacher()
        return loss.detach()

    return step


SIDES: dict[str, Callable[[argparse.Namespace], Step]] = {
    "conjoin": our_step,
    "official": official_step,
    "stable-pretraining": stable_pretraining_step,
}


def peak_mib(args: argparse.Namespace) -> float:
    """Highest memory of this process so far."""
    if args.device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run(args: argparse.Namespace, names: list[str]) -> dict[str, dict[str, float]]:
    """Time the named sides alternately."""
    torch.manual_seed(0)
    grid = (args.image // args.patch, args.image // args.patch)
    x = torch.randn(args.batch, 3, args.image, args.image, device=args.device)
    steps = {name: SIDES[name](args) for name in names}
    before = peak_mib(args)
    clock = time.process_time if args.clock == "cpu" else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in names}
    losses: dict[str, float] = {}
    for number in range(args.warmup + args.steps):
        context, targets = (index.to(args.device) for index in masks_for(grid, args.batch, number))
        # Whoever comes second finds warm caches: take turns in that too.
        for name in names if number % 2 else names[::-1]:
            start = clock()
            losses[name] = float(steps[name](x, context, targets))  # waits for the device
            if args.device == "cuda":
                torch.cuda.synchronize()
            if number >= args.warmup:
                times[name].append(clock() - start)
    return {
        name: {
            "seconds": statistics.median(times[name]),
            "images_per_s": args.batch / statistics.median(times[name]),
            "loss": losses[name],
            "peak_mib": peak_mib(args),
            "before_mib": before,
        }
        for name in names
    }


def alone(args: argparse.Namespace, name: str) -> dict[str, float]:
    """Memory of one side, in a process of its own."""
    command = [sys.executable, __file__, "--only", name, "--steps", "2", "--warmup", "1"]
    for option in (
        "encoder",
        "batch",
        "image",
        "patch",
        "predictor_depth",
        "prediction",
        "dtype",
        "device",
        "threads",
        "official",
    ):
        value = getattr(args, option)
        command += [] if value is None else [f"--{option.replace('_', '-')}", str(value)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result: dict[str, float] = json.loads(out.splitlines()[-1])[name]
    return result


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--encoder", default="vit_small")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--image", type=int, default=224)
    parser.add_argument("--patch", type=int, default=16)
    parser.add_argument("--predictor-depth", type=int, default=6)
    parser.add_argument("--dtype", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument(
        "--clock",
        choices=("wall", "cpu"),
        default="wall",
        help="cpu: processor time, for a machine that others use too",
    )
    parser.add_argument(
        "--prediction",
        choices=("apart", "together"),
        default="apart",
        help="our blocks; stable-pretraining predicts its own together",
    )
    parser.add_argument("--compile", action="store_true", help="compile our networks")
    parser.add_argument("--official", help="folder with a checkout of facebookresearch/ijepa")
    parser.add_argument("--stable-pretraining", action="store_true", help="its I-JEPA as well")
    parser.add_argument(
        "--no-memory", action="store_true", help="skip the extra processes that measure memory"
    )
    parser.add_argument("--only", choices=tuple(SIDES), help="run one side and print JSON")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.only:
        print(json.dumps(run(args, [args.only])))
        return
    rivals = [*(["official"] if args.official else [])]
    rivals += ["stable-pretraining"] if args.stable_pretraining else []
    names = ["conjoin", *rivals]
    results = run(args, names)
    print(
        f"{args.encoder}/{args.patch} at {args.image}, batch {args.batch}, predictor depth "
        f"{args.predictor_depth}, "
        f"{args.dtype}, {args.device}, {args.threads} threads, {args.clock} clock, median of {args.steps} "
        f"steps"
    )
    memory = {} if args.no_memory else {name: alone(args, name) for name in names}
    for name in names:
        line = (
            f"{name:18s} {results[name]['seconds']:8.3f} s/step {results[name]['images_per_s']:8.2f} images/s"
        )
        if name in memory:
            line += f"   peak {memory[name]['peak_mib']:.0f} MiB"
        print(f"{line}   loss {results[name]['loss']:.4f}")
    for rival in rivals:
        ratio = results["conjoin"]["images_per_s"] / results[rival]["images_per_s"]
        text = f"beside {rival}: {ratio:.2f}x images/s"
        if memory:
            text += f", {memory['conjoin']['peak_mib'] / memory[rival]['peak_mib']:.2f}x peak memory"
        print(text)


if __name__ == "__main__":
    main()
