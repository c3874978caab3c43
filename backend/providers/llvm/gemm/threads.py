"""Loops whose turns run on the threads of OpenMP's pool, which oneDNN's kernels use, too: one pool, so no two fight. Where
the caller has a crew of them, that takes the turns."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from trtn.backend.devices import crew, openmp
from trtn.backend.providers.llvm.emitter import I1, I32, I64, POINTER, Emitter

__all__ = ["cores", "parallel_for", "parallel_region", "share"]

_REGION = ir.FunctionType(ir.VoidType(), [POINTER, POINTER, I32, I32])
"""void GOMP_parallel(void (*fn)(void *), void *data, unsigned num_threads, unsigned flags); 0 threads are as many as
the calling thread's setting says."""
_SHARE = ir.FunctionType(ir.VoidType(), [POINTER, POINTER, POINTER])
"""void share(ptr crew, void (*fn)(void *), void *data), of backend.devices.crew."""

_TAKEN, _ENTERED, _DONE = 0, 1, (8, 16)
"""Numbers that the threads share: how many turns are taken; how many threads have come; how many turns are taken from
either end, in cache lines of their own."""
_END = 17
_FIRST = _END + 1


def parallel_for(e: Emitter, count: Any, values: Sequence[Any], body: Callable[[Any, list[Any]], None]) -> None:
    """`body(index, values)` for each index below `count`, in any order: to be written in the body of a kernel.
    `values`, pointers and i64, are all of the kernel's that it may use; `parallel_region()` becomes the last of its
    numbers. Turns are dealt out one by one, so that a thread that starts late, or has to share its core, does less; half of
    the threads take them from the end on, so that what a thread reads is what it wrote in the kernel before."""
    b = e.b
    frame = e.table(_FIRST + len(values))
    for slot, value in [(slot, I64(0)) for slot in (_TAKEN, _ENTERED, *_DONE)] + [*enumerate((count, *values), _END)]:
        b.store(value, e.at(frame, I64(slot), I64))
    with e.function("turns", [POINTER], ir.VoidType()) as turns:
        b = e.b
        shared = turns.args[0]
        end = e.load(shared, I64(_END), I64)
        own = [e.load(shared, I64(slot), value.type) for slot, value in enumerate(values, _FIRST)]
        down = b.trunc(b.atomic_rmw("add", e.at(shared, I64(_ENTERED), I64), I64(1), "monotonic"), I1)
        done = e.at(shared, b.select(down, I64(_DONE[1]), I64(_DONE[0])), I64)
        inside, after = b.append_basic_block(), b.append_basic_block()
        head = b.append_basic_block()
        b.branch(head)
        b.position_at_end(head)
        taken = b.atomic_rmw("add", e.at(shared, I64(_TAKEN), I64), I64(1), "monotonic")
        b.cbranch(b.icmp_unsigned("<", taken, end), inside, after)
        b.position_at_end(inside)
        number = b.atomic_rmw("add", done, I64(1), "monotonic")
        index = b.select(down, b.sub(b.sub(end, I64(1)), number), number)
        stack = e.call("llvm.stacksave.p0", POINTER)  # what a turn takes of it is free again for the next one
        body(index, own)
        e.call("llvm.stackrestore.p0", ir.VoidType(), stack)
        e.b.branch(head)
        b.position_at_end(after)
        b.ret_void()
    b = e.b
    address = e.given(parallel_region())
    with b.if_else(b.icmp_unsigned("<", count, I64(2))) as (alone, together):
        with alone:
            b.call(turns, [frame])
        with together, b.if_else(b.icmp_unsigned("!=", e.crew, POINTER(None))) as (crewed, uncrewed):
            with crewed:
                share_out = e.load(e.crew, I64(crew.SHARE), I64)
                b.call(b.inttoptr(share_out, _SHARE.as_pointer()), [e.crew, turns, frame])
            with uncrewed, b.if_else(b.icmp_unsigned("==", address, I64(0))) as (nobody, region):
                with nobody:
                    b.call(turns, [frame])
                with region:
                    b.call(b.inttoptr(address, _REGION.as_pointer()), [turns, frame, I32(0), I32(0)])


def parallel_region() -> int:
    """The address of libgomp's function; 0 where there is none."""
    return openmp.address("GOMP_parallel")


def share(e: Emitter, total: Any, number: Any, parts: Any) -> tuple[Any, Any]:
    """Where a part of a total begins and ends; parts are the same but for one."""
    b = e.b
    return b.udiv(b.mul(number, total), parts), b.udiv(b.mul(b.add(number, I64(1)), total), parts)


def cores() -> int:
    """How many cores a run may have."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
