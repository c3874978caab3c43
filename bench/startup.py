"""How long it takes until something happens: the import, and the shortest commands, each in fresh processes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from bench.harness import Failure, time_process
from bench.results import Benchmark, Column, Options, Table

__all__ = ["STARTUP"]

_RUNS = 20


def _run(options: Options, say: Callable[[str], None]) -> list[Table]:
    table = Table(
        "Start-up",
        (
            Column("what", "process"),
            Column("time", "median (min–max)", "ms"),
            Column("goal", "goal", "ms"),
            Column("met", "met"),
        ),
        notes=["Python's own start-up is part of every row. Bytecode and file caches are warm."],
    )
    python = sys.executable
    cases: list[tuple[str, Sequence[str], float | None]] = [
        ("`python -c pass`", [python, "-c", "pass"], None),
        ("`import numpy`", [python, "-c", "import numpy"], None),
        ("`import trtn`", [python, "-c", "import trtn"], 0.3),
        ("`trtn --version`", [python, "-m", "trtn", "--version"], None),
        ("`trtn --help`", [python, "-m", "trtn", "--help"], 0.3),
        (
            "`trtn fmt --check lenet.trtn`",
            [python, "-m", "trtn", "fmt", "--check", str(options.specs / "lenet.trtn")],
            None,
        ),
        ("`trtn check lenet.trtn`", [python, "-m", "trtn", "check", str(options.specs / "lenet.trtn")], 0.5),
        ("`trtn check bert_base.trtn`", [python, "-m", "trtn", "check", str(options.specs / "bert_base.trtn")], None),
    ]
    for what, argv, goal in cases:
        say(what)
        try:
            time = time_process(argv, runs=options.runs(_RUNS))
        except Failure as failure:
            table.failures[what.strip("`")] = str(failure)
            continue
        met = None if goal is None else "yes" if time.median < goal else "**no**"
        table.rows.append({"what": what, "time": time, "goal": goal, "met": met})
    return [table]


STARTUP = Benchmark("startup", "import time, and the shortest commands", _run)
