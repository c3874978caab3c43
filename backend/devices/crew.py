"""A crew: the threads of OpenMP's pool, kept together for several kernels one after another.

A region of libgomp ends when all its threads have come to its end. Where one of them has lost its core to somebody else,
the others wait for it after every kernel, though it has nothing to do there. Within a crew one thread makes the calls;
the others look out for a loop that it shares (`share`), enter it, take turns while there are any, and leave. Only who has
entered is waited for. That is quicker, too: 0.4 us a loop on a Zen 3, libgomp's region takes 1.3.
"""

from __future__ import annotations

from trtn.backend.devices import openmp

__all__ = ["FAILED", "LINE", "PATIENCE", "SHARE", "SLOTS", "numbers", "text"]

LINE = 8
"""Numbers of a cache line."""
# Number 0, the state, is looked at by all the time. How many are inside, in 16 bits; a bit that says whether others may enter;
# which loop it is, counted from 1. Negative when the crew is to part.
_LOOP, _DATA, SHARE, _YIELD, _REGION, _NUMBER, _COUNT, _CALLS, FAILED = range(LINE, LINE + 9)
"""The loop's function and its argument; addresses of functions: `share`, sched_yield, GOMP_parallel, omp_get_thread_num;
how many calls there are and where; what `replay` gave."""
SLOTS = 3 * LINE
"""How many numbers a crew has. They start at a multiple of a cache line."""
PATIENCE = 2048
"""Looks, some 50 us, after which a thread that waits lets others run: the one it waits for may need its core."""
OPEN, NEXT = 1 << 16, 1 << 17


def numbers(share: int, count: int, calls: int) -> list[int]:
    """The numbers of a crew that makes `count` calls, the first one at address `calls`; `share` is where that function
    is."""
    found = [0] * SLOTS
    found[SHARE], found[_COUNT], found[_CALLS] = share, count, calls
    for slot, name in ((_YIELD, "sched_yield"), (_REGION, "GOMP_parallel"), (_NUMBER, "omp_get_thread_num")):
        found[slot] = openmp.address(name)
    return found


def _field(name: str, slot: int, kind: str) -> str:
    return f"%at.{name} = getelementptr i64, ptr %crew, i64 {slot}\n  %{name} = load {kind}, ptr %at.{name}"


_WAIT = f"""\
idle:
  call void @pause()
  %more = add i64 %looks, 1
  %spent = urem i64 %more, {PATIENCE}
  %tired = icmp eq i64 %spent, 0
  br i1 %tired, label %yield, label %wait
yield:
  %yielded = call i32 %rest()
  br label %wait
wait:
  br label %look
"""
"""Before the next look, in either."""
_TEXT = f"""
define i32 @together(ptr %crew) {{
  {_field("region", _REGION, "ptr")}
  store atomic i64 0, ptr %crew release, align 8
  call void %region(ptr @member, ptr %crew, i32 0, i32 0)
  {_field("failed", FAILED, "i64")}
  %bad = icmp ne i64 %failed, 0
  %status = zext i1 %bad to i32
  ret i32 %status
}}

define internal void @member(ptr %crew) {{
  {_field("who", _NUMBER, "ptr")}
  %number = call i32 %who()
  %first = icmp eq i32 %number, 0
  br i1 %first, label %lead, label %follow
lead:
  {_field("count", _COUNT, "i64")}
  {_field("calls", _CALLS, "ptr")}
  %result = call i64 @replay(i64 %count, ptr %calls)
  %at.failed = getelementptr i64, ptr %crew, i64 {FAILED}
  store i64 %result, ptr %at.failed
  store atomic i64 -1, ptr %crew release, align 8
  ret void
follow:
  {_field("rest", _YIELD, "ptr")}
  br label %look
look:
  %seen = phi i64 [ 0, %follow ], [ %seen, %wait ], [ %seen, %enter ], [ %loop, %inside ]
  %looks = phi i64 [ 0, %follow ], [ %more, %wait ], [ 0, %enter ], [ 0, %inside ]
  %state = load atomic i64, ptr %crew acquire, align 8
  %over = icmp slt i64 %state, 0
  br i1 %over, label %done, label %on
on:
  %loop = lshr i64 %state, 17
  %new = icmp ne i64 %loop, %seen
  %bit = and i64 %state, {OPEN}
  %open = icmp ne i64 %bit, 0
  %may = and i1 %new, %open
  br i1 %may, label %enter, label %idle
enter:
  %entered = add i64 %state, 1
  %swap = cmpxchg ptr %crew, i64 %state, i64 %entered acq_rel monotonic, align 8
  %in = extractvalue {{ i64, i1 }} %swap, 1
  br i1 %in, label %inside, label %look
inside:
  {_field("turns", _LOOP, "ptr")}
  {_field("data", _DATA, "ptr")}
  call void %turns(ptr %data)
  %left = atomicrmw sub ptr %crew, i64 1 release, align 8
  br label %look
{_WAIT}done:
  ret void
}}

define void @share(ptr %crew, ptr %turns, ptr %data) {{
start:
  {_field("rest", _YIELD, "ptr")}
  %at.turns = getelementptr i64, ptr %crew, i64 {_LOOP}
  %at.data = getelementptr i64, ptr %crew, i64 {_DATA}
  store ptr %turns, ptr %at.turns
  store ptr %data, ptr %at.data
  %last = load atomic i64, ptr %crew monotonic, align 8
  %closed = and i64 %last, {-NEXT}
  %opened = add i64 %closed, {NEXT | OPEN}
  store atomic i64 %opened, ptr %crew release, align 8
  call void %turns(ptr %data)
  %before = atomicrmw and ptr %crew, i64 {~OPEN} acq_rel, align 8
  br label %look
look:
  %looks = phi i64 [ 0, %start ], [ %more, %wait ]
  %state = load atomic i64, ptr %crew acquire, align 8
  %inside = and i64 %state, {OPEN - 1}
  %none = icmp eq i64 %inside, 0
  br i1 %none, label %done, label %idle
{_WAIT}done:
  ret void
}}
"""


def text(*, pauses: bool) -> str:
    """The functions of a crew, for a module that has `replay` of backend.runtime.replay: `together` has a crew make its
    calls; `share` has the crew take turns of a loop, and ends when nobody is in it. `pauses`: the processor has x86's
    instruction for threads that look at memory all the time."""
    if not pauses:
        return _TEXT + "define internal void @pause() {\n  ret void\n}\n"
    name = "@llvm.x86.sse2.pause()"
    return f"{_TEXT}declare void {name}\n\ndefine internal void @pause() {{\n  call void {name}\n  ret void\n}}\n"
