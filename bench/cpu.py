"""The CPU against the fastest CPU engines: f32, bf16, NumPy alone, first results, memory, contexts side by side.

python -m bench cpu --nets ~/models --openvino ~/openvino-venv/bin/python

OpenVINO runs under an interpreter of its own, which needs nothing else but NumPy. Every measurement has a process of its
own; the contenders take turns, several rounds, and each one's best round counts.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.cpu_jobs import prepare, run_contexts, run_onnxruntime, run_openvino, run_trtn
from bench.harness import Failure, Isolated, Sample, isolated, time_calls
from bench.results import Benchmark, Column, Options, Table

__all__ = ["CPU"]

SPECS = ("resnet50", "mobilenet_v2", "bert_base")
ROUNDS = 3
_RUNS = 30


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
