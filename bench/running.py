"""How long one run of an engine takes, and of the same model in ONNX Runtime. Both get the same feeds."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.building import SPECS
from bench.corpus import Model, models
from bench.harness import Failure, Sample, isolated, time_calls
from bench.results import Benchmark, Column, Options, Table

if TYPE_CHECKING:
    from trtn.dsl.network import Network

__all__ = ["RUNNING", "measure_engine", "measure_onnxruntime"]

_RUNS = 30
_BUDGET = 6.0
_SEED = 0


def measure_engine(model: str, arrays: str, runs: int) -> dict[str, Any]:
    """Build a spec or an ONNX model, run it on made-up feeds, leave feeds and outputs in the file `arrays`.

    Feeds have the first profile's optimum shapes; without a profile, likely ones. For a process of its own.
    """
    import numpy as np

    import trtn

    network = trtn.import_onnx(model) if model.endswith(".onnx") else trtn.load(model)
    feeds, sizes = _feeds(network)
    engine = trtn.build(network)
    context = engine.create_context()
    outputs = context.run(feeds)
    time = time_calls(lambda: context.run(feeds), runs=runs, warmup=2, budget=_BUDGET)
    np.savez(
        arrays,
        **{f"feed{n}": feeds[t.name] for n, t in enumerate(network.inputs)},
        **{f"output{n}": outputs[t.name].astype(_saved(outputs[t.name])) for n, t in enumerate(network.outputs)},
    )
    return {
        "time": time.to_json(),
        "sizes": sizes,
        "steps": len(engine.groups),
        "arena_bytes": context.memory,
        "inputs": [t.name for t in network.inputs],
    }


def measure_onnxruntime(model: str, arrays: str, inputs: list[str], threads: int, runs: int) -> dict[str, Any]:
    """Run an ONNX model on the feeds of `arrays`; gives the time, and the largest difference from the outputs there,
    relative to each output's largest element. For a process of its own.
    """
    import numpy as np
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = threads, 1
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
    saved = np.load(arrays)
    names = [t.name for t in session.get_inputs()]
    # Some inputs get other names on import: then all go by position.
    order = [inputs.index(n) for n in names] if set(names) <= set(inputs) else list(range(len(names)))
    feeds = {n: saved[f"feed{at}"] for n, at in zip(names, order, strict=True)}
    outputs = session.run(None, feeds)
    time = time_calls(lambda: session.run(None, feeds), runs=runs, warmup=2, budget=_BUDGET)
    pairs = [(np.asarray(a), saved[f"output{n}"]) for n, a in enumerate(outputs)]
    return {"time": time.to_json(), "difference": max((_difference(a, b) for a, b in pairs), default=0.0)}


def _feeds(network: Network) -> tuple[dict[str, Any], dict[str, int]]:
    from trtn.backend.plan.points import likely_sizes
    from trtn.cli.made_up import make_up
    from trtn.dsl.dims import evaluate

    profile = network.profiles[0] if network.profiles else None
    sizes = profile.corner("optimum") if profile is not None else likely_sizes(network)
    feeds = {}
    for t in network.inputs:
        shape = tuple(evaluate(d, sizes) for d in t.shape)
        feeds[t.name] = make_up(network, t, shape, seed=_SEED, sizes=sizes)
    return feeds, dict(sizes)


def _saved(array: Any) -> Any:
    """NumPy's files know only NumPy's own dtypes."""
    return array.dtype if array.dtype.isbuiltin == 1 else "float32"


def _difference(a: Any, b: Any) -> float:
    import numpy as np

    if a.shape != b.shape:
        return float("inf")
    if a.size == 0:
        return 0.0
    a, b = a.astype(np.float64), b.astype(np.float64)
    scale = max(float(np.abs(a[np.isfinite(a)]).max(initial=0.0)), 1e-6)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    return float(np.where(same, 0.0, np.nan_to_num(np.abs(a - b), nan=np.inf)).max() / scale)


def _run(options: Options, say: Callable[[str], None]) -> list[Table]:
    options.scratch.mkdir(parents=True, exist_ok=True)
    tables = [_spec_table(options, say)]
    if found := models(options.corpus):
        tables.append(_model_table(options, found, say))
    return tables


_NOTE = (
    "The same random feeds for both. A ratio above 1 means that trtn is slower; it is of the medians, and of the least "
    "times, which other work on the machine disturbs less. The difference is the largest of any output's element, "
    "relative to that output's largest element."
)
_COMMON = (
    Column("sizes", "sizes"),
    Column("steps", "steps", "count"),
    Column("arena_bytes", "arena", "bytes"),
    Column("ours", "trtn", "ms"),
)


def _spec_table(options: Options, say: Callable[[str], None]) -> Table:
    table = Table("One run of the specs", (Column("name", "spec"), *_COMMON, Column("peak", "peak memory", "bytes")))
    table.notes.append("The optimum shapes of each spec's first profile; feeds are random.")
    for name in SPECS:
        say(name)
        try:
            table.rows.append({"name": name, **_ours(options, options.specs / f"{name}.trtn")})
        except Failure as failure:
            table.failures[name] = str(failure)
    return table


def _model_table(options: Options, found: list[Model], say: Callable[[str], None]) -> Table:
    theirs = (
        Column("theirs", "ONNX Runtime", "ms"),
        Column("ratio", "ratio", "ratio"),
        Column("least", "of the least", "ratio"),
    )
    table = Table(
        "One run of real models, against ONNX Runtime",
        (Column("name", "model"), *_COMMON, *theirs, Column("difference", "difference")),
        notes=[f"{options.threads} threads each. {_NOTE}"],
    )
    for model in found:
        say(model.name)
        try:
            row = {"name": model.name, **_ours(options, model.path)}
            table.rows.append(row)
            row |= _theirs(options, model.path, row.pop("inputs"), row["ours"])
        except Failure as failure:
            table.failures[model.name] = str(failure)
    table.notes.append(_summary(table.rows))
    table.rows.sort(key=lambda row: row.get("ratio", 0.0))
    return table


def _summary(rows: list[dict[str, Any]]) -> str:
    both = [row for row in rows if "ratio" in row]
    if not both:
        return "No model ran in both."
    medians, least = (statistics.geometric_mean(row[key] for row in both) for key in ("ratio", "least"))
    faster = sum(row["ratio"] < 1 for row in both)
    return (
        f"{len(both)} models ran in both; trtn is faster on {faster}. Geometric mean of the ratios: {medians:.2f}, "
        f"of the least times {least:.2f}."
    )


def _ours(options: Options, path: Path) -> dict[str, Any]:
    done = isolated(
        measure_engine,
        blas_threads=options.threads,
        timeout=240.0,
        model=str(path),
        arrays=str(_arrays(options)),
        runs=options.runs(_RUNS),
    )
    sizes = ", ".join(f"{n} = {v}" for n, v in done.value["sizes"].items())
    return {**done.value, "sizes": sizes or None, "ours": Sample(**done.value["time"]), "peak": done.peak_bytes}


def _theirs(options: Options, path: Path, inputs: list[str], ours: Sample) -> dict[str, Any]:
    found = isolated(
        measure_onnxruntime,
        timeout=240.0,
        model=str(path),
        arrays=str(_arrays(options)),
        inputs=inputs,
        threads=options.threads,
        runs=options.runs(_RUNS),
    ).value
    theirs = Sample(**found["time"])
    return {
        "theirs": theirs,
        "ratio": ours.median / theirs.median,
        "least": ours.low / theirs.low,
        "difference": f"{found['difference']:.1e}",
    }


def _arrays(options: Options) -> Path:
    return options.scratch / "arrays.npz"


RUNNING = Benchmark("running", "one run of the specs, and of ONNX models against ONNX Runtime (needs --corpus)", _run)
