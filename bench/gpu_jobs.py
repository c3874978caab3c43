"""Measurements in processes of their own that get ready side by side, and are timed alone.

A job is a generator function: what it yields are lines of progress, `READY` among them; what it does up to there may
run beside other jobs, what comes after runs while all others are stopped. What it returns is its result.

python -m bench.gpu_jobs MODULE FUNCTION ARGUMENTS          # a job, as `Jobs` starts it
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from bench.harness import Failure

__all__ = ["READY", "Job", "main", "run_jobs"]

READY = "ready to be timed"
_ROOT = Path(__file__).resolve().parent.parent


@dataclass(slots=True)
class Job:
    """`function` of a module, called with JSON arguments and with additions to the environment."""

    name: str
    function: Callable[..., Generator[str, None, Any]]
    arguments: Mapping[str, Any]
    environment: Mapping[str, str] = field(default_factory=dict)
    log: Path = Path(os.devnull)
    """Takes what the job prints."""
    _process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        where = [self.function.__module__, self.function.__qualname__, json.dumps(self.arguments)]
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bench.gpu_jobs", *where],
                cwd=_ROOT,
                env={**os.environ, **self.environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,  # so that it is stopped with all that it has started
            )

    def prepare(self, say: Callable[[str], None]) -> None:
        """Wait until it is ready. Raises Failure."""
        for line in self._lines():
            say(f"{self.name}: {line['stage']}")
            if line["stage"] == READY:
                return

    def finish(self, say: Callable[[str], None]) -> Any:
        """Let it go on to its end; gives its result. Raises Failure."""
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.close()
        for line in self._lines():
            if "value" in line:
                self._process.wait()
                return line["value"]
            say(f"{self.name}: {line['stage']}")
        raise Failure("it gave no result")

    def signal(self, number: int) -> None:
        """Send a signal to it and what it has started, where it runs."""
        if self._process is not None and self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def last_line(self) -> str:
        """Of what it has printed so far."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return next((line.strip()[:300] for line in reversed(text.splitlines()) if line.strip()), "")

    def _lines(self) -> Iterator[Mapping[str, Any]]:
        assert self._process is not None and self._process.stdout is not None
        while text := self._process.stdout.readline():
            yield json.loads(text)
        if code := self._process.wait():
            printed = [line.strip() for line in self.log.read_text().splitlines() if line.strip()]
            raise Failure(
                f"killed by signal {-code}" if code < 0 else "".join(printed[-1:])[:300] or f"exit code {code}"
            )


def run_jobs(jobs: Sequence[Job], beside: int, say: Callable[[str], None]) -> Iterator[tuple[Job, Any | Failure]]:
    """Each job with its result or failure, as they come. `beside` jobs run at a time."""
    alone, ended = threading.Lock(), threading.Event()

    def run(job: Job) -> Any:
        try:
            with alone:  # nothing starts while another one is timed
                if ended.is_set():
                    raise Failure("broken off")
                job.start()
            job.prepare(say)
            with alone, _stopped([j for j in jobs if j is not job]):
                return job.finish(say)
        finally:
            job.signal(signal.SIGKILL)

    def end(number: int, frame: object) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        with ThreadPoolExecutor(beside) as pool:
            running = {pool.submit(run, job): job for job in jobs}
            try:
                for future in as_completed(running):
                    error = future.exception()
                    if error is not None and not isinstance(error, Failure):
                        raise error
                    yield running[future], future.result() if error is None else error
            except SystemExit:
                for job in jobs:
                    say(f"{job.name} is broken off: {job.last_line()}")
                raise
            finally:
                ended.set()
                pool.shutdown(wait=False, cancel_futures=True)
                for job in jobs:
                    job.signal(signal.SIGKILL)
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _stopped(jobs: Sequence[Job]) -> Iterator[None]:
    for job in jobs:
        job.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for job in jobs:
            job.signal(signal.SIGCONT)


def main(module: str, function: str, arguments: str) -> int:
    """Run a job: a line of JSON for each of its lines, one for its result. What it prints otherwise goes to the
    standard error."""
    with os.fdopen(os.dup(1), "w", buffering=1) as answers:
        os.dup2(2, 1)
        try:
            _run(getattr(import_module(module), function)(**json.loads(arguments)), answers)
        except Exception as error:  # whatever it is, it becomes a row's failure
            lines = str(error).splitlines() or [""]
            sys.stdout.flush()  # so that the error is the last thing said
            print(f"{type(error).__name__}: {lines[0]}", file=sys.stderr)
            return 1
    return 0


def _run(job: Generator[str, None, Any], answers: IO[str]) -> None:
    while True:
        try:
            stage = next(job)
        except StopIteration as end:
            print(json.dumps({"value": end.value}), file=answers)
            return
        print(json.dumps({"stage": stage}), file=answers)
        if stage == READY:
            sys.stdin.readline()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
