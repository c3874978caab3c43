"""A product with its algorithm, ready to be launched over arrays at fixed addresses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from ctypes import byref, c_void_p
from functools import partial
from typing import Any

from trtn.backend.binaries import BinaryKey
from trtn.backend.devices import Device
from trtn.backend.providers.base import Launch, Prepared, binaries_of
from trtn.backend.providers.cublaslt.descriptors import Candidate, Descriptors
from trtn.backend.providers.cublaslt.formulation import Formulation
from trtn.backend.providers.cublaslt.library import CublasLt

__all__ = ["GemmKernel", "Rest"]


class Rest:
    """What is left of a group after its product: another provider's kernel, which works on the result in place.

    `inputs` are the numbers of its inputs among the group's; None stands for the product's result.
    """

    def __init__(self, kernel: Prepared, inputs: Sequence[int | None]) -> None:
        self.workspace = kernel.workspace
        self._kernel = kernel
        self._inputs = inputs

    def binaries(self) -> Mapping[BinaryKey, bytes]:
        return binaries_of([self._kernel])

    def bind(self, inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Launch:
        given = [outputs[0] if n is None else inputs[n] for n in self._inputs]
        return self._kernel.bind(given, outputs, workspace)


class GemmKernel:
    """Launches of cublasLtMatmul. Descriptors are made for each binding, since a bias's address is in them."""

    def __init__(
        self, lib: CublasLt, handle: c_void_p, plan: Formulation, chosen: Candidate, device: Device, rest: Rest | None
    ) -> None:
        self.workspace = max(chosen.workspace, rest.workspace if rest is not None else 0)
        self._lib = lib
        self._handle = handle
        self._plan = plan
        self._chosen = chosen
        self._device = device
        self._rest = rest

    def binaries(self) -> Mapping[BinaryKey, bytes]:
        return {} if self._rest is None else self._rest.binaries()

    def bind(self, inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Launch:
        plan, lib = self._plan, self._lib
        gemm, fused, numbers = plan.gemm, plan.cut.fused, plan.numbers
        left, right, result = inputs[plan.left], inputs[plan.right], outputs[0]
        if plan.packed is not None:
            axes = plan.packed
            right = self._device.packed(right, f"axes{axes}", lambda array: _packed(self._device.xp, array, axes))
        added = inputs[plan.added] if plan.added is not None else None
        described = Descriptors(lib, gemm, numbers, fused.mode)
        if plan.bias is not None:
            described.set_bias(_address(inputs[plan.bias]))
        operation, a_layout, b_layout, c_layout, d_layout = described.pointers
        alpha, beta = numbers.factor(fused.alpha), numbers.factor(0 if added is None else 1)
        scratch = (_address(workspace), self._chosen.workspace) if self._chosen.workspace else (None, 0)
        launches = []
        for start in gemm.calls:
            x, y = _address(left, start.left), _address(right, start.right)
            a, b = (y, x) if gemm.swapped else (x, y)
            d = _address(result, start.result)
            c = d if added is None else _address(added, start.added)
            head = (self._handle, operation, byref(alpha), a, a_layout, b, b_layout, byref(beta))
            tail = (c, c_layout, d, d_layout, byref(self._chosen.algo), *scratch)
            launches.append(partial(lib.matmul, *head, *tail))
        finish = self._rest.bind(inputs, outputs, workspace) if self._rest is not None else None
        return _Bound(lib, self._device.xp.cuda.get_current_stream, launches, finish, described)


class _Bound:
    """The launches of one binding. `described` lives with it, since the calls point there."""

    def __init__(
        self,
        lib: CublasLt,
        stream: Callable[[], Any],
        launches: Sequence[Callable[[int], int]],
        finish: Launch | None,
        described: Descriptors,
    ) -> None:
        self._check = lib.check
        self._stream = stream
        self._launches = launches
        self._finish = finish
        self.descriptors = described

    def __call__(self) -> None:
        stream = self._stream().ptr
        for launch in self._launches:
            self._check("cublasLtMatmul", launch(stream))
        if self._finish is not None:
            self._finish()


def _address(array: Any, offset: int = 0) -> int:
    """The address of an element, `offset` elements after the first."""
    return int(array.data.ptr) + offset * int(array.itemsize)


def _packed(xp: Any, array: Any, axes: tuple[int, ...]) -> Any:
    return xp.ascontiguousarray(array.transpose(axes))
