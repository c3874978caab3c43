"""A sample of every family's generated kernels, to be run under compute-sanitizer, which makes launches some hundred
times slower:

compute-sanitizer --error-exitcode 1 --tool memcheck python -m tests.gpu.sanitizing
compute-sanitizer --error-exitcode 1 --tool racecheck python -m tests.gpu.sanitizing 1 matmul attention

The arguments are how many cases of each family there are, of the half with the least data, and which families. Results are
checked, too.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from typing import TypeVar

from tests.backend.providers.codegen_cases import CASES
from tests.backend.providers.codegen_harness import Case, check
from tests.gpu.test_codegen import Mirror, launch_of
from trtn.backend.devices import find_device
from trtn.backend.providers.codegen import modules

__all__ = ["main", "sample"]

TACTICS = 5
"""Of a family for one case, evenly from all that it has."""
Launched = tuple[Case, str, str]
T = TypeVar("T")


def sample(cases: int, families: Collection[str] = ()) -> Iterator[Launched]:
    """A case, a family, a tactic."""
    by_family: dict[str, list[tuple[int, int, Case, list[str]]]] = defaultdict(list)
    for number, case in enumerate(CASES):
        tactics: dict[str, list[str]] = defaultdict(list)
        for family, tactic in case.tactics:
            tactics[family].append(tactic)
        nbytes = sum(a.nbytes for a in (*case.inputs, *case.outputs()))
        for family, names in tactics.items():
            by_family[family].append((nbytes, number, case, names))
    for family, found in sorted(by_family.items()):
        if families and family not in families:
            continue
        found.sort(key=lambda entry: entry[:2])
        for _, _, case, names in _spread(found[: -(-len(found) // 2)], cases):
            for tactic in _spread(names, TACTICS):
                yield case, family, tactic


def _spread(items: Sequence[T], count: int) -> Sequence[T]:
    """At most so many of the items, evenly."""
    return items[:: max(1, -(-len(items) // count))]


def main(arguments: list[str]) -> int:
    import cupy

    chosen = list(sample(int(arguments[0]) if arguments else 2, arguments[1:]))
    device = find_device("cuda")
    plans = [case.plan(family, tactic, [*case.inputs, *case.outputs()]) for case, family, tactic in chosen]
    specs = [call.spec for plan in plans for call in (*plan.once, *plan.calls)]
    modules.compile_all(specs, device.name.removeprefix("cuda:"), device.binaries)
    for case, family, tactic in chosen:
        inputs, outputs = [Mirror(a) for a in case.inputs], [Mirror(a) for a in case.outputs()]
        launch_of(case, family, tactic, [m.array for m in inputs], [m.array for m in outputs])()
        cupy.cuda.Device().synchronize()
        check(case, [m.fetch() for m in outputs])
        print(case.name, family, tactic, flush=True)
    print(
        len(chosen),
        "launches,",
        len({c.name for c, _, _ in chosen}),
        "cases,",
        len({f for _, f, _ in chosen}),
        "families",
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
