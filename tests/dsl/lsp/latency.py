"""How long after an edit its findings are shown, on the spec of 2,000 lines: `python -m tests.dsl.lsp.latency`.

A statement is broken and mended again, thirty times, in another place each time. First: the findings about that
statement. Whole: those of the check of the whole text that follows. By the clock, of this process, client included.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

from lsprotocol import types as lsp
from pytest_lsp.client import make_test_lsp_client

from tests.dsl.lsp.editor import Editor
from tests.dsl.lsp.large_spec import SPEC, write

EDITS = 30
PAUSE = 1.0
"""Seconds between edits: a person's hand leaves the keys."""


async def measure(folder: Path) -> dict[str, list[float]]:
    client = make_test_lsp_client()
    await client.start_io(sys.executable, "-m", "trtn", "lsp")
    await client.initialize_session(lsp.InitializeParams(lsp.ClientCapabilities()))
    editor = Editor(client, write(folder))
    await editor.open()
    times: dict[str, list[float]] = {"first": [], "whole": []}
    for n in range(EDITS):
        await asyncio.sleep(PAUSE)
        at = n * 37 % 200
        before = time.perf_counter()
        editor.type(SPEC if n % 2 else SPEC.replace(f"q{at} = linear(h{at},", f"q{at} = linear(nothing,"))
        for stage in ("first", "whole"):
            assert bool(await editor.findings()) == (n % 2 == 0)
            times[stage].append(time.perf_counter() - before)
    await client.shutdown_session()
    await client.stop()
    return times


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        for stage, seconds in asyncio.run(measure(Path(scratch))).items():
            low, middle, high = (1000 * f(seconds) for f in (min, statistics.median, max))
            print(f"{stage}: median {middle:.0f} ms, {low:.0f} to {high:.0f} ms, {len(seconds)} edits")
