"""`python -m bench.gpu [CASE..]`: networks of torchvision and transformers on a GPU, trtn against torch.compile.

python -m bench.gpu --list
python -m bench.gpu resnet50-b1 bert_base-1x128 --out build/bench
python -m bench.gpu --no-peer resnet50-b1            # ours alone

Each network is made by its library with random weights, exported to ONNX by torch, imported and built as it comes, in the
case's precision (f32 with TF32).
The peer is the same module in that precision through `torch.compile(mode="max-autotune")` with freezing and CUDA graphs, CNNs in
channels_last; for transformers also a plain module of the same sizes with `scaled_dot_product_attention` and no mask,
and the faster of the two counts. Both sides run in one process on the same inputs, one after the other, warm.

Two times are taken of each: `back` is the time of one run when many are enqueued and then waited for once, `single` the
median of runs that are waited for one by one. Errors are relative L2 to the module in f32 without TF32.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.facts import load_average
from bench.gpu_cases import CASES, Case, export_all, make_module, plain_module
from bench.harness import Failure, isolated
from bench.report import section_text
from bench.results import Column, Table, read_result, write_result
from bench.roofline import kinds
from bench.roofline import table as kinds_table

__all__ = ["main", "measure"]

SECONDS = 0.5
"""How long each side is run for a figure, at least."""
WARM_SECONDS = 0.3
"""Clocks and caches settle first: large networks run up to 10 % faster in the first launches after idling."""
MAX_RUNS = 2000


def measure(name: str, exports: str, peer: bool, effort: int) -> dict[str, Any]:
    """Both sides of one case; times in seconds. For a process of its own."""
    import torch

    torch.set_grad_enabled(False)
    torch.backends.cudnn.benchmark = True
    case = CASES[name]
    dtype = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32}[case.precision]
    module, inputs = make_module(case)
    row: dict[str, Any] = {"name": name}
    allow_tf32(False)
    reference = module.cuda()(*(x.cuda() for x in inputs)).double()
    run, result, facts = ours(Path(exports) / f"{case.network}.onnx", inputs, case, effort)
    row |= facts | {"error": distance(result(), reference)} | times("", run)
    allow_tf32(True)
    narrow = module.to(dtype)
    arrays = [x.cuda().to(dtype) if x.is_floating_point() else x.cuda() for x in inputs]
    row["torch_error"] = distance(narrow(*arrays), reference)
    if peer:
        found = [compiled(narrow, arrays, images=not case.is_transformer)]
        if case.is_transformer:
            found.append(compiled(plain_module(case).to(dtype).cuda(), arrays, images=False))
        row |= min(found, key=lambda f: f["peer_back"])
        row |= {"ratio": row["peer_back"] / row["back"], "ratio_single": row["peer_single"] / row["single"]}
    return row


def allow_tf32(allowed: bool) -> None:
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed


def ours(
    path: Path, inputs: list[Any], case: Case, effort: int
) -> tuple[Callable[[], None], Callable[[], Any], dict[str, Any]]:
    """A run enqueued, the result, and what the build was like."""
    import time

    import cupy
    import torch

    import trtn

    network = trtn.import_onnx(str(path))
    started = time.perf_counter()
    engine = trtn.build(network, device="cuda", precision=case.precision, effort=effort, tf32=True)
    built = time.perf_counter() - started
    context = engine.create_context()
    feeds = {t.name: cupy.asarray(x.numpy().astype(t.dtype.numpy)) for t, x in zip(network.inputs, inputs, strict=True)}
    started = time.perf_counter()
    outputs = context.run(feeds)
    first = time.perf_counter() - started
    buffers = {name: cupy.empty_like(a) for name, a in outputs.items()}
    context.bind({**feeds, **buffers})
    stream = cupy.cuda.Stream(non_blocking=True)
    torch.cuda.set_stream(torch.cuda.ExternalStream(stream.ptr))  # whose events take the times

    def result() -> Any:
        context.execute_async(stream)
        stream.synchronize()
        return torch.from_dlpack(buffers[network.outputs[0].name])

    return (
        lambda: context.execute_async(stream),
        result,
        {
            "steps": sum(g.kind != "view" for g in engine.groups),
            "build": built,
            "first": first,
            "memory": context.memory,
            "kinds": kinds(engine, {}),
        },
    )


def compiled(module: Any, arrays: list[Any], images: bool) -> dict[str, Any]:
    """The peer's times."""
    import time

    import torch
    import torch._inductor.config

    torch._inductor.config.freezing = True
    torch._dynamo.reset()
    if images:
        module = module.to(memory_format=torch.channels_last)
        arrays = [x.contiguous(memory_format=torch.channels_last) for x in arrays]
    torch.cuda.set_stream(torch.cuda.default_stream())
    fast = torch.compile(module, mode="max-autotune")
    started = time.perf_counter()
    fast(*arrays)
    torch.cuda.synchronize()
    return {"peer_build": time.perf_counter() - started, **times("peer_", lambda: fast(*arrays))}


def times(prefix: str, run: Callable[[], object]) -> dict[str, float]:
    """Back-to-back and single times of an enqueued run on torch's current stream, in seconds."""
    import time

    import torch

    def timed(count: int) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(count):
            run()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / count / 1e3

    once = statistics.median(timed(1) for _ in range(5))
    started = time.perf_counter()
    while time.perf_counter() - started < WARM_SECONDS:
        timed(5)
    count = max(10, min(MAX_RUNS, int(SECONDS / once)))
    back = statistics.median(timed(max(10, count // 3)) for _ in range(3))
    single = statistics.median(timed(1) for _ in range(min(count, 300)))
    return {f"{prefix}back": back, f"{prefix}single": single}


def distance(found: Any, reference: Any) -> float:
    """||found - reference|| / ||reference||."""
    return float((found.to(reference.device).double() - reference).norm() / reference.norm())


COLUMNS = (
    Column("name", "case"),
    Column("back", "trtn, back to back", "ms"),
    Column("peer_back", "torch.compile, back to back", "ms"),
    Column("ratio", "ratio", "ratio"),
    Column("single", "trtn, single", "ms"),
    Column("peer_single", "torch.compile, single", "ms"),
    Column("ratio_single", "ratio, single", "ratio"),
    Column("error", "error"),
    Column("torch_error", "torch f16's error"),
    Column("steps", "steps", "count"),
    Column("build", "build", "s"),
    Column("first", "first run", "s"),
    Column("peer_build", "torch.compile's build", "s"),
)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m bench.gpu", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help="which; all without any")
    parser.add_argument("--list", action="store_true", help="name the cases")
    parser.add_argument("--no-peer", action="store_true", help="measure trtn alone")
    parser.add_argument("--effort", type=int, default=3, help="of the tuner, 0 to 5")
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="folder of the JSON result")
    chosen = parser.parse_args(arguments)
    if chosen.list:
        print("\n".join(CASES))
        return 0
    if unknown := [c for c in chosen.cases if c not in CASES]:
        parser.error(f"no case is called {', '.join(unknown)}; see --list")
    before = load_average()
    table = Table("On a GPU, against torch.compile", COLUMNS)
    shares: list[Table] = []
    names = list(chosen.cases or CASES)
    with tempfile.TemporaryDirectory() as exports:
        export_all(names, Path(exports), say)
        for name in names:
            try:
                row = isolated(
                    measure, name=name, exports=exports, peer=not chosen.no_peer, effort=chosen.effort, blas_threads=16
                ).value
            except Failure as failure:
                table.failures[name] = str(failure)
                say(f"{name} {failure}")
            else:
                shares.append(kinds_table(name, row.pop("kinds"), row["back"]))
                table.rows.append({**row, "error": f"{row['error']:.1e}", "torch_error": f"{row['torch_error']:.1e}"})
                say(summary(row))
            ratios = [r["ratio"] for r in table.rows if "ratio" in r]
            table.notes = [f"Geometric mean of the ratios: {statistics.geometric_mean(ratios):.2f}."] if ratios else []
            # After each case: a run that is cut keeps what it has.
            path = write_result(chosen.out, "gpu", [table, *shares], before)
    print(section_text(*read_result(path)))
    return 1 if table.failures else 0


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def summary(row: dict[str, Any]) -> str:
    """`resnet50-b1: 0.307 back to back, 0.310 single; peer 0.386, 0.440; ratio 1.26; error 8.0e-04`, in ms."""
    found = f"{row['name']}: {row['back'] * 1e3:.3f} back to back, {row['single'] * 1e3:.3f} single"
    if "ratio" in row:
        found += f"; peer {row['peer_back'] * 1e3:.3f}, {row['peer_single'] * 1e3:.3f}; ratio {row['ratio']:.2f}"
    return f"{found}; error {row['error']:.1e}, build {row['build']:.1f} s"


if __name__ == "__main__":
    from bench.gpu import main as start  # whose functions other processes find by this module's name

    sys.exit(start())
