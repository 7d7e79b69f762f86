# SPDX-License-Identifier: Apache-2.0
"""Time and peak memory of one forward and backward pass of every objective, beside its rivals.

    python benchmarks/objectives.py                          # N in 256, 1024, 4096 and D in 256, 2048, 8192
    python benchmarks/objectives.py --rows 256 --dims 256 2048 --only VICReg NTXent --device cuda
    python benchmarks/objectives.py --table                  # only the table, from the stored results

In one process, embeddings drawn beforehand, gradient to all student views. The rival is lightly's loss of the
same settings where lightly is installed and has it (``objectives_rivals.py``), otherwise the paper's formula
written out (``objectives_formulas.py``). Passes of both alternate, and who begins does, too; the first of
each warms up and is not timed, the median of the others counts (``--clock cpu`` is for machines with other
work). Memory is the most that a pass holds at a time beside its inputs, gradients included: the allocator's
own count on CUDA, the sum of the profiler's allocation events on the CPU. On Linux, set
``MALLOC_MMAP_MAX_=0`` and ``MALLOC_TRIM_THRESHOLD_=100000000000``: otherwise large tensors are given back to
the system and fetched again, page by page, in some passes and not in others.

Cells that are stored already are not measured again, and none is begun after ``--budget`` seconds, so the
benchmark can be done in pieces. The table goes into docs/objectives.md.
"""

import argparse
import contextlib
import gc
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from conjoin.core import objectives as o

HERE = Path(__file__).with_suffix(".json")
DOCS = Path(__file__).parents[1] / "docs" / "objectives.md"
MARKS = ("<!-- SPEED -->", "<!-- /SPEED -->")
Call = Callable[[Any, list[Tensor], list[Tensor]], Any]


def views(objective: Any, z: list[Tensor], t: list[Tensor]) -> Any:
    """Two views."""
    return objective(z[0], z[1])


def taught(objective: Any, z: list[Tensor], t: list[Tensor]) -> Any:
    """Two students, two targets."""
    return objective(z, t)


def regressed(objective: Any, z: list[Tensor], t: list[Tensor]) -> Any:
    """Predictions and targets, the first of each."""
    return objective(z[0], t[0])


def patched(objective: Any, z: list[Tensor], t: list[Tensor]) -> Any:
    """Every eighth sample is an image, and every eight of them its map of patches, half of them masked."""
    count = z[0].shape[0] // 8
    own, teacher = (torch.stack(x)[:, : count * 8].unflatten(1, (count, 8)) for x in (z, t))
    masks = torch.arange(8, device=own.device).expand(2, count, 8) % 2 == 0
    return objective(own[:, :, 0], teacher[:, :, 0], own, teacher, masks)


def mapped(objective: Any, z: list[Tensor], t: list[Tensor]) -> Any:
    """The same with locations."""
    count = z[0].shape[0] // 8
    maps = torch.stack(z)[:, : count * 8].unflatten(1, (count, 8))
    place = torch.arange(8.0, device=maps.device).view(1, 8, 1).expand(count, 8, 2)
    return objective(maps[:, :, 0], maps, [place, place])


OBJECTIVES: dict[str, tuple[Callable[[int], nn.Module], Call]] = {
    "NTXent": (lambda d: o.NTXent(), views),
    "DCL": (lambda d: o.DCL(), views),
    "InfoNCE": (lambda d: o.InfoNCE(), views),
    "CLIP": (lambda d: o.CLIP(), views),
    "SupCon": (lambda d: o.SupCon(), views),
    "MoCoV3": (lambda d: o.MoCoV3(), taught),
    "BYOL": (lambda d: o.BYOL(), taught),
    "SimSiam": (lambda d: o.SimSiam(), taught),
    "BarlowTwins": (lambda d: o.BarlowTwins(), views),
    "VICReg": (lambda d: o.VICReg(), views),
    "VICRegL": (lambda d: o.VICRegL(), mapped),
    "TiCo": (lambda d: o.TiCo(d), taught),
    "SpectralContrastive": (lambda d: o.SpectralContrastive(), views),
    "SIGReg": (lambda d: o.SIGReg(), views),
    "LeJEPA": (lambda d: o.LeJEPA(), views),
    "INTL samples": (lambda d: o.INTL(), views),
    "INTL channels": (lambda d: o.INTL(axis=1), views),
    "WMSE": (lambda d: o.WMSE(group=max(128, 2 * d)), views),
    "SwAV": (lambda d: o.SwAV(d), views),
    "DINO": (lambda d: o.DINO(d), taught),
    "IBOT": (lambda d: o.IBOT(d), patched),
    "KoLeo": (lambda d: o.KoLeo(), views),
    "LatentRegression": (lambda d: o.LatentRegression(), regressed),
}


def rival_of(objective: nn.Module) -> tuple[str, Any]:
    """Whose it is, and the rival itself; None if there is none."""
    with contextlib.suppress(ImportError):
        from objectives_rivals import lightly_for

        found = lightly_for(objective)
        if found is not None:
            return "lightly", found
    from objectives_formulas import formula_for

    return "formula", formula_for(objective)


def peak_mib(run: Callable[[], float], device: str) -> tuple[float, float]:
    """What ``run`` returns, and the most MiB that it held at a time beyond what was there before."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        value = run()
        return value, (torch.cuda.max_memory_allocated() - before) / 2**20
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        value = run()
    assert recorded.profiler is not None
    assert recorded.profiler.kineto_results is not None
    events = [event for event in recorded.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return value, most / 2**20


def measure(name: str, rows: int, dim: int, device: str, passes: int, clock: str) -> dict[str, Any]:
    """Median seconds and peak memory of our objective and its rival; errors in the place of figures."""
    generator = torch.Generator().manual_seed(0)
    z, t = (
        [torch.randn(rows, dim, generator=generator).to(device).requires_grad_(side == 0) for _ in range(2)]
        for side in range(2)
    )
    build, call = OBJECTIVES[name]
    objective = build(dim).to(device)
    whose, rival = rival_of(objective)
    contestants = {"conjoin": objective} | ({} if rival is None else {whose: rival})

    def once(contestant: Any) -> float:
        out = call(contestant, z, t)
        loss = out if isinstance(out, Tensor) else out.loss
        loss.backward()
        return loss.item()

    def clear() -> None:
        for view in z:
            view.grad = None
        gc.collect()

    found: dict[str, Any] = {"name": name, "rows": rows, "dim": dim, "device": device}
    for key, contestant in list(contestants.items()):
        clear()  # what is freed while memory is watched must not have been there before
        try:
            if isinstance(contestant, nn.Module):
                contestant.to(device)
            value, mib = peak_mib(lambda contestant=contestant: once(contestant), device)
            found[key] = {"value": value, "mib": mib, "seconds": []}
        except (RuntimeError, ValueError, AssertionError) as error:
            found[key] = {"error": str(error).splitlines()[0][:200]}
            del contestants[key]
    now = time.process_time if clock == "cpu" else time.perf_counter
    begun = now()
    for number in range(100):  # at least two passes, then what five seconds allow; short ones are repeated
        spent = now() - begun
        if (number > 1 and spent > 5) or (number >= passes and spent > 1.5):
            break
        order = list(contestants.items())
        for key, contestant in order if number % 2 else order[::-1]:
            clear()
            start = now()
            once(contestant)
            found[key]["seconds"].append(now() - start)
    for key in contestants:
        seconds = found[key].pop("seconds")
        found[key] |= {"passes": len(seconds), "ms": 1e3 * statistics.median(seconds)}
    return found


def cell(found: dict[str, Any]) -> str:
    """Ours: milliseconds and MiB; then the rival's as multiples of them."""
    ours = found["conjoin"]
    if "error" in ours:
        return "-"
    text = f"{ours['ms']:.3g} ms, {ours['mib']:.3g} MiB"
    other = found.get("lightly", found.get("formula"))
    if other is None or "error" in other:
        return text
    return f"{text}; **{other['ms'] / ours['ms']:.2f}**, {other['mib'] / ours['mib']:.2f}"


def table(results: list[dict[str, Any]], device: str) -> str:
    """Markdown: a row per objective, a column per size."""
    mine = [found for found in results if found["device"] == device]
    sizes = sorted({(found["rows"], found["dim"]) for found in mine})
    settings = " and ".join(sorted({f"{f['threads']} thread(s), {f['clock']} clock" for f in mine}))
    lines = [f"{device}, {settings}:", ""]
    lines.append("| | beside | " + " | ".join(f"{rows} x {dim}" for rows, dim in sizes) + " |")
    lines.append("|---|---|" + "---|" * len(sizes))
    for name in OBJECTIVES:
        cells = {(f["rows"], f["dim"]): f for f in mine if f["name"] == name}
        if cells:
            beside = next((who for f in cells.values() for who in ("lightly", "formula") if who in f), "")
            shown = [cell(cells[size]) if size in cells else "" for size in sizes]
            lines.append(f"| {name} | {beside} | {' | '.join(shown)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure what is missing, write results and table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[256, 1024, 4096])
    parser.add_argument("--dims", type=int, nargs="+", default=[256, 2048, 8192])
    parser.add_argument("--only", nargs="+", choices=tuple(OBJECTIVES), default=list(OBJECTIVES))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--passes",
        type=int,
        default=7,
        help="fewer of seconds each, more of a tenth or less",
    )
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu on a busy machine")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--budget", type=float, default=float("inf"), help="begin no cell after so many seconds"
    )
    parser.add_argument("--out", type=Path, default=HERE, help="results; only the default's go into the docs")
    parser.add_argument("--table", action="store_true", help="only write the table of what is stored")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    path = args.out
    results = json.loads(path.read_text()) if path.is_file() else []
    begun = time.perf_counter()
    known = {(f["name"], f["rows"], f["dim"], f["device"]) for f in results}
    for rows, dim in sorted(
        ((n, d) for n in args.rows for d in args.dims), key=lambda size: size[0] * size[1]
    ):
        for name in args.only:
            if args.table or (name, rows, dim, args.device) in known:
                continue
            if time.perf_counter() - begun > args.budget:
                break
            found = measure(name, rows, dim, args.device, args.passes, args.clock)
            found |= {"threads": args.threads, "clock": args.clock, "torch": torch.__version__}
            results.append(found)
            path.write_text("[\n" + ",\n".join(json.dumps(f) for f in results) + "\n]\n")
            print(f"{name:20} {rows} x {dim}: {cell(found)}", flush=True)
    page = DOCS.read_text()
    before, _, rest = page.partition(MARKS[0])
    text = f"{MARKS[0]}\n{table(results, args.device)}\n{MARKS[1]}"
    if args.out == HERE and rest:
        DOCS.write_text(before + text + rest.partition(MARKS[1])[2])


if __name__ == "__main__":
    main()
