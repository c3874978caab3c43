"""Kernels whose body every thread of a team runs, each its share: the threads of OpenMP's pool, as oneDNN's kernels have
them, so that there is one pool."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

from trtn.backend.devices import openmp
from trtn.backend.devices.crew import PATIENCE
from trtn.backend.machine_code import has_feature
from trtn.backend.providers.llvm.emitter import I32, I64, NAME, POINTER, Emitter, addresses_in

__all__ = ["TeamEmitter"]

_REGION = ir.FunctionType(ir.VoidType(), [POINTER, POINTER, I32, I32])
"""void GOMP_parallel(void (*fn)(void *), void *data, unsigned num_threads, unsigned flags); 0 threads are as many as
the calling thread's setting says."""
_QUESTION = ir.FunctionType(I32, [])
"""int omp_get_thread_num(void), int omp_get_num_threads(void), int sched_yield(void)"""
_ADDRESS, _STATUS, _MEETING, _SLOTS = range(4)
"""What the threads share: where the addresses are, the statuses, how often one has come to a meeting, and `SLOTS` numbers
of the body's own."""
SLOTS = 2


class TeamEmitter(Emitter):
    """Writes a body that `team` threads run at a time; `member` says which of them this is, from 0 on. Both are i64."""

    def __init__(self, count: int, *, alone: bool = False) -> None:
        """`alone`: one thread runs it after all, for there is too little to do; the text is the same."""
        super().__init__(count, (POINTER, I64, I64))
        self.numbers = [0, 0, 0, 0] if alone else list(_functions())
        b = ir.IRBuilder(self._entry)
        address = b.load(b.gep(self._table, [I64(3)], source_etype=I64), typ=I64)
        self._yield = b.inttoptr(address, _QUESTION.as_pointer())
        self._meeting, self.member, self.team = self.more
        self.slots = [self.at(self._meeting, I64(1 + n), I64) for n in range(SLOTS)]
        """The addresses of i64 that all members see, 0 at the start."""

    def _enter(self, inner: Any, count: int) -> None:
        inner.attributes.discard("alwaysinline")
        inner.attributes.add("noinline")  # it is called in two places, to be compiled once
        members = ir.Function(self.module, ir.FunctionType(ir.VoidType(), [POINTER]), "members")
        members.linkage = "internal"
        outer = ir.Function(self.module, ir.FunctionType(I32, [POINTER, POINTER]), NAME)

        def slot(b: Any, array: Any, number: int) -> Any:
            return b.gep(array, [I64(number)], source_etype=I64)

        def function(b: Any, table: Any, number: int, kind: Any) -> Any:
            return b.inttoptr(b.load(slot(b, table, number), typ=I64), kind.as_pointer())

        b = ir.IRBuilder(members.append_basic_block())
        (frame,) = members.args
        given = addresses_in(b, b.load(slot(b, frame, _ADDRESS), typ=POINTER), count)
        member, team = (b.zext(b.call(function(b, given[-1], n, _QUESTION), []), I64) for n in (1, 2))
        status = b.call(inner, [*given, POINTER(None), slot(b, frame, _MEETING), member, team])
        b.atomic_rmw("or", slot(b, frame, _STATUS), b.zext(status, I64), "monotonic")
        b.ret_void()

        b = ir.IRBuilder(outer.append_basic_block())
        frame = b.alloca(ir.ArrayType(I64, _SLOTS + SLOTS))
        frame.type = POINTER  # llvmlite says that it points to an array, and then takes nothing else
        b.store(b.ptrtoint(outer.args[0], I64), slot(b, frame, _ADDRESS))
        for number in range(_STATUS, _SLOTS + SLOTS):
            b.store(I64(0), slot(b, frame, number))
        given = addresses_in(b, outer.args[0], count)
        alone = b.icmp_unsigned("==", b.load(slot(b, given[-1], 0), typ=I64), I64(0))
        with b.if_else(alone) as (here, together):
            with here:
                b.ret(b.call(inner, [*given, POINTER(None), slot(b, frame, _MEETING), I64(0), I64(1)]))
            with together:
                b.call(function(b, given[-1], 0, _REGION), [members, frame, I32(0), I32(0)])
                b.ret(b.trunc(b.load(slot(b, frame, _STATUS), typ=I64), I32))
        b.unreachable()

    @contextmanager
    def share(self, count: Any) -> Iterator[tuple[Any, Any]]:
        """What is written inside runs where the member has a share of `count` things: gives where that starts, and how
        many it has."""
        b = self.b
        start = b.udiv(b.mul(count, self.member), self.team)
        stop = b.udiv(b.mul(count, b.add(self.member, I64(1))), self.team)
        with b.if_then(b.icmp_unsigned("<", start, stop)):
            yield start, b.sub(stop, start)

    def meet(self, times: Any) -> None:
        """Wait for all members to come here; it is their meeting number `times`, from 1 on."""
        b = self.b
        self.b.atomic_rmw("add", self._meeting, I64(1), "acq_rel")
        wanted = b.mul(times, self.team)
        look, tired, rest, again, after = (b.append_basic_block() for _ in range(5))
        before = b.block
        b.branch(look)
        b.position_at_end(look)
        looks = b.phi(I64)
        looks.add_incoming(I64(0), before)
        seen = b.load_atomic(self._meeting, "acquire", 8, typ=I64)
        b.cbranch(b.icmp_unsigned(">=", seen, wanted), after, tired)
        b.position_at_end(tired)
        if has_feature("sse2"):
            self.call("llvm.x86.sse2.pause", ir.VoidType())
        count = b.add(looks, I64(1))
        b.cbranch(b.icmp_unsigned("==", b.urem(count, I64(PATIENCE)), I64(0)), rest, again)
        b.position_at_end(rest)
        b.call(self._yield, [])
        b.branch(again)
        b.position_at_end(again)
        looks.add_incoming(count, again)
        b.branch(look)
        b.position_at_end(after)


def _functions() -> tuple[int, int, int, int]:
    """The addresses of GOMP_parallel, omp_get_thread_num, omp_get_num_threads and sched_yield; zeros without the library."""
    region, member, team = map(openmp.address, ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads"))
    return region, member, team, openmp.address("sched_yield")
