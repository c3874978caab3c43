"""Loops whose turns run on the threads of OpenMP's pool, which oneDNN's kernels use, too: one pool, so no two fight."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from llvmlite import ir

from trtn.backend.devices.openmp import open_library
from trtn.backend.providers.llvm.emitter import I32, I64, POINTER, Emitter

__all__ = ["cores", "parallel_for", "parallel_region", "share"]

_REGION = ir.FunctionType(ir.VoidType(), [POINTER, POINTER, I32, I32])
"""void GOMP_parallel(void (*fn)(void *), void *data, unsigned num_threads, unsigned flags); 0 threads are as many as
the calling thread's setting says."""


def parallel_for(e: Emitter, count: Any, values: Sequence[Any], body: Callable[[Any, list[Any]], None]) -> None:
    """`body(index, values)` for each index below `count`, in any order: to be written in the body of a kernel.
    `values`, pointers and i64, are all of the kernel's that it may use; `parallel_region()` becomes the last of its
    numbers. Turns are dealt out one by one, so that a thread that starts late, or has to share its core, does less."""
    b = e.b
    frame = e.table(2 + len(values))
    for slot, value in enumerate((I64(0), count, *values)):
        b.store(value, e.at(frame, I64(slot), I64))
    with e.function("turns", [POINTER], ir.VoidType()) as turns:
        b = e.b
        shared = turns.args[0]
        end = e.load(shared, I64(1), I64)
        own = [e.load(shared, I64(slot), value.type) for slot, value in enumerate(values, 2)]
        inside, after = b.append_basic_block(), b.append_basic_block()
        head = b.append_basic_block()
        b.branch(head)
        b.position_at_end(head)
        index = b.atomic_rmw("add", b.bitcast(shared, I64.as_pointer()), I64(1), "monotonic")
        b.cbranch(b.icmp_unsigned("<", index, end), inside, after)
        b.position_at_end(inside)
        stack = e.call("llvm.stacksave.p0", POINTER)  # what a turn takes of it is free again for the next one
        body(index, own)
        e.call("llvm.stackrestore.p0", ir.VoidType(), stack)
        e.b.branch(head)
        b.position_at_end(after)
        b.ret_void()
    b = e.b
    address = e.given(parallel_region())
    alone = b.or_(b.icmp_unsigned("<", count, I64(2)), b.icmp_unsigned("==", address, I64(0)))
    with b.if_else(alone) as (here, together):
        with here:
            b.call(turns, [frame])
        with together:
            b.call(b.inttoptr(address, _REGION.as_pointer()), [turns, frame, I32(0), I32(0)])


@cache
def parallel_region() -> int:
    """The address of libgomp's function; 0 where there is none."""
    library = open_library()
    return 0 if library is None else ctypes.cast(library.GOMP_parallel, ctypes.c_void_p).value or 0


def share(e: Emitter, total: Any, number: Any, parts: Any) -> tuple[Any, Any]:
    """Where a part of a total begins and ends; parts are the same but for one."""
    b = e.b
    return b.udiv(b.mul(number, total), parts), b.udiv(b.mul(b.add(number, I64(1)), total), parts)


def cores() -> int:
    """How many cores a run may have."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
