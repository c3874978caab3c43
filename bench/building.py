"""From a spec to an engine file and back: the five specs of this repository, whose weights are generated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.harness import Failure, Sample, isolated, time_calls
from bench.results import Benchmark, Column, Options, Table

__all__ = ["BUILDING", "SPECS", "measure_build"]

SPECS = ("lenet", "mobilenet_v2", "resnet50", "bert_base", "gpt2_small")
_RUNS = 5
_BUDGET = 20.0
_NOTE = (
    "The specs' weights are generated from seeds, which is part of the builds and saves that read them. Engine files "
    "are in the file cache when they are loaded. Peak memory is of one process that does all of it."
)
_TIMES = ("check", "build", "save", "load", "load_unverified")


def measure_build(spec: str, engine: str, runs: int) -> dict[str, Any]:
    """Times of each step, sizes in bytes. For a process of its own."""
    import trtn

    def timed(call: Callable[[], object], warmup: int) -> dict[str, float | int]:
        return time_calls(call, runs=runs, warmup=warmup, budget=_BUDGET).to_json()

    net = trtn.load(spec)
    check = timed(lambda: trtn.load(spec), 0)
    built = trtn.build(net)
    build = timed(lambda: trtn.build(net), 0)
    save = timed(lambda: built.save(engine), 0)
    return {
        "check": check,
        "build": build,
        "save": save,
        "load": timed(lambda: trtn.load_engine(engine), 1),
        "load_unverified": timed(lambda: trtn.load_engine(engine, verify=False), 1),
        "layers": len(net.layers),
        "steps": len(built.groups),
        "weight_bytes": sum(t.weight.nbytes for t in net.weights if t.weight is not None),
        "engine_bytes": Path(engine).stat().st_size,
    }


def _run(options: Options, say: Callable[[str], None]) -> list[Table]:
    table = Table(
        "Build, save, load",
        (
            Column("spec", "spec"),
            Column("layers", "layers", "count"),
            Column("steps", "steps", "count"),
            Column("weight_bytes", "weights", "bytes"),
            Column("engine_bytes", "engine file", "bytes"),
            Column("check", "load the spec", "ms"),
            Column("build", "build", "ms"),
            Column("save", "save", "ms"),
            Column("load", "load", "ms"),
            Column("load_unverified", "load, hashes unread", "ms"),
            Column("peak", "peak memory", "bytes"),
        ),
        notes=[_NOTE],
    )
    options.scratch.mkdir(parents=True, exist_ok=True)
    for name in SPECS:
        say(name)
        engine = options.scratch / f"{name}.engine"
        try:
            done = isolated(
                measure_build,
                blas_threads=options.threads,
                spec=str(options.specs / f"{name}.trtn"),
                engine=str(engine),
                runs=options.runs(_RUNS),
            )
        except Failure as failure:
            table.failures[name] = str(failure)
            continue
        finally:
            engine.unlink(missing_ok=True)
        times = {key: Sample(**done.value[key]) for key in _TIMES}
        table.rows.append({"spec": name, **done.value, **times, "peak": done.peak_bytes})
    return [table]


BUILDING = Benchmark("building", "build, save and load the five specs", _run)
