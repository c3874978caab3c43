"""Taking times: of calls, of whole processes, and of functions that need a process of their own.

time_calls(lambda: f(x), runs=20)                   # Sample(median=.., low=.., high=.., runs=20), in seconds
time_process([sys.executable, "-c", "import trtn"], runs=10)
isolated(measure_one, spec="specs/lenet.trtn")      # measure_one's result, from a fresh process
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "Failure",
    "Isolated",
    "Sample",
    "isolated",
    "time_calls",
    "time_process",
]

_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Sample:
    """Several measurements of one thing, in seconds."""

    median: float
    low: float
    high: float
    runs: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Sample:
        return cls(statistics.median(seconds), min(seconds), max(seconds), len(seconds))

    def to_json(self) -> dict[str, float | int]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Isolated:
    """What a function gave that ran in a process of its own, and that process's peak resident memory in bytes."""

    value: Any
    peak_bytes: int


class Failure(Exception):
    """What was to be measured failed. The message is one line, fit for a table's footnote."""


def time_calls(call: Callable[[], object], *, runs: int, warmup: int = 1, budget: float = 30.0) -> Sample:
    """Time up to `runs` calls, one by one. When `budget` seconds are spent, what has been measured by then counts."""
    started = time.perf_counter()
    for _ in range(warmup):
        call()
    seconds: list[float] = []
    while not seconds or (len(seconds) < runs and time.perf_counter() - started < budget):
        before = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - before)
    return Sample.of(seconds)


def time_process(argv: Sequence[str], *, runs: int, warmup: int = 1) -> Sample:
    """Time a command from start to end. Raises Failure where it does not exit with 0."""

    def once() -> None:
        done = subprocess.run(argv, cwd=_ROOT, env=_environment(), capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failure(f"exit code {done.returncode}: {_last_line(done.stderr or done.stdout)}")

    return time_calls(once, runs=runs, warmup=warmup, budget=120.0)


def isolated(
    function: Callable[..., Any],
    *,
    timeout: float = 600.0,
    blas_threads: int = 2,
    python: str | None = None,
    **arguments: Any,
) -> Isolated:
    """Run a module-level function in a fresh process, with JSON arguments and a JSON result.

    blas_threads: what NumPy may use there. python: the interpreter, this one by default. Raises Failure where the
    function raises, the process dies, or `timeout` seconds pass.
    """
    argv = [
        python or sys.executable,
        "-m",
        "bench.worker",
        function.__module__,
        function.__qualname__,
        json.dumps(arguments),
    ]
    try:
        done = subprocess.run(
            argv,
            cwd=_ROOT,
            env={**_environment(), **_thread_environment(blas_threads)},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Failure(f"not done after {timeout:g} s") from None
    if done.returncode < 0:
        raise Failure(f"killed by signal {-done.returncode}")
    if done.returncode:
        raise Failure(_last_line(done.stderr) or f"exit code {done.returncode}")
    answer: Mapping[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return Isolated(answer["value"], answer["peak_bytes"])


def _environment() -> dict[str, str]:
    """This process's environment, but with bytecode kept: otherwise each start would compile the package anew, which no
    user's does."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _thread_environment(threads: int) -> dict[str, str]:
    """The environment that holds the BLAS libraries of a process to a number of threads."""
    return dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
