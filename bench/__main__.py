"""`python -m bench [NAME..]`: run benchmarks, write their results as JSON, and put them into docs/benchmarks.md.

python -m bench                                # all, into build/bench, the document unchanged
python -m bench checking --quick
python -m bench --corpus ~/models --document docs/benchmarks.md
python -m bench --merge run1/gpu.json run2/gpu.json --document docs/benchmarks.md    # measures nothing
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from bench.building import BUILDING
from bench.checking import CHECKING
from bench.cpu import CPU
from bench.facts import load_average
from bench.importing import IMPORTING
from bench.report import rewrite, section_text
from bench.results import Benchmark, Options, merge_results, read_result, write_result
from bench.running import RUNNING
from bench.startup import STARTUP

__all__ = ["BENCHMARKS", "main"]

BENCHMARKS: tuple[Benchmark, ...] = (STARTUP, CHECKING, IMPORTING, BUILDING, RUNNING, CPU)
_ROOT = Path(__file__).resolve().parent.parent


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for; a benchmark's failures stand in its result, they don't end the run."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    unknown = [name for name in chosen.names if name not in {b.name for b in BENCHMARKS}]
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}; see --help")
    benchmarks = [b for b in BENCHMARKS if not chosen.names or b.name in chosen.names]
    if chosen.corpus is not None and not chosen.corpus.is_dir():
        parser.error(f"no folder {chosen.corpus}")
    if chosen.merge:
        try:
            merge_results(chosen.merge, chosen.out)
        except ValueError as e:
            parser.error(str(e))
    elif not chosen.report_only:
        with tempfile.TemporaryDirectory(prefix="trtn-bench-") as scratch:
            options = Options(
                *(_ROOT / "specs", Path(scratch), chosen.corpus, chosen.quick, chosen.threads),
                *(chosen.nets, chosen.openvino),
            )
            for benchmark in benchmarks:
                _run(benchmark, options, chosen.out)
    if chosen.document is not None:
        for name in rewrite(chosen.document, chosen.out):
            print(f"{chosen.document} has no section for {name}", file=sys.stderr)
    return 0


def _run(benchmark: Benchmark, options: Options, out: Path) -> None:
    before = load_average()
    tables = benchmark.run(options, lambda line: print(f"{benchmark.name}: {line}", file=sys.stderr, flush=True))
    if not tables:
        print(f"{benchmark.name}: skipped, it needs --corpus", file=sys.stderr)
        return
    path = write_result(out, benchmark.name, tables, before)
    print(section_text(*read_result(path)), flush=True)


def _parser() -> argparse.ArgumentParser:
    listed = "\n".join(f"  {b.name:10} {b.about}" for b in BENCHMARKS)
    parser = argparse.ArgumentParser(
        "python -m bench",
        description="Run benchmarks and keep their results.",
        epilog=f"benchmarks:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which; all without any")
    parser.add_argument(
        "--out", type=Path, default=_ROOT / "build" / "bench", help="folder of the JSON results (build/bench)"
    )
    parser.add_argument("--corpus", type=Path, help="folder of .onnx models")
    parser.add_argument("--nets", type=Path, help="folder of .onnx networks to measure against other CPU engines, too")
    parser.add_argument("--openvino", metavar="PYTHON", help="an interpreter that has OpenVINO, to compare with it")
    parser.add_argument("--document", type=Path, help="a Markdown file whose marked sections are rewritten")
    parser.add_argument("--report-only", action="store_true", help="measure nothing, rewrite the document from --out")
    parser.add_argument(
        "--merge", type=Path, nargs="+", metavar="JSON", help="put results of one benchmark together in --out instead"
    )
    parser.add_argument("--threads", type=int, default=2, help="threads of every runtime (2)")
    parser.add_argument("--quick", action="store_true", help="a fifth of the runs")
    return parser


if __name__ == "__main__":
    sys.exit(main())
