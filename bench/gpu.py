"""`python -m bench.gpu [CASE..]`: networks of torchvision and transformers on a GPU, trtn against torch.compile.

python -m bench.gpu --list
python -m bench.gpu resnet50-b1 bert_base-1x128 --out build/bench
python -m bench.gpu --peer none resnet50-b1            # ours alone

Each network is made by its library with random weights, exported to ONNX by torch, imported and built as it comes, in the
case's precision (f32 with TF32).
The peer is the same module in that precision through `torch.compile(mode="max-autotune")` with freezing and CUDA graphs, CNNs in
channels_last; for transformers also a plain module of the same sizes with `scaled_dot_product_attention` and no mask,
and the faster of the two counts.

Cases have processes of their own, one after the other: most of torch's compiling is the timing of candidates, which wants
the GPU for itself. Both sides of a case are timed one after the other, warm, in one process, on the same inputs.

Two times are taken of each: `back` is the time of one run when many are enqueued and then waited for once, `single` the
median of runs that are waited for one by one. Errors are relative L2 to the module in f32 without TF32.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

from bench.facts import load_average
from bench.gpu_cases import CASES, Case, exported, exporting, make_module, plain_module
from bench.gpu_jobs import READY, Job, run_jobs
from bench.harness import Failure
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
THREADS = 4
"""Of torch's operations on the CPU."""
PEERS = {"both": ("module", "plain"), "plain": ("plain",), "module": ("module",), "none": ()}
"""What is compiled by torch for a transformer: the library's module, the plain one."""

Run = Callable[[], object]


def measure(name: str, exports: str, peers: Sequence[str], effort: int) -> Generator[str, None, Any]:
    """Both sides of one case, a job; times in seconds."""
    import torch

    torch.set_grad_enabled(False)
    torch.backends.cudnn.benchmark = True
    case = CASES[name]
    dtype = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32}[case.precision]
    module, inputs = make_module(case)
    row: dict[str, Any] = {"name": name}
    allow_tf32(False)
    reference = module.cuda()(*(x.cuda() for x in inputs)).double()
    allow_tf32(True)
    narrow = module.to(dtype)
    arrays = [x.cuda().to(dtype) if x.is_floating_point() else x.cuda() for x in inputs]
    row["torch_error"] = distance(narrow(*arrays), reference)
    yield "torch has run it"
    fast: dict[str, Run] = {}
    for peer in peers:
        if peer == "module" or not case.is_transformer:
            fast["module"], seconds = compiled(narrow, arrays, images=not case.is_transformer)
        else:
            fast["plain"], seconds = compiled(plain_module(case).to(dtype).cuda(), arrays, images=False)
        row["peer_build"] = row.get("peer_build", 0.0) + seconds
        yield f"torch.compile of the {peer} took {seconds:.1f} s"
    path = exported(case, Path(exports))
    yield "exported"
    run, stream, result, facts = ours(path, inputs, case, effort)
    row |= facts | {"error": distance(result(), reference)}
    yield f"trtn's build took {row['build']:.1f} s"
    yield READY
    row["back"], row["single"] = times(run, stream)
    found = {peer: times(run, None) for peer, run in fast.items()}
    row |= {f"{peer}_back": back for peer, (back, _) in found.items()}
    if found:
        row["peer_back"], row["peer_single"] = min(found.values())
        row |= {"ratio": row["peer_back"] / row["back"], "ratio_single": row["peer_single"] / row["single"]}
    return row


def allow_tf32(allowed: bool) -> None:
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed


def ours(path: Path, inputs: list[Any], case: Case, effort: int) -> tuple[Run, Any, Callable[[], Any], dict[str, Any]]:
    """A run enqueued, its stream, the result, and what the build was like."""
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

    def result() -> Any:
        context.execute_async(stream)
        stream.synchronize()
        return torch.from_dlpack(buffers[network.outputs[0].name])

    facts = {
        "steps": sum(g.kind != "view" for g in engine.groups),
        "build": built,
        "first": first,
        "memory": context.memory,
        "kinds": kinds(engine, {}),
    }
    return lambda: context.execute_async(stream), torch.cuda.ExternalStream(stream.ptr), result, facts


def compiled(module: Any, arrays: list[Any], images: bool) -> tuple[Run, float]:
    """The peer: a run enqueued, and the seconds that compiling it took."""
    import torch
    import torch._inductor.config

    torch._inductor.config.freezing = True
    if images:
        module = module.to(memory_format=torch.channels_last)
        arrays = [x.contiguous(memory_format=torch.channels_last) for x in arrays]
    fast = torch.compile(module, mode="max-autotune")
    started = time.perf_counter()
    for _ in range(3):  # the first compiles, the second records a graph
        fast(*arrays)
    torch.cuda.synchronize()
    return lambda: fast(*arrays), time.perf_counter() - started


def times(run: Run, stream: Any) -> tuple[float, float]:
    """Back-to-back and single time of a run that is enqueued on a stream, torch's current one without it, in
    seconds."""
    import torch

    def timed(count: int) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record(stream)
        for _ in range(count):
            run()
        end.record(stream)
        end.synchronize()
        return float(start.elapsed_time(end)) / count / 1e3

    once = statistics.median(timed(1) for _ in range(5))
    started = time.perf_counter()
    while time.perf_counter() - started < WARM_SECONDS:
        timed(5)
    count = max(10, min(MAX_RUNS, int(SECONDS / once)))
    back = statistics.median(timed(max(10, count // 3)) for _ in range(3))
    return back, statistics.median(timed(1) for _ in range(min(count, 300)))


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
    Column("module_back", "the library's module compiled", "ms"),
    Column("plain_back", "a plain module compiled", "ms"),
    Column("error", "error"),
    Column("torch_error", "torch's own error"),
    Column("steps", "steps", "count"),
    Column("build", "build", "s"),
    Column("first", "first run", "s"),
    Column("peer_build", "torch.compile's build", "s"),
)
NOTE = "Ratios are to the faster of the modules that torch compiled."


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m bench.gpu", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help="which; all without any")
    parser.add_argument("--list", action="store_true", help="name the cases")
    parser.add_argument("--peer", choices=PEERS, default="both", help="what torch compiles for transformers (both)")
    parser.add_argument("--effort", type=int, default=3, help="of the tuner, 0 to 5")
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="folder of the JSON result")
    chosen = parser.parse_args(arguments)
    if chosen.list:
        print("\n".join(CASES))
        return 0
    if unknown := [c for c in chosen.cases if c not in CASES]:
        parser.error(f"no case is called {', '.join(unknown)}; see --list")
    before, started = load_average(), time.monotonic()
    table = Table("On a GPU, against torch.compile", COLUMNS, notes=[NOTE] if PEERS[chosen.peer] else [], mean="ratio")
    shares: list[Table] = []
    names = list(dict.fromkeys(chosen.cases or CASES))

    def say(line: str) -> None:
        print(f"[{time.monotonic() - started:6.1f}] {line}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="trtn-bench-") as folder, exporting(names, Path(folder)):
        jobs = [_job(CASES[name], Path(folder), PEERS[chosen.peer], chosen.effort) for name in names]
        for job, row in run_jobs(jobs, 1, say):
            if isinstance(row, Failure):
                table.failures[job.name] = str(row)
                say(f"{job.name} {row}")
            else:
                shares.append(kinds_table(job.name, row.pop("kinds"), row["back"]))
                table.rows.append({**row, "error": f"{row['error']:.1e}", "torch_error": f"{row['torch_error']:.1e}"})
                table.rows.sort(key=lambda r: names.index(r["name"]))
                say(summary(row))
            # After each case: a run that is cut keeps what it has.
            path = write_result(chosen.out, "gpu", [table, *shares], before)
    print(section_text(*read_result(path)))
    return 1 if table.failures else 0


def _job(case: Case, folder: Path, peers: Sequence[str], effort: int) -> Job:
    wanted = peers if case.is_transformer else peers[:1]
    arguments = {"name": case.name, "exports": str(folder), "peers": wanted, "effort": effort}
    environment = {
        "TORCHINDUCTOR_CACHE_DIR": f"{folder}/inductor-{case.name}",  # choices are each case's own
        "TRITON_CACHE_DIR": f"{folder}/triton",  # compiled kernels are not
        "OMP_NUM_THREADS": str(THREADS),
    }
    return Job(case.name, measure, arguments, environment, folder / f"{case.name}.log")


def summary(row: dict[str, Any]) -> str:
    """`resnet50-b1: 0.307 back to back, 0.310 single; module 0.386; ratio 1.26; error 8.0e-04, build 9.1 s`, in ms."""
    found = f"{row['name']}: {row['back'] * 1e3:.3f} back to back, {row['single'] * 1e3:.3f} single"
    found += "".join(f"; {p} {row[f'{p}_back'] * 1e3:.3f}" for p in PEERS["both"] if f"{p}_back" in row)
    if "ratio" in row:
        found += f"; peer single {row['peer_single'] * 1e3:.3f}; ratio {row['ratio']:.2f}"
    return f"{found}; error {row['error']:.1e}, build {row['build']:.1f} s"


if __name__ == "__main__":
    from bench.gpu import main as start  # whose functions other processes find by this module's name

    sys.exit(start())
