"""Many calls of C functions as one: a loop in machine code, which Python enters once and leaves the interpreter's lock
for. Where there is no compiler, there is no such loop."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from trtn.backend import machine_code
from trtn.backend.binaries import Binaries
from trtn.backend.devices import openmp
from trtn.backend.providers.base import ForeignCall

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
    """One launch for several that come down to `calls`; None where that can't be had."""
    calls = [(n, call) for n, launch in enumerate(launches) for call in getattr(launch, "calls", ())]
    if any(len(call.arguments) > ARGUMENTS for _, call in calls) or (found := _loop()) is None:
        return None
    loop, count_threads = found
    usual = openmp.threads()
    if usual > 1:
        calls = _with_threads(calls, count_threads, usual)
    table = (ctypes.c_int64 * (FIELDS * len(calls)))()
    for n, (_, call) in enumerate(calls):
        table[n * FIELDS : n * FIELDS + 1 + len(call.arguments)] = [call.address, *call.arguments]
    count, where = len(calls), ctypes.addressof(table)

    def launch() -> None:
        failed = loop(count, where)
        if failed:
            openmp.set_threads(usual)
            for rest in launches[calls[failed - 1][0] :]:  # the first knows what its status means, and raises
                rest()

    launch.held = (table, launches)  # type: ignore[attr-defined]  # what the addresses point into
    return launch


def _with_threads(
    calls: Sequence[tuple[int, ForeignCall]], set_count: int, usual: int
) -> list[tuple[int, ForeignCall]]:
    """The calls, and before each that takes another number of threads than the one before it, one that says so."""
    given = openmp.setter()
    found: list[tuple[int, ForeignCall]] = []
    alone = False
    for n, call in calls:
        if call.alone != alone:
            alone = call.alone
            found.append((n, ForeignCall(set_count, (given, 1 if alone else usual))))
        found.append((n, call))
    if alone:
        found.append((calls[-1][0], ForeignCall(set_count, (given, usual))))
    return found


@cache
def _loop() -> tuple[Any, int] | None:
    """The loop as a function, and the address of `threads`; or None."""
    if machine_code.unavailable() is not None or ctypes.sizeof(ctypes.c_void_p) != 8:
        return None
    kept, key = Binaries(), machine_code.binary_key(LOOP)
    code = kept.find(key)
    if code is None:
        code = machine_code.compile_object(LOOP)
        kept.keep({key: code})
    function, threads = machine_code.load(code, "replay"), machine_code.load(code, "threads")
    called = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)(function.address)
    called.held = function, threads  # type: ignore[attr-defined]
    return called, threads.address
