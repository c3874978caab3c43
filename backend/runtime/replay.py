"""Many calls of C functions as one: a loop in machine code, which Python enters once and leaves the interpreter's lock
for. Where there is no compiler, there is no such loop."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from trtn.backend import machine_code
from trtn.backend.binaries import Binaries
from trtn.backend.devices import crew, openmp
from trtn.backend.providers.base import ForeignCall
from trtn.dsl.records import record

if TYPE_CHECKING:
    from trtn.backend.providers import Launch

__all__ = ["replayed"]

ARGUMENTS = 4
"""What a call has at most. All are passed: the calling conventions of 64-bit machines have registers for so many, and a
function doesn't look at those that it has no parameter for."""
FIELDS = 1 + ARGUMENTS
LOOP = f"""
define i64 @replay(i64 %count, ptr %calls) {{
start:
  %none = icmp eq i64 %count, 0
  br i1 %none, label %done, label %next
next:
  %n = phi i64 [ 0, %start ], [ %after, %fine ]
  %at = mul i64 %n, {FIELDS}
  %call = getelementptr i64, ptr %calls, i64 %at
  %function = load ptr, ptr %call
  %p0 = getelementptr i64, ptr %call, i64 1
  %p1 = getelementptr i64, ptr %call, i64 2
  %p2 = getelementptr i64, ptr %call, i64 3
  %p3 = getelementptr i64, ptr %call, i64 4
  %a0 = load i64, ptr %p0
  %a1 = load i64, ptr %p1
  %a2 = load i64, ptr %p2
  %a3 = load i64, ptr %p3
  %status = call i32 %function(i64 %a0, i64 %a1, i64 %a2, i64 %a3)
  %after = add i64 %n, 1
  %good = icmp eq i32 %status, 0
  br i1 %good, label %fine, label %failed
fine:
  %more = icmp ult i64 %after, %count
  br i1 %more, label %next, label %done
failed:
  ret i64 %after
done:
  ret i64 0
}}

define i32 @threads(ptr %set, i64 %count) {{
  %number = trunc i64 %count to i32
  call void %set(i32 %number)
  ret i32 0
}}
"""
"""`replay` makes calls one after another; it gives 0, or the number of the one that failed, counted from 1. `threads` is
omp_set_num_threads as such a call."""


def replayed(launches: Sequence[Launch]) -> Launch | None:
    """One launch for several that come down to `calls`; None where that can't be had. Of calls that threads share, those
    next to each other are made by a crew."""
    calls = [_Call(n, call) for n, launch in enumerate(launches) for call in getattr(launch, "calls", ())]
    if any(len(c.call.arguments) > ARGUMENTS for c in calls) or (functions := _functions()) is None:
        return None
    usual = openmp.threads()
    if usual > 1:
        calls = _with_crews(_with_threads(calls, functions.threads, usual), functions)
    table = _table([c.call for c in calls])
    count, where = len(calls), ctypes.addressof(table)

    def launch() -> None:
        failed = functions.replay(count, where)
        if failed:
            openmp.set_threads(usual)
            for rest in launches[calls[failed - 1].origin() :]:  # the first knows what its status means, and raises
                rest()

    launch.held = (table, calls, launches)  # type: ignore[attr-defined]  # what the addresses point into
    return launch


@record()
class _Call:
    launch: int
    """The number of the launch that it belongs to."""
    call: ForeignCall
    crew: _Crew | None = None

    def origin(self) -> int:
        """The launch that has failed, if this has."""
        return self.launch if self.crew is None else self.crew.failed().launch


class _Crew:
    """Calls that a crew makes, as one."""

    def __init__(self, calls: Sequence[_Call], functions: _Functions) -> None:
        self.calls = calls
        line = 8 * crew.LINE
        memory = np.zeros(8 * crew.SLOTS + line, np.uint8)
        start = -memory.ctypes.data % line
        self.numbers = memory[start : start + 8 * crew.SLOTS].view(np.int64)
        self.address = self.numbers.ctypes.data
        given = [c.call._replace(arguments=(c.call.arguments[0], self.address)) for c in calls]
        self.table = _table(given)
        self.numbers[:] = crew.numbers(functions.share, len(calls), ctypes.addressof(self.table))

    def failed(self) -> _Call:
        return self.calls[int(self.numbers[crew.FAILED]) - 1]


def _table(calls: Sequence[ForeignCall]) -> Any:
    table = (ctypes.c_int64 * (FIELDS * len(calls)))()
    for n, call in enumerate(calls):
        table[n * FIELDS : n * FIELDS + 1 + len(call.arguments)] = [call.address, *call.arguments]
    return table


def _with_threads(calls: Sequence[_Call], set_count: int, usual: int) -> list[_Call]:
    """The calls, and before each that takes another number of threads than the one before it, one that says so."""
    given = openmp.address("omp_set_num_threads")
    found: list[_Call] = []
    alone = False
    for each in calls:
        if each.call.alone != alone:
            alone = each.call.alone
            found.append(_Call(each.launch, ForeignCall(set_count, (given, 1 if alone else usual))))
        found.append(each)
    if alone:
        found.append(_Call(calls[-1].launch, ForeignCall(set_count, (given, usual))))
    return found


def _with_crews(calls: Sequence[_Call], functions: _Functions) -> list[_Call]:
    """The calls, but several that may be a crew's as one."""
    found: list[_Call] = []
    for possible, group in groupby(calls, lambda c: c.call.shared is not None):
        members = list(group)
        shared = [n for n, c in enumerate(members) if c.call.shared]
        if not possible or len(shared) < 2:
            found += members
            continue
        first, end = shared[0], shared[-1] + 1
        made = _Crew(members[first:end], functions)
        together = _Call(members[first].launch, ForeignCall(functions.together, (made.address,)), made)
        found += [*members[:first], together, *members[end:]]
    return found


class _Functions(NamedTuple):
    replay: Any
    threads: int
    together: int
    share: int
    held: Any


@cache
def _functions() -> _Functions | None:
    """LOOP's functions: the first to be called, and the addresses of the others; None where nothing can be compiled."""
    if machine_code.unavailable() is not None or ctypes.sizeof(ctypes.c_void_p) != 8:
        return None
    text = LOOP + crew.text(pauses=machine_code.has_feature("sse2"))
    kept, key = Binaries(), machine_code.binary_key(text)
    code = kept.find(key)
    if code is None:
        code = machine_code.compile_object(text)
        kept.keep({key: code})
    held = [machine_code.load(code, name) for name in ("replay", "threads", "together", "share")]
    replay, threads, together, share = (function.address for function in held)
    called = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)(replay)
    return _Functions(called, threads, together, share, held)
