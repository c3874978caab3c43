"""`trtn bench`: how fast an engine is, and how much memory it takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trtn.cli.console import Console
from trtn.cli.engines import load
from trtn.cli.files import check_writable, replace_text
from trtn.cli.grouped import grouped
from trtn.cli.options import (
    Printing,
    ProfileOption,
    ShapeOption,
    TrustedOption,
    epilog,
    verb,
)
from trtn.cli.progress import ProgressBar
from trtn.cli.tables import bytes_text, duration, plural, rows

if TYPE_CHECKING:
    from trtn.backend.runtime import Context
    from trtn.backend.runtime.profiler import StepProfile

__all__ = ["app"]

app = verb()

_MOST_RUNS = 1_000_000
PROFILED = 20
"""Runs whose steps are timed, at most, where the user does not say how many."""
SLOWEST = 10
"""Steps that are printed of a profile."""


@app.command(
    epilog=epilog(
        "trtn bench resnet50.engine --shape x=8,3,224,224",
        "trtn bench resnet50.engine --threads 4 --duration 10",
        "trtn bench resnet50.engine --profile-out times.json    # which step takes how long",
        "trtn bench resnet50.engine --format json > bench.json",
        one="the engine is damaged, or the shapes do not fit it",
    )
)
@grouped
def bench(
    engine: Annotated[str, typer.Argument(metavar="ENGINE", help="The engine file, or `-`.")],
    shape: ShapeOption = None,
    profile: ProfileOption = None,
    trusted: TrustedOption = None,
    iterations: Annotated[
        int | None,
        typer.Option("--iterations", min=1, metavar="N", help="Runs a context. Default: as many as --duration allows."),
    ] = None,
    seconds: Annotated[
        float, typer.Option("--duration", min=0.01, metavar="SECONDS", help="How long to measure.")
    ] = 3.0,
    warmup: Annotated[
        int, typer.Option("--warmup", min=0, metavar="N", help="Runs a context before the measurement.")
    ] = 3,
    threads: Annotated[
        int, typer.Option("--threads", min=1, metavar="N", help="Contexts that run side by side, a thread each.")
    ] = 1,
    cold: Annotated[
        bool, typer.Option("--cold", help="Also show what the first use costs: reading the engine, the first run.")
    ] = False,
    profile_out: Annotated[
        str | None,
        typer.Option("--profile-out", metavar="FILE", help="Time each step, and write that for `plan --times`."),
    ] = None,
    seed: Annotated[int, typer.Option("--random", min=0, metavar="SEED", help="The seed of the made-up feeds.")] = 0,
    *,
    printing: Printing,
) -> None:
    """Measure an engine's latency and throughput on made-up feeds.

    Shapes that --shape does not give are the profile's optimum. JSON: format_version, engine, device, profile, inputs
    (shapes), contexts, iterations, seconds, latency_ms (min, mean, p50, p90, p99, max), throughput_per_s,
    context_bytes; with --cold cold_ms (load, first_run: kernels prepared, memory taken, graphs recorded).

    Steps are timed one by one, on a GPU without the graph that a run is else recorded as, so they add up to more than
    a run takes. The file: format_version, engine, network, device, sizes, runs, total, steps (milliseconds by name).
    """
    from trtn.cli.feeds import FeedPlan

    if profile_out is not None:
        check_writable(profile_out, "--profile-out")
    plan = FeedPlan.parse(None, shape, seed, profile)
    with Console.of(printing) as console:
        begin = time.perf_counter()
        loaded = load(engine, trusted)
        load_seconds = time.perf_counter() - begin
        contexts = [loaded.create_context(profile) for _ in range(threads)]
        feeds = plan.arrays(loaded.network, loaded.profiles)
        with ProgressBar(console, f"measuring {loaded.name}") as progress:
            begin = time.perf_counter()
            contexts[0].run(feeds)
            first_seconds = time.perf_counter() - begin
            for context in contexts[1:]:
                context.run(feeds)
            workers = [_Worker(context, feeds, warmup, iterations, seconds) for context in contexts]
            took = _measure(workers, progress if threads == 1 else None)
        latencies = sorted(t for w in workers for t in w.latencies)
        used = contexts[0].profile
        report = {
            "format_version": "1.0",
            "engine": loaded.name,
            "device": loaded.device,
            "profile": used.name if used is not None else None,
            "inputs": {name: list(array.shape) for name, array in feeds.items()},
            "contexts": threads,
            "iterations": len(latencies),
            "seconds": took,
            "latency_ms": {key: value * 1e3 for key, value in _statistics(latencies).items()},
            "throughput_per_s": len(latencies) / took,
            "context_bytes": contexts[0].memory,
        }
        if cold:
            report["cold_ms"] = {"load": load_seconds * 1e3, "first_run": first_seconds * 1e3}
        console.result("\n".join(_human(report)))
        if profile_out is not None:
            from trtn.backend.runtime.profiler import profile_steps

            fitting = int(seconds / latencies[len(latencies) // 2])
            steps = profile_steps(loaded, feeds, iterations or min(max(fitting, 3), PROFILED), profile)
            replace_text(Path(profile_out), f"{steps.to_json()}\n")
            console.result("\n".join(_slowest(steps)))
            console.status(f"{profile_out}: {plural(len(steps.steps), 'step')}, the median of {steps.runs} runs")
        console.document(report)


@dataclass(slots=True)
class _Worker:
    """One context's share of the measurement. `latencies` in seconds, one a run."""

    context: Context
    feeds: Mapping[str, Any]
    warmup: int
    iterations: int | None
    seconds: float
    latencies: list[float] = field(default_factory=list)
    error: BaseException | None = None

    def run(self, start: threading.Barrier, progress: ProgressBar | None) -> None:
        try:
            for _ in range(self.warmup):
                self.context.run(self.feeds)
            start.wait()
            self._measure(progress)
        except BaseException as error:
            self.error = error
            start.abort()  # let nobody wait for this one

    def _measure(self, progress: ProgressBar | None) -> None:
        clock = time.perf_counter
        begin = last = clock()
        most = self.iterations or _MOST_RUNS
        while len(self.latencies) < most and (self.iterations is not None or last - begin < self.seconds):
            before = clock()
            self.context.run(self.feeds)
            last = clock()
            self.latencies.append(last - before)
            if progress is not None:
                if self.iterations is not None:
                    progress("measuring", len(self.latencies), most)
                else:
                    progress("measuring", int((last - begin) * 1000), int(self.seconds * 1000))


def _measure(workers: Sequence[_Worker], progress: ProgressBar | None) -> float:
    """Runs all workers at the same time; gives the seconds from the start to the last one's end."""
    start = threading.Barrier(len(workers) + 1)
    threads = [threading.Thread(target=w.run, args=(start, progress), daemon=True) for w in workers]
    for thread in threads:
        thread.start()
    with suppress(threading.BrokenBarrierError):
        start.wait()
    begin = time.perf_counter()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - begin
    for worker in workers:
        if worker.error is not None and not isinstance(worker.error, threading.BrokenBarrierError):
            raise worker.error
    return took


def _statistics(ordered: Sequence[float]) -> dict[str, float]:
    """Of sorted values. A percentile is the least value that so many percent of all do not exceed."""

    def percentile(percent: int) -> float:
        return ordered[max(-(-len(ordered) * percent // 100) - 1, 0)]

    return {
        "min": ordered[0],
        "mean": sum(ordered) / len(ordered),
        "p50": percentile(50),
        "p90": percentile(90),
        "p99": percentile(99),
        "max": ordered[-1],
    }


def _slowest(profile: StepProfile) -> list[str]:
    ordered = sorted(profile.steps.items(), key=lambda item: -item[1])[:SLOWEST]
    table = [[name, duration(ms / 1e3), f"{100 * ms / profile.total:.1f} %"] for name, ms in ordered]
    return ["", f"slowest of {plural(len(profile.steps), 'step')}", *rows(table, right=(1, 2))]


def _human(report: Mapping[str, Any]) -> list[str]:
    shapes = ", ".join(f"{name} {shape}" for name, shape in report["inputs"].items())
    profile = f", profile {report['profile']}" if report["profile"] else ""
    latency = [(name, duration(value / 1e3)) for name, value in report["latency_ms"].items()]
    contexts = plural(report["contexts"], "context")
    runs = f"{plural(report['iterations'], 'run')} in {duration(report['seconds'])}, {contexts}"
    facts = [
        ["latency", *(f"{name} {text}" for name, text in latency if name.startswith("p"))],
        ["", *(f"{name} {text}" for name, text in latency if not name.startswith("p"))],
    ]
    if "cold_ms" in report:
        cold = {name: duration(value / 1e3) for name, value in report["cold_ms"].items()}
        facts.append(["first use", f"load {cold['load']}", f"first run {cold['first_run']}"])
    return [
        f"{report['engine']} on {report['device']}{profile}: {shapes}",
        *rows(facts),
        f"  throughput  {report['throughput_per_s']:,.1f} runs/s ({runs})",
        f"  memory      {bytes_text(report['context_bytes'])} a context",
    ]
