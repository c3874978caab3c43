"""Plans built side by side, in processes of their own. A pool lives as long as its jobs."""

from __future__ import annotations

import base64
import json
import logging
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future

from trtn.backend.providers.cudnn.library import CudnnError
from trtn.backend.providers.cudnn.spec import GraphSpec, PlanName

__all__ = ["FEWEST", "Job", "Pool"]

_log = logging.getLogger(__name__)

Job = tuple[GraphSpec, PlanName]
MOST = 12
"""Processes; each holds a CUDA context of some hundred megabytes."""
FEWEST = 24
"""Jobs below which processes take longer to start than they save."""
COMMAND = (sys.executable, "-m", "trtn.backend.providers.cudnn.worker")


class Pool:
    """Starts to build at once; `result` waits for a plan."""

    def __init__(self, jobs: Sequence[Job], command: Sequence[str] = COMMAND, most: int = MOST) -> None:
        self._command = command
        self._waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._futures: dict[Job, Future[bytes]] = {job: Future() for job in jobs}
        for job in self._futures:
            self._waiting.put(job)
        count = max(1, min(most, (os.cpu_count() or 1) - 2, len(self._futures)))
        self._running = count
        self._lock = threading.Lock()
        for _ in range(count):
            threading.Thread(target=self._work, daemon=True).start()

    def result(self, job: Job) -> bytes | None:
        """A job's plan; None where it is none of the pool's, or the processes failed. Raises CudnnError where cuDNN
        does not build it."""
        future = self._futures.get(job)
        if future is None:
            return None
        try:
            return future.result()
        except _FailedError as e:
            _log.info("a plan is not built by another process: %s", e)
            return None

    def cancel(self) -> None:
        """Let go of the jobs that nobody has begun."""
        while True:
            try:
                self._futures[self._waiting.get_nowait()].set_exception(_FailedError("cancelled"))
            except queue.Empty:
                return

    def _work(self) -> None:
        """One process and its jobs."""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        try:
            with subprocess.Popen(self._command, env=environment, text=True, **pipes) as process:  # type: ignore[call-overload]
                self._serve(process)
        except OSError as e:
            _log.warning("no process to build plans: %s", e)
        finally:
            with self._lock:
                self._running -= 1
                if not self._running:
                    self.cancel()

    def _serve(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        answered = False
        while True:
            try:
                job = self._waiting.get_nowait()
            except queue.Empty:
                return
            future = self._futures[job]
            try:
                process.stdin.write(json.dumps([job[0].to_json(), str(job[1])]) + "\n")
                process.stdin.flush()
                answer = process.stdout.readline()
            except OSError as e:
                future.set_exception(_FailedError(str(e)))
                return
            if answer.startswith("!"):
                future.set_exception(CudnnError(answer[1:].strip()))
            elif answer:
                future.set_result(base64.b64decode(answer))
            else:
                ended = "the process that builds it ended"
                future.set_exception(CudnnError(ended) if answered else _FailedError(ended))
                return
            answered = True


class _FailedError(Exception):
    """A process is of no use."""
