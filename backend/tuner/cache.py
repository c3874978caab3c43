"""The timing cache: how long each tactic took for a problem on a device, kept on disk from build to build.

Times are kept for every tactic, not the winner alone: a new provider is timed beside what is known of the others. One
file a problem and device, written whole; a file that can't be read, or says something else, is one that is not there.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from trtn.dsl.weights.atomic import replacing

__all__ = ["FORMAT", "Record", "TacticId", "TimingCache"]

_log = logging.getLogger(__name__)

FORMAT = 2
"""Goes up when records made before are not to be trusted. Those of 1 may call a fast tactic slow: its first launch was
timed with the host's time in it."""


@dataclass(frozen=True, slots=True, order=True)
class TacticId:
    """A tactic of a version of a provider."""

    provider: str
    version: str
    tactic: str


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a tactic for a problem: its time, or why it is out."""

    seconds: float | None
    workspace: int = 0
    reason: str = ""
    left_at: int | None = None
    """The effort at which it was left untried, because those before it were no better."""


Records = dict[TacticId, Record]


class TimingCache:
    """Records by problem, for one device. Without a folder nothing is kept."""

    def __init__(self, folder: Path | None, device: str) -> None:
        self._device = device
        self._folder = None
        if folder is not None:
            self._folder = folder / "timings" / hashlib.sha256(device.encode()).hexdigest()[:16]

    def read(self, key: str) -> Records:
        """What is known about a problem; empty where there is nothing, or nothing that makes sense."""
        if self._folder is None:
            return {}
        try:
            row = json.loads((self._folder / f"{key}.json").read_text(encoding="utf-8"))
            same = (row["format"], row["device"], row["problem"]) == (FORMAT, self._device, key)
            return dict(_record(r) for r in row["records"]) if same else {}
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return {}

    def add(self, key: str, records: Mapping[TacticId, Record]) -> None:
        """Put records beside, or in the place of, those that are there. A cache that can't be written is said so in
        the log, and nothing else."""
        if self._folder is None or not records:
            return
        merged = {**self.read(key), **records}
        row = {
            "format": FORMAT,
            "device": self._device,
            "problem": key,
            "records": [
                {
                    "provider": t.provider,
                    "version": t.version,
                    "tactic": t.tactic,
                    "seconds": r.seconds,
                    "workspace": r.workspace,
                    "reason": r.reason,
                    "left_at": r.left_at,
                }
                for t, r in sorted(merged.items(), key=lambda item: item[0])
            ],
        }
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with replacing(self._folder / f"{key}.json") as file:
                file.write((json.dumps(row, indent=1) + "\n").encode())
        except OSError as e:
            _log.warning("the timing cache can't be written: %s", e)

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Only one process measures on a machine at a time: who waited here looks into the cache again. The file is
        never deleted, so that all lock the same one."""
        if self._folder is None:
            yield
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(self._folder / "measuring.lock", os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as e:
            _log.warning("the timing cache can't be locked: %s", e)
            yield
            return
        try:
            _wait_for(lock)
            yield
        finally:
            os.close(lock)


def _wait_for(lock: int) -> None:
    """Hold the lock until the file is closed. On systems without flock nobody waits."""
    try:
        import fcntl
    except ImportError:
        return
    fcntl.flock(lock, fcntl.LOCK_EX)  # and not lockf, which lets a process's other threads in


def _record(row: Any) -> tuple[TacticId, Record]:
    """A record of the file. Raises ValueError, TypeError or KeyError for what is none."""
    texts = (row["provider"], row["version"], row["tactic"], row["reason"])
    seconds, workspace, left_at = row["seconds"], row["workspace"], row["left_at"]
    if not all(isinstance(t, str) for t in texts) or not isinstance(workspace, int):
        raise TypeError("not a record")
    if left_at is not None and not isinstance(left_at, int):
        raise TypeError("not an effort")
    if seconds is not None and not (isinstance(seconds, float) and isfinite(seconds) and seconds > 0):
        raise ValueError("not a time")
    return TacticId(*texts[:3]), Record(seconds, workspace, texts[3], left_at)
