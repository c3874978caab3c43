"""Runs all of ONNX's backend suite with trtn and with ONNX Runtime: `python -m tests.conformance [--write] [PATTERN]`.
What trtn passes goes there and back too: ONNX -> spec -> ONNX -> ONNX Runtime.

With --write, docs/conformance.md and the list of tests that must go on passing are written, unless a test of that list
fails now and --drop does not allow it.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path

from tests.conformance.backend import BACKENDS
from tests.conformance.pool import outcomes
from tests.conformance.report import page
from tests.conformance.round_trip import RoundTrips
from tests.conformance.suite import Outcome, Suite

_HERE = Path(__file__).parent
_PAGE = _HERE.parents[1] / "docs" / "conformance.md"
EXPECTED = _HERE / "expected.txt"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("pattern", nargs="?", default="", help="a regular expression; all tests without it")
    parser.add_argument("--write", action="store_true", help=f"write {_PAGE.name} and {EXPECTED.name}")
    parser.add_argument("--drop", action="store_true", help="let tests go from the list")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    if options.write and options.pattern:
        parser.error("--write is for all tests")
    found: dict[str, dict[str, Outcome]] = {}
    for side, backend in BACKENDS.items():
        suite = Suite(backend)
        names = [n for n in suite.names if re.search(options.pattern, n)]
        found[side] = dict(outcomes(suite, names, workers=options.workers))
        print(side, dict(Counter(o.verdict for o in found[side].values())), file=sys.stderr)
    ours, theirs = found["trtn"], found["onnxruntime"]
    passing = [n for n, o in ours.items() if o.verdict == "pass"]
    trips = dict(outcomes(RoundTrips(), passing, workers=options.workers))
    print("round trip", dict(Counter(o.verdict for o in trips.values())), file=sys.stderr)
    if not options.write:
        for name, outcome in sorted(ours.items()):
            if outcome.verdict != "pass":
                there = "passes there" if theirs[name].verdict == "pass" else "fails there"
                print(f"{outcome.verdict:8} {name} ({there}): {outcome.reason}")
        for name, outcome in sorted(trips.items()):
            if outcome.verdict != "pass":
                print(f"{outcome.verdict:8} {name} there and back: {outcome.reason}")
        return 0
    lost = [n for n in EXPECTED.read_text().split() if n not in ours or ours[n].verdict != "pass"]
    if lost and not options.drop:
        print(f"{len(lost)} tests passed before; nothing is written. The first:", file=sys.stderr)
        for name in lost[:10]:
            print(f"  {name}: {ours[name].reason if name in ours else 'gone'}", file=sys.stderr)
        return 1
    _PAGE.write_text(page(ours, theirs, trips, {name: version(name) for name in ("onnx", "onnxruntime")}))
    EXPECTED.write_text("".join(f"{n}\n" for n, o in sorted(ours.items()) if o.verdict == "pass"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
