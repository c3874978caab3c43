"""A plan made ready for one set of sizes: arrays over the arena, views taken, kernels bound. Then a run is a short
loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from trtn.backend.evaluate import bind_layers, learn_sizes
from trtn.backend.group import Group
from trtn.backend.plan.arrays import Table, take_arrays, take_views
from trtn.backend.plan.roles import Role, roles_of
from trtn.backend.plan.storage import Place, StoragePlan
from trtn.backend.runtime.io import check_sizes, refuse
from trtn.backend.runtime.replay import replayed
from trtn.dsl.dims import evaluate, symbol, symbols
from trtn.dsl.network import Network, Tensor
from trtn.dsl.records import record

if TYPE_CHECKING:
    from trtn.backend.providers import Launch, Prepared

__all__ = ["Run", "Schedule", "Step"]

Sizes = dict[str, int]
Run = Callable[[Sizes], None]
Spread = Callable[[Callable[[int, int], None], int], None]
"""Has a function called for each number below one, by some thread."""
FIRST_RUNS = 3
"""Runs after which steps that are next to each other are put together: that loads machine code, and maybe a compiler, which a
network that is run once has no use for."""
GRAIN = 256
"""What the workspace starts at a multiple of, in bytes."""


@record()
class Step:
    """A group to be bound to arrays: `bind(table)` gives what runs it on them. `late` ones depend on what only the
    data decides; they read the table in each run, on the host. `own` ones look up nothing but the caller's arrays."""

    name: str
    bind: Callable[[Table], Run]
    late: bool = False
    own: bool = False


class Schedule:
    """The steps of an engine for given sizes of the dims, over a context's memory: the arena, then the workspace that
    steps share."""

    def __init__(
        self,
        network: Network,
        groups: Sequence[Group],
        prepared: Sequence[Prepared | None],
        storage: StoragePlan,
        weights: Table,
        sizes: Sizes,
        xp: Any,
        *,
        staging: int = 0,
        spread: Spread | None = None,
    ) -> None:
        """`staging`: inputs and outputs of at most so many bytes are copied from and to arrays that stay, so that the
        steps on them need not be bound anew in each run. `spread`: threads that steps are bound in where that is worth
        it: weights are packed then."""
        self.network = network
        self.storage = storage
        self.sizes = sizes
        self._groups = groups
        self._prepared = prepared
        self._weights = weights
        self._xp = xp
        self._spread = spread or _one_by_one
        self._scratch = max((p.workspace for p in prepared if p is not None), default=0)
        self._arena = storage.layout(sizes).nbytes
        if self._scratch:
            self._arena += -self._arena % GRAIN
        outputs = [t for t in network.outputs if storage.places.get(id(t)) is Place.OUTPUT]
        self.outputs = [(t, tuple(evaluate(d, sizes) for d in t.shape), t.dtype.numpy) for t in outputs]
        """The outputs that steps write to arrays of the caller's, with these arrays' shapes and dtypes."""
        self._staged_inputs = self._stages(network.inputs, staging)
        self._staged_outputs = self._stages(outputs, staging)
        self.fixed: Mapping[int, Any] = {}
        """The arrays that stay where they are from run to run, by tensor id."""
        self._looked_up: Mapping[int, Any] = {}
        """Those of them that a run may look up: in a run each array that is touched is a cache miss."""
        self.steps: list[Step] = []
        self._bound: list[Run | None] = []
        self._runs: list[tuple[Step, Run | None]] = []
        self._first_runs = 0

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it is to be attached to."""
        return self._arena + self._scratch

    def attach(self, memory: Any) -> None:
        """Take the arrays over memory (at least `nbytes` bytes of uint8, aligned), and bind the steps whose arrays all
        lie there."""
        workspace = memory[self._arena : self._arena + self._scratch] if self._scratch else None
        outer = {**self._weights, **self._staged_inputs, **self._staged_outputs}
        self.fixed = take_arrays(self._groups, self.storage, self.sizes, memory, outer, self._xp)
        self.steps, self._bound = [], []
        known_steps: list[int] = []
        for n, role in enumerate(roles_of(self._groups, self.storage)):
            group = self._groups[n]
            known = all(id(t) in self.fixed for t in (*group.inputs, *group.outputs))
            if role is Role.VIEW and known:
                continue
            step = self._step(n, role, workspace)
            self.steps.append(step)
            self._bound.append(None)
            if known and not step.late:
                known_steps.append(len(self.steps) - 1)

        def bind(number: int, slot: int) -> None:
            place = known_steps[number]
            self._bound[place] = self.steps[place].bind(dict(self.fixed))

        self._spread(bind, len(known_steps))
        self._runs = list(zip(self.steps, self._bound, strict=True))
        self._first_runs = FIRST_RUNS
        needs_all = any(run is None and not step.own for step, run in self._runs)
        shown = {id(t) for t in self.network.outputs}
        self._looked_up = self.fixed if needs_all else {key: a for key, a in self.fixed.items() if key in shown}

    def launches(self) -> Callable[[], None]:
        """All steps one after another, where every array stays where it is."""
        assert None not in self._bound, "a step depends on arrays that are not there yet"
        sizes = dict(self.sizes)

        def launch() -> None:
            for _, run in self._runs:
                assert run is not None
                run(sizes)
            self._count()

        return launch

    def _count(self) -> None:
        """One of the first runs is done."""
        if self._first_runs:
            self._first_runs -= 1
            if not self._first_runs:
                self._runs = self._in_one_go()

    def _in_one_go(self) -> list[tuple[Step, Run | None]]:
        """The steps with what runs them; those that are next to each other and come down to calls of C functions as
        one."""
        found: list[tuple[Step, Run | None]] = []
        pending: list[tuple[Step, _Launched]] = []

        def settle() -> None:
            together = replayed([run.launch for _, run in pending]) if len(pending) > 1 else None
            found.extend(pending if together is None else [(pending[0][0], _Launched(together))])
            pending.clear()

        for step, run in zip(self.steps, self._bound, strict=True):
            if isinstance(run, _Launched) and hasattr(run.launch, "calls"):
                pending.append((step, run))
                continue
            settle()
            found.append((step, run))
        settle()
        return found

    def run(self, table: Table) -> Sizes:
        """Run all steps. `table` has the inputs and, where they are given, the outputs' arrays by tensor id; results
        are put there. Gives the dims' values, data-dependent ones included."""
        sizes = dict(self.sizes)
        for key, array in self._staged_inputs.items():
            array[...] = table[key]
        outputs = {key: table[key] for key in self._staged_outputs}
        table.update(self._looked_up)
        for step, bound in self._runs:
            (bound or step.bind(table))(sizes)
        self._count()
        for key, array in outputs.items():
            array[...] = self._staged_outputs[key]
        table.update(outputs)
        return sizes

    def _stages(self, tensors: Sequence[Tensor], limit: int) -> Table:
        if not limit:
            return {}
        shapes = {id(t): tuple(evaluate(d, self.sizes) for d in t.shape) for t in tensors}
        small = [t for t in tensors if prod(shapes[id(t)]) * t.dtype.itemsize <= limit]
        return {id(t): self._xp.empty(shapes[id(t)], t.dtype.numpy) for t in small}

    def _step(self, number: int, role: Role, workspace: Any) -> Step:
        group = self._groups[number]
        match role:
            case Role.VIEW:
                return Step(group.name, self._view(group))
            case Role.CONCAT:
                return Step(group.name, self._concat_rest(group))
            case Role.LATE:
                return Step(group.name, self._late(group), late=True)
        prepared = self._prepared[number]
        assert prepared is not None, group
        moving = [id(t) for t in (*group.inputs, *group.outputs) if id(t) not in self.fixed]
        if not moving or self._xp is not np:
            return Step(group.name, _kernel(group, prepared, workspace))
        return Step(group.name, _kernel_on_callers(group, prepared, workspace, self.fixed, moving), own=True)

    def _view(self, group: Group) -> Callable[[Table], Run]:
        """A view of an input or output, whose address may change from run to run."""

        def bind(table: Table) -> Run:
            take_views(group, self.sizes, table, self._xp)
            return _nothing

        return bind

    def _concat_rest(self, group: Group) -> Callable[[Table], Run]:
        """A concat whose inputs lie in its result already, all or some: only the others are copied."""
        layer = group.layers[0]
        result, axis = layer.outputs[0], layer.attrs["axis"]
        ranges: list[tuple[int, slice]] = []
        offset = 0
        for t in layer.inputs:
            assert t is not None
            size = evaluate(t.shape[axis], self.sizes)
            part = self.storage.parts.get(id(t))
            if part is None or part.parent is not result:
                ranges.append((id(t), slice(offset, offset + size)))
            offset += size

        def bind(table: Table) -> Run:
            copies = [(table[id(result)][(slice(None),) * axis + (r,)], table[key]) for key, r in ranges]

            def run(sizes: Sizes) -> None:
                for into, array in copies:
                    into[...] = array

            return run if copies else _nothing

        return bind

    def _late(self, group: Group) -> Callable[[Table], Run]:
        inputs = [id(t) for t in group.inputs]

        def bind(table: Table) -> Run:
            def run(sizes: Sizes) -> None:
                inner = {key: table[key] for key in inputs}
                bind_layers(group.layers, group.outputs, sizes, self._xp)(inner, dict(sizes))
                for t in group.outputs:
                    self._take_result(t, inner[id(t)], table, sizes)

            return run

        return bind

    def _take_result(self, tensor: Tensor, result: Any, table: Table, sizes: Sizes) -> None:
        """Put a late result where it belongs, and hold what it shows of the dims against what is known of them."""
        if self.storage.places[id(tensor)] is Place.DYNAMIC:
            table[id(tensor)] = result
        else:
            table[id(tensor)][...] = result
        known = len(sizes)
        learn_sizes(tensor, result.shape, sizes)
        self._check_data_dims(tensor, result.shape, sizes)
        if len(sizes) > known:
            check_sizes(self.network, sizes)  # asserts and guards that waited for them

    def _check_data_dims(self, tensor: Tensor, shape: tuple[int, ...], sizes: Mapping[str, int]) -> None:
        """Hold the sizes that a result has shown against their bounds, and against what was learned before."""
        for dim, actual in zip(tensor.shape, shape, strict=True):
            if evaluate(dim, sizes) != actual:
                raise refuse(
                    "E0707", f"dim `{dim}` of `{tensor.name}` came out as {actual}, not {evaluate(dim, sizes)}"
                )
            for name in symbols(dim) & self.network.data_dims.keys():
                bound = self.network.data_dims[name]
                low, high = evaluate(bound.low, sizes), evaluate(bound.high, sizes)
                if dim == symbol(name) and not low <= actual <= high:
                    raise refuse(
                        "E0707",
                        f"`{name}` of `{tensor.name}` came out as {actual}; the network says {low}..{high}",
                    )


def _kernel(group: Group, prepared: Prepared, workspace: Any) -> Callable[[Table], Run]:
    def bind(table: Table) -> Run:
        return _Launched(
            prepared.bind([table[id(t)] for t in group.inputs], [table[id(t)] for t in group.outputs], workspace)
        )

    return bind


def _kernel_on_callers(
    group: Group, prepared: Prepared, workspace: Any, fixed: Mapping[int, Any], moving: Sequence[int]
) -> Callable[[Table], Run]:
    """`moving`: the tensors, by id, whose arrays are the caller's, in the CPU's memory. They often lie where those of the
    last run did, and then its launch serves."""
    bind = _kernel(group, prepared, workspace)
    last: list[tuple[list[Any], Run]] = []

    def bind_again(table: Table) -> Run:
        where = [(a.__array_interface__["data"][0], a.strides) for a in (table[key] for key in moving)]
        if not last or last[0][0] != where:
            last[:] = [(where, bind({**fixed, **{key: _unowned(table[key]) for key in moving}}))]
        return last[0][1]

    return bind_again


class _Place:
    """What NumPy needs to know of an array's memory, without a hold of it."""

    def __init__(self, array: Any) -> None:
        self.__array_interface__ = array.__array_interface__


def _unowned(array: Any) -> Any:
    """The same memory, to be used only where somebody else holds it: the caller's arrays go when the caller lets go."""
    return np.asarray(_Place(array)).view(array.dtype)  # of dtypes that are not NumPy's own the interface says the size


class _Launched:
    """A kernel's launch as a run: it has no need of sizes."""

    __slots__ = ("launch",)

    def __init__(self, launch: Launch) -> None:
        self.launch = launch

    def __call__(self, sizes: Sizes) -> None:
        self.launch()


def _one_by_one(work: Callable[[int, int], None], count: int) -> None:
    for number in range(count):
        work(number, 0)


def _nothing(sizes: Sizes) -> None:
    """What a view does in a run."""
