"""How checking grows with the length of a spec: parse, manifest, elaboration, proofs, each and all; and formatting."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.generated_spec import write_spec
from bench.harness import Failure, Sample, isolated
from bench.results import Benchmark, Column, Options, Table

__all__ = ["CHECKING", "measure_stages", "measure_whole"]

_SIZES = {1_000: 5, 10_000: 3, 100_000: 1}
"""Statements, and how often the whole check is timed."""
_GOAL_SECONDS = 20.0
_GOAL_BYTES = 10**9
_STAGES = ("parse", "manifest", "elaborate", "prove", "format")


def measure_whole(path: str) -> list[float]:
    """Seconds that `trtn.load` takes, by the clock and of the CPU. For a process of its own."""
    import trtn
    from trtn.dsl.ops.base import catalogue

    catalogue()  # the op modules are imported once a process: that is start-up, not checking
    before, busy = time.perf_counter(), time.process_time()
    trtn.load(path)
    return [time.perf_counter() - before, time.process_time() - busy]


def measure_stages(path: str) -> dict[str, float]:
    """Seconds of each stage, in a process of its own. The spec is parsed twice: alone, and with all that it names."""
    from trtn.dsl.check import check_network
    from trtn.dsl.diagnostics import Sink
    from trtn.dsl.elaborate import Loader, elaborate_network
    from trtn.dsl.ops.base import catalogue
    from trtn.dsl.syntax import format_source, parse, read_source
    from trtn.dsl.syntax.collecting import no_collections
    from trtn.dsl.weights.manifest import load_manifest

    catalogue()
    sink = Sink()
    source = read_source(path, sink)
    manifest = read_source(str(Path(path).with_suffix("")) + ".weights.trtn", sink)
    if source is None or manifest is None:
        raise Failure("the generated files can't be read")
    seconds = {}

    def stage(name: str, call: Callable[[], Any]) -> Any:
        before = time.perf_counter()
        value = call()
        seconds[name] = time.perf_counter() - before
        return value

    with no_collections():  # as `trtn.load` does
        stage("parse", lambda: parse(source, sink))
        stage("manifest", lambda: load_manifest(manifest, sink))
        unit = Loader(sink).unit(source)
        made = stage("elaborate", lambda: elaborate_network(unit, unit.networks["generated"], sink))
        if made is None or sink.has_errors:
            raise Failure("the generated spec has errors")
        stage("prove", lambda: check_network(made.network, made.requirements, sink, made.spans))
    stage("format", lambda: format_source(source))
    return seconds


def _run(options: Options, say: Callable[[str], None]) -> list[Table]:
    table = Table(
        "Checking long specs",
        (
            Column("statements", "statements", "count"),
            Column("tensors", "weights", "count"),
            Column("text_bytes", "spec", "bytes"),
            Column("manifest_bytes", "manifest", "bytes"),
            *(Column(name, name, "s") for name in _STAGES),
            Column("whole", "`trtn.load`", "s"),
            Column("cpu", "its CPU time", "s"),
            Column("per_statement", "CPU a statement", "us"),
            Column("peak", "peak memory", "bytes"),
        ),
        notes=["The stages are timed in one process, `trtn.load` in others; peak memory is of these."],
    )
    for statements, runs in _SIZES.items():
        say(f"{statements:,} statements")
        spec = write_spec(options.scratch / f"generated-{statements}", statements)
        row: dict[str, Any] = asdict(spec)
        try:
            wholes = [isolated(measure_whole, path=str(spec.path)) for _ in range(options.runs(runs))]
            row |= isolated(measure_stages, path=str(spec.path)).value
        except Failure as failure:
            table.failures[f"{statements:,} statements"] = str(failure)
            continue
        whole, cpu = (Sample.of(list(times)) for times in zip(*(w.value for w in wholes), strict=True))
        row |= {"whole": whole, "cpu": cpu, "peak": max(w.peak_bytes for w in wholes)}
        row["per_statement"] = cpu.median / statements
        table.rows.append(row)
    table.notes += _verdicts(table.rows)
    return [table]


def _verdicts(rows: list[dict[str, Any]]) -> list[str]:
    """What the goals say to the longest spec, and how far the growth is from linear."""
    if len(rows) < 2:
        return []
    last, before = rows[-1], rows[-2]
    seconds, peak = last["whole"].median, last["peak"]
    growth = last["per_statement"] / before["per_statement"]
    return [
        f"Goal for the longest: {_GOAL_SECONDS:g} s by the clock. {_word(seconds < _GOAL_SECONDS)}: {seconds:.1f} s.",
        f"Goal for its memory: {_GOAL_BYTES / 1e9:g} GB. {_word(peak < _GOAL_BYTES)}: {peak / 1e9:.2f} GB.",
        f"A statement of it costs {growth:.2f} times what one costs in a spec of {before['statements']:,}.",
    ]


def _word(met: bool) -> str:
    return "Met" if met else "**Missed**"


CHECKING = Benchmark("checking", "parse, elaborate and check generated specs of 1k to 100k statements", _run)
