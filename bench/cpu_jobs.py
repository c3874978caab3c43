"""What the CPU's benchmark runs in processes of their own. Little is imported here: it counts in the times until a first
result."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["prepare", "run_contexts", "run_onnxruntime", "run_openvino", "run_trtn"]

LENGTH = 128
"""Of token sequences."""
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
    from bench.harness import time_calls

    return time_calls(call, runs=runs, warmup=2, budget=_BUDGET).to_json()
