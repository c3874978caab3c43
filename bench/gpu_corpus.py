"""Models of a folder and the specs of this repository on a GPU: right, and faster than by the array library alone.

Each is built twice in the dtypes that it is written in, with all providers and with the reference alone (CuPy), and held
against ONNX Runtime on the CPU. A model's feeds and tolerance are those of tests/corpus/models.json.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

from bench.gpu_jobs import READY, Job
from bench.results import Column, Table

__all__ = ["corpus_jobs", "corpus_table"]

SPECS = Path(__file__).resolve().parent.parent / "specs"
SPEC_TOLERANCE = 1e-3
"""Relative L2 error that a spec's outputs may have: what the models' are held to."""
SECONDS = 0.1
"""How long a time is taken, three times."""
Arrays = Mapping[str, Any]


def corpus_jobs(folder: Path, effort: int, scratch: Path) -> list[Job]:
    """A job for each model that the folder has, and for each spec."""
    from tests.corpus.models import models

    found = {m.name: str(folder / f"{m.name}.onnx") for m in models() if (folder / f"{m.name}.onnx").exists()}
    found |= {p.stem: str(p) for p in sorted(SPECS.glob("*.trtn")) if not p.stem.endswith(".weights")}
    return [
        Job(
            name,
            measure,
            {"name": name, "path": path, "effort": effort},
            {"OMP_NUM_THREADS": "4"},
            scratch / f"{name}.log",
        )
        for name, path in found.items()
    ]


def corpus_table(title: str) -> Table:
    columns = (
        Column("name", "model"),
        Column("error", "error"),
        Column("allowed", "allowed"),
        Column("run", "trtn", "ms"),
        Column("reference", "CuPy alone", "ms"),
        Column("ratio", "ratio", "ratio"),
        Column("how", "a run"),
        Column("build", "build", "s"),
    )
    return Table(title, columns, mean="ratio")


def measure(name: str, path: str, effort: int) -> Generator[str, None, Any]:
    """A row of the table, a job."""
    import trtn

    if path.endswith(".onnx"):
        from tests.corpus.models import models

        network, model = trtn.import_onnx(path), next(m for m in models() if m.name == name)
        feeds, allowed, source = model.feeds(), model.rel_tol, Path(path).read_bytes()
    else:
        network = trtn.load(path)
        feeds, allowed = _feeds(network), SPEC_TOLERANCE
        source = trtn.export_onnx(network).SerializeToString()
    expected = _on_cpu(source, feeds)
    yield "ONNX Runtime has run it"
    began = time.perf_counter()
    engine = trtn.build(network, device="cuda", effort=effort)  # what it times it times alone: the cache has a lock
    built = time.perf_counter() - began
    found = engine.run(feeds)
    error = max(_distance(found[name], theirs) for name, theirs in expected.items())
    run, how = _run(engine, feeds)
    reference, _ = _run(trtn.build(network, device="cuda", providers=()), feeds)
    yield f"built in {built:.1f} s"
    yield READY
    fast, slow = _times(run, reference)
    row = {"name": name, "error": f"{error:.1e}", "allowed": f"{allowed:.0e}", "how": how, "build": built}
    return {**row, "run": fast, "reference": slow, "ratio": slow / fast, "good": error <= allowed}


def _feeds(network: Any) -> dict[str, Any]:
    from trtn.backend.plan.points import likely_sizes
    from trtn.cli.made_up import make_up
    from trtn.dsl.dims import evaluate

    sizes = likely_sizes(network)
    shapes = {t: tuple(evaluate(d, sizes) for d in t.shape) for t in network.inputs}
    return {t.name: make_up(network, t, shape, seed=0, sizes=sizes) for t, shape in shapes.items()}


def _on_cpu(model: bytes, feeds: Arrays) -> dict[str, Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def _distance(found: Any, expected: Any) -> float:
    """||found - expected|| / ||expected||; infinite where they can't be compared."""
    import numpy as np

    if found.shape != expected.shape:
        return float("inf")
    norm = float(np.linalg.norm(expected.astype(np.float64)))
    difference = float(np.linalg.norm(found.astype(np.float64) - expected))
    return difference / (norm or 1.0) if np.isfinite(difference) else float("inf")


def _run(engine: Any, feeds: Arrays) -> tuple[Callable[[], None], str]:
    """A run, enqueued where its outputs can be bound, and how it is done."""
    import cupy

    context, stream = engine.create_context(), cupy.cuda.Stream(non_blocking=True)
    arrays = {name: cupy.asarray(a) for name, a in feeds.items()}
    outputs = {name: cupy.empty_like(a) for name, a in context.run(arrays).items()}
    if engine.network.data_dims:
        return lambda: context.run(arrays), "waits for data"
    context.bind({**arrays, **outputs})
    return lambda: context.execute_async(stream), "enqueued"


def _times(*runs: Callable[[], None]) -> list[float]:
    """Seconds of each run among many of its kind, the runs in turns: medians of three."""
    import cupy

    def once(run: Callable[[], None], count: int) -> float:
        cupy.cuda.Device().synchronize()
        began = time.perf_counter()
        for _ in range(count):
            run()
        cupy.cuda.Device().synchronize()
        return (time.perf_counter() - began) / count

    counts = [max(3, min(1000, int(SECONDS / max(once(run, 3), once(run, 3))))) for run in runs]
    turns = [[once(run, count) for run, count in zip(runs, counts, strict=True)] for _ in range(3)]
    return [statistics.median(times) for times in zip(*turns, strict=True)]
