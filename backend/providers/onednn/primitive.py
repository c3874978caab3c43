"""Primitive attributes, primitive descriptors and primitives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ctypes import addressof, byref, c_char_p, c_void_p, cast
from typing import Any

from trtn.backend.providers.base import ForeignCall
from trtn.backend.providers.onednn.enums import Alg, Query
from trtn.backend.providers.onednn.library import ExecArg, OneDnnError, check, engine, library, stream
from trtn.backend.providers.onednn.memory import Memory, MemoryDesc

__all__ = ["Attributes", "Primitive"]

USER_SCRATCHPAD = 1
"""dnnl_scratchpad_mode_user: the library's own is shared by all threads that run a primitive, so it is not for us."""


class Attributes:
    """dnnl_primitive_attr_t with its post-ops, which run in the order in which they are appended."""

    def __init__(self) -> None:
        self.handle = c_void_p()
        self._post_ops = c_void_p()
        check("dnnl_primitive_attr_create", byref(self.handle))
        check("dnnl_post_ops_create", byref(self._post_ops))
        check("dnnl_primitive_attr_set_scratchpad_mode", self.handle, USER_SCRATCHPAD)

    def eltwise(self, alg: Alg, alpha: float = 0.0, beta: float = 0.0) -> None:
        check("dnnl_post_ops_append_eltwise", self._post_ops, int(alg), alpha, beta)

    def binary(self, alg: Alg, other: MemoryDesc) -> None:
        """With another tensor of the destination's rank, axes of one element broadcast."""
        check("dnnl_post_ops_append_binary", self._post_ops, int(alg), other.handle)

    def prelu(self, mask: int) -> None:
        """Slopes for what is negative, f32: one for each index of the axes in `mask`."""
        check("dnnl_post_ops_append_prelu", self._post_ops, mask)

    def seal(self) -> c_void_p:
        check("dnnl_primitive_attr_set_post_ops", self.handle, self._post_ops)
        return self.handle

    def __del__(self) -> None:
        library().dnnl_post_ops_destroy(self._post_ops)
        library().dnnl_primitive_attr_destroy(self.handle)


class Primitive:
    """A primitive with its descriptor. Immutable; any number of threads may execute it, each on its own memory."""

    __slots__ = ("_desc", "_handle")

    def __init__(
        self, create: str, *arguments: Any, attributes: Attributes | None = None, reference: bool = False
    ) -> None:
        """`create` names the kind, as in `dnnl_<kind>_primitive_desc_create`; `arguments` follow the engine there:
        numbers, dims, memory descriptors (None for an argument that the primitive does without).

        Implementations that the library calls reference code (plain loops, slower than NumPy) are passed over
        unless `reference`; with none left the error is "unimplemented". Raises OneDnnError.
        """
        self._desc = c_void_p()
        self._handle = c_void_p()
        attributes = attributes or Attributes()
        call = f"dnnl_{create}_primitive_desc_create"
        where = () if create == "reorder" else (engine(),)
        plain = (a.handle if isinstance(a, MemoryDesc) else a for a in arguments)
        check(call, byref(self._desc), *where, *plain, attributes.seal())
        while not reference and self.implementation.startswith("ref"):
            if library().dnnl_primitive_desc_next_impl(self._desc):
                raise OneDnnError(call, 3)
        check("dnnl_primitive_create", byref(self._handle), self._desc)

    @property
    def implementation(self) -> str:
        """What oneDNN calls the code behind it, as `jit:avx2`."""
        text = c_char_p()
        check("dnnl_primitive_desc_query", self._desc, int(Query.IMPL_INFO_STR), 0, byref(text))
        return (text.value or b"").decode()

    def memory_desc(self, arg: int) -> MemoryDesc:
        """How an argument has to lie in memory; of no bytes where the primitive doesn't take it."""
        found = library().dnnl_primitive_desc_query_md(self._desc, int(Query.EXEC_ARG_MD), arg)
        handle = c_void_p()
        check("dnnl_memory_desc_clone", byref(handle), c_void_p(found))
        return MemoryDesc(handle)

    def bind(self, memories: Mapping[int, Memory]) -> Callable[[], None]:
        """A call that runs it on these memories, which must outlive it."""
        arguments = (ExecArg * len(memories))(*(ExecArg(arg, m.handle) for arg, m in memories.items()))
        execute, count = library().dnnl_primitive_execute, len(memories)
        handle, queue = self._handle, stream()

        def run() -> None:
            status = execute(handle, queue, count, arguments)
            if status:
                raise OneDnnError("dnnl_primitive_execute", status)

        run.memories = memories  # type: ignore[attr-defined]
        address = cast(execute, c_void_p).value or 0
        given = (handle.value or 0, queue.value or 0, count, addressof(arguments))
        run.calls = [ForeignCall(address, given)]  # type: ignore[attr-defined]
        return run

    def __del__(self) -> None:
        library().dnnl_primitive_destroy(self._handle)
        library().dnnl_primitive_desc_destroy(self._desc)
