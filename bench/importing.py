"""Import of real ONNX models, against what merely reading them takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.corpus import Model, models
from bench.harness import Failure, Sample, isolated, time_calls
from bench.results import Benchmark, Column, Options, Table

__all__ = ["IMPORTING", "measure_import"]

_RUNS = 5
_BUDGET = 15.0


def measure_import(path: str, runs: int) -> dict[str, Any]:
    """Times of `onnx.load` and `trtn.import_onnx`, and how much there is to import. For a process of its own."""
    import onnx

    import trtn

    loading = time_calls(lambda: onnx.load(path), runs=runs, budget=_BUDGET)
    importing = time_calls(lambda: trtn.import_onnx(path), runs=runs, budget=_BUDGET)
    return {
        "loading": loading.to_json(),
        "importing": importing.to_json(),
        "nodes": _count(onnx.load(path).graph),
        "layers": len(trtn.import_onnx(path).layers),
    }


def _count(graph: Any) -> int:
    """The nodes of a graph and of the bodies inside of it."""
    bodies = [a.g for node in graph.node for a in node.attribute if a.HasField("g")]
    return len(graph.node) + sum(map(_count, bodies))


def _run(options: Options, say: Callable[[str], None]) -> list[Table]:
    table = Table(
        "Import against `onnx.load`",
        (
            Column("model", "model"),
            Column("nbytes", "size", "bytes"),
            Column("nodes", "nodes", "count"),
            Column("layers", "layers", "count"),
            Column("loading", "`onnx.load`", "ms"),
            Column("importing", "`import_onnx`", "ms"),
            Column("ratio", "ratio", "ratio"),
            Column("per_node", "a node", "us"),
        ),
        notes=["Both read the file. `import_onnx` also checks: it gives a network with all its shapes proven."],
    )
    for model in models(options.corpus):
        say(model.name)
        try:
            table.rows.append(_row(model, options.runs(_RUNS)))
        except Failure as failure:
            table.failures[model.name] = str(failure)
    return [table] if table.rows or table.failures else []


def _row(model: Model, runs: int) -> dict[str, Any]:
    found = isolated(measure_import, path=str(model.path), runs=runs, timeout=180.0).value
    loading, importing = Sample(**found["loading"]), Sample(**found["importing"])
    return {
        "model": model.name,
        "nbytes": model.path.stat().st_size,
        "nodes": found["nodes"],
        "layers": found["layers"],
        "loading": loading,
        "importing": importing,
        "ratio": importing.median / loading.median,
        "per_node": importing.median / max(1, found["nodes"]),
    }


IMPORTING = Benchmark("importing", "import of ONNX models (needs --corpus)", _run)
