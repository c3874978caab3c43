"""The CPU against the fastest CPU engines: f32, bf16, NumPy alone, first results, memory, contexts side by side.

python -m bench cpu --nets ~/models --openvino ~/openvino-venv/bin/python

OpenVINO runs under an interpreter of its own, which needs nothing else but NumPy. Every measurement has a process of its
own; the contenders take turns, several rounds, and each one's best round counts.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.harness import Failure, Isolated, Sample, isolated, time_calls
from bench.results import Benchmark, Column, Options, Table

__all__ = ["CPU"]

SPECS = ("resnet50", "mobilenet_v2", "bert_base")
LENGTH = 128
"""Of token sequences."""
ROUNDS = 3
_RUNS = 30
_BUDGET = 5.0


def prepare(model: str, folder: str) -> None:
    """Write what is measured into a folder: the model as ONNX, feeds, and engines. For a process of its own."""
    import numpy as np

    import trtn
    from trtn.backend.plan.points import likely_sizes
    from trtn.cli.made_up import make_up
    from trtn.dsl.dims import evaluate

    place = Path(folder)
    network = trtn.import_onnx(model) if model.endswith(".onnx") else trtn.load(model)
    for name, options in _BUILDS.items():
        trtn.build(network, device="cpu", **options).save(place / f"{name}.engine")
    if not model.endswith(".onnx"):
        (place / "model.onnx").write_bytes(trtn.export_onnx(network).SerializeToString())
    sizes = {n: LENGTH if n == "S" else size for n, size in likely_sizes(network).items()}
    feeds = [
        make_up(network, t, tuple(evaluate(d, sizes) for d in t.shape), seed=0, sizes=sizes) for t in network.inputs
    ]
    np.savez(place / "feeds.npz", *feeds)


_BUILDS: dict[str, dict[str, Any]] = {
    "f32": {"precision": "f32"},
    "bf16": {"precision": "bf16"},
    "numpy": {"precision": "f32", "providers": ("blockwise",)},
}


def run_trtn(folder: str, build: str, threads: int, runs: int) -> dict[str, Any] | None:
    """Load an engine and run it; its outputs go to the folder. Without `runs`, the first result is all."""
    import numpy as np

    import trtn

    engine = trtn.load_engine(Path(folder) / f"{build}.engine", threads=threads)
    feeds = dict(zip((t.name for t in engine.inputs), _feeds(folder), strict=True))
    context = engine.create_context()
    outputs = context.run(feeds)
    if not runs:
        return None
    np.savez(Path(folder) / f"{build}.npz", *(a.astype(np.float32) for a in outputs.values()))
    return _timed(lambda: context.run(feeds), runs)


def run_contexts(folder: str, seconds: float) -> float:
    """How much more two threads get done, each with a context of one thread, than one of them alone."""
    import trtn

    engine = trtn.load_engine(Path(folder) / "f32.engine", threads=1)
    feeds = dict(zip((t.name for t in engine.inputs), _feeds(folder), strict=True))

    def throughput(count: int) -> float:
        contexts = [engine.create_context() for _ in range(count)]
        done = [0] * count
        for context in contexts:
            context.run(feeds)
        end = time.perf_counter() + seconds

        def work(n: int) -> None:
            while time.perf_counter() < end:
                contexts[n].run(feeds)
                done[n] += 1

        workers = [threading.Thread(target=work, args=(n,)) for n in range(count)]
        started = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return sum(done) / (time.perf_counter() - started)

    alone = throughput(1)
    return throughput(2) / alone


def run_onnxruntime(model: str, folder: str, threads: int, runs: int) -> dict[str, Any] | None:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = threads, 1
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
    feeds = dict(zip((t.name for t in session.get_inputs()), _feeds(folder), strict=True))
    session.run(None, feeds)
    return _timed(lambda: session.run(None, feeds), runs) if runs else None


def run_openvino(model: str, folder: str, precision: str, threads: int, runs: int) -> dict[str, Any]:
    """Without `precision`, what OpenVINO takes by itself: bf16 where the CPU has it."""
    import openvino

    core = openvino.Core()
    network = core.read_model(model)
    feeds = _feeds(folder)
    network.reshape({n: list(feed.shape) for n, feed in enumerate(feeds)})
    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    if precision:
        settings["INFERENCE_PRECISION_HINT"] = precision
    request = core.compile_model(network, "CPU", settings).create_infer_request()
    given = dict(enumerate(feeds))
    return _timed(lambda: request.infer(given), runs)


def _feeds(folder: str) -> list[Any]:
    import numpy as np

    with np.load(Path(folder) / "feeds.npz") as saved:
        return [saved[name] for name in saved.files]


def _timed(call: Callable[[], object], runs: int) -> dict[str, Any]:
    return time_calls(call, runs=runs, warmup=2, budget=_BUDGET).to_json()


def _run(options: Options, say: Callable[[str], None]) -> list[Table]:
    nets = {name: options.specs / f"{name}.trtn" for name in SPECS}
    nets |= {path.stem: path for path in (sorted(options.nets.glob("*.onnx")) if options.nets is not None else ())}
    times = Table("One run on the CPU", _TIMES, notes=[_NOTE.format(threads=options.threads)])
    other = Table("First result, memory and contexts on the CPU", _OTHER, notes=[_OTHER_NOTE])
    for name, path in nets.items():
        say(name)
        folder = options.scratch / name
        folder.mkdir(parents=True)
        try:
            isolated(prepare, model=str(path), folder=str(folder))
            measured = _Contenders(path if path.suffix == ".onnx" else folder / "model.onnx", folder, options)
            times.rows.append({"name": name, **measured.times()})
            other.rows.append({"name": name, **measured.other()})
        except Failure as failure:
            times.failures[name] = str(failure)
    times.notes.append(_means(times.rows))
    return [times, other]


class _Contenders:
    """Everybody who runs one network."""

    def __init__(self, model: Path, folder: Path, options: Options) -> None:
        self.options = options
        self.ours = {"folder": str(folder), "threads": options.threads}
        self.theirs = {"model": str(model), **self.ours}

    def times(self) -> dict[str, Any]:
        runs = self.options.runs(_RUNS)
        calls: dict[str, Callable[[], Isolated]] = {
            "f32": lambda: self._isolated(run_trtn, **self.ours, build="f32", runs=runs),
            "ort": lambda: self._isolated(run_onnxruntime, **self.theirs, runs=runs),
            "bf16": lambda: self._isolated(run_trtn, **self.ours, build="bf16", runs=runs),
            "numpy": lambda: self._isolated(run_trtn, **self.ours, build="numpy", runs=runs),
        }
        python = self.options.openvino
        if python is not None:
            for key, precision in (("ov_f32", "f32"), ("ov", "")):
                calls[key] = lambda p=precision: self._isolated(  # type: ignore[misc]
                    run_openvino, python=python, **self.theirs, precision=p, runs=runs
                )
        samples: dict[str, Sample] = {}
        for _ in range(self.options.runs(ROUNDS)):
            for key, call in calls.items():
                sample = Sample(**call().value)
                samples[key] = min(sample, samples.get(key, sample), key=lambda s: s.median)
        pairs = [("f32", "ort"), ("numpy", "ort"), ("f32", "ov_f32"), ("bf16", "ov")]
        ratios = {f"{a}/{b}": samples[b].median / samples[a].median for a, b in pairs if b in samples}
        return {**samples, **ratios, "error": f"{_error(Path(self.ours['folder'])):.1e}"}

    def other(self) -> dict[str, Any]:
        row: dict[str, Any] = {}
        for key, call in (
            ("ours", lambda: self._isolated(run_trtn, **self.ours, build="f32", runs=0)),
            ("theirs", lambda: self._isolated(run_onnxruntime, **self.theirs, runs=0)),
        ):
            peaks: list[int] = []
            row[f"{key}_first"] = time_calls(
                lambda c=call, p=peaks: p.append(c().peak_bytes), runs=self.options.runs(5)
            )  # type: ignore[misc]
            row[f"{key}_peak"] = max(peaks)
        row["first"] = row["theirs_first"].median / row["ours_first"].median
        row["contexts"] = self._isolated(
            run_contexts, folder=self.ours["folder"], seconds=1.0 if self.options.quick else 5.0
        ).value
        return row

    def _isolated(self, function: Callable[..., Any], *, python: str | None = None, **arguments: Any) -> Isolated:
        return isolated(function, blas_threads=self.options.threads, python=python, **arguments)


def _error(folder: Path) -> float:
    """The largest difference of bf16's outputs from those of f32, relative to each output's largest element."""
    import numpy as np

    with np.load(folder / "f32.npz") as exact, np.load(folder / "bf16.npz") as found:
        return max(float(np.abs(found[n] - exact[n]).max() / (np.abs(exact[n]).max() or 1.0)) for n in exact.files)


def _means(rows: list[dict[str, Any]]) -> str:
    texts = []
    for column in _TIMES:
        values = [row[column.key] for row in rows if "/" in column.key and column.key in row]
        if values:
            texts.append(f"{column.heading} {statistics.geometric_mean(values):.2f}")
    return f"Geometric means: {'; '.join(texts)}."


_TIMES = (
    Column("name", "network"),
    Column("f32", "trtn f32", "ms"),
    Column("bf16", "trtn bf16", "ms"),
    Column("numpy", "trtn, NumPy alone", "ms"),
    Column("ort", "ONNX Runtime", "ms"),
    Column("ov_f32", "OpenVINO f32", "ms"),
    Column("ov", "OpenVINO", "ms"),
    Column("f32/ort", "f32, speed in ONNX Runtime's", "ratio"),
    Column("numpy/ort", "NumPy alone, speed in ONNX Runtime's", "ratio"),
    Column("f32/ov_f32", "f32, speed in OpenVINO's", "ratio"),
    Column("bf16/ov", "bf16, speed in OpenVINO's default's", "ratio"),
    Column("error", "bf16's error"),
)
_OTHER = (
    Column("name", "network"),
    Column("ours_first", "trtn, first result", "ms"),
    Column("theirs_first", "ONNX Runtime, first result", "ms"),
    Column("first", "speed in ONNX Runtime's", "ratio"),
    Column("ours_peak", "trtn, peak memory", "bytes"),
    Column("theirs_peak", "ONNX Runtime, peak memory", "bytes"),
    Column("contexts", "two contexts' throughput", "ratio"),
)
_NOTE = (
    "Batch 1, sequences of 128, {threads} threads; medians of the best of several rounds in turns. A ratio above 1 means "
    "that trtn is faster. Without instructions for bf16 a CPU computes in f32 where bf16 is asked for. bf16's error is "
    "the largest difference from f32 in any output, relative to that output's largest element."
)
_OTHER_NOTE = (
    "From the start of a process to its first result, the engine (or the ONNX file) on disk and in the file cache; the "
    "most memory that this process has held. Two threads with a context of one thread each, in the throughput of one."
)

CPU = Benchmark("cpu", "networks on the CPU against ONNX Runtime and OpenVINO (--nets, --openvino)", _run)
