"""cuBLASLt's objects that describe a product, made of plain descriptions and destroyed with their owners."""

from __future__ import annotations

import re
import weakref
from ctypes import byref, c_int, c_size_t, c_void_p, sizeof
from dataclasses import dataclass
from typing import Any

from trtn.backend.providers.cublaslt.enums import (
    AlgoConfig,
    Attribute,
    DataType,
    DescAttribute,
    Epilogue,
    LayoutAttribute,
    Operation,
    PreferenceAttribute,
)
from trtn.backend.providers.cublaslt.gemm import Gemm, Matrix
from trtn.backend.providers.cublaslt.library import Algo, CublasLt, CublasLtError, HeuristicResult
from trtn.backend.providers.cublaslt.numbers import Numbers

__all__ = ["AlgoFields", "Candidate", "Descriptors", "Preference"]


class _Object:
    """An object of the library's and its attributes. `kind` is its name in C: `MatmulDesc`, `MatrixLayout`, .."""

    def __init__(self, lib: CublasLt, kind: str, *arguments: Any) -> None:
        self._lib = lib
        self._kind = kind
        self.pointer = lib.create(f"cublasLt{kind}Create", *arguments)
        weakref.finalize(self, lib, f"cublasLt{kind}Destroy", self.pointer)

    def set(self, attribute: Attribute, number: int) -> None:
        value = attribute.ctype(number)
        self._lib(f"cublasLt{self._kind}SetAttribute", self.pointer, attribute, byref(value), sizeof(value))


@dataclass(frozen=True, slots=True)
class Preference:
    """What a search for algorithms may take: scratch memory in bytes, ways of adding up a split sum, and what the
    addresses of A, B, C and D are multiples of."""

    workspace: int
    reductions: int
    alignments: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class AlgoFields:
    """The configuration of an algorithm: all that tells it from the others of one version of the library."""

    id: int
    tile: int = 0
    stages: int = 0
    splitk: int = 1
    reduction: int = 0
    swizzle: int = 0
    custom: int = 0
    inner: int = 0
    cluster: int = 0

    def __str__(self) -> str:
        """`66.tile20.stages36`: the id, then what is not the default."""
        default = AlgoFields(0)
        others = [(name, getattr(self, name)) for name in _CONFIG if name != "id"]
        return ".".join([str(self.id), *(f"{n}{v}" for n, v in others if v != getattr(default, n))])

    @classmethod
    def parse(cls, text: str) -> AlgoFields:
        """The inverse of `str`. Raises ValueError."""
        first, *others = text.split(".")
        pairs = [re.fullmatch(r"([a-z]+)(-?\d+)", other) for other in others]
        fields = {p[1]: int(p[2]) for p in pairs if p is not None}
        if len(fields) != len(others) or not first.isdigit() or not fields.keys() <= _CONFIG.keys() - {"id"}:
            raise ValueError(f"`{text}` is not an algorithm's configuration")
        return cls(int(first), **fields)


_CONFIG = {
    "id": AlgoConfig.ID,
    "tile": AlgoConfig.TILE_ID,
    "stages": AlgoConfig.STAGES_ID,
    "splitk": AlgoConfig.SPLITK_NUM,
    "reduction": AlgoConfig.REDUCTION_SCHEME,
    "swizzle": AlgoConfig.CTA_SWIZZLING,
    "custom": AlgoConfig.CUSTOM_OPTION,
    "inner": AlgoConfig.INNER_SHAPE_ID,
    "cluster": AlgoConfig.CLUSTER_SHAPE_ID,
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """An algorithm that runs a product, and the scratch memory that it takes, in bytes."""

    fields: AlgoFields
    algo: Algo
    workspace: int


class Descriptors:
    """A product as the library sees it: what is done, and how A, B, C and D lie. The bias's address can be set anew
    for each use, so a use that lasts has descriptors of its own."""

    def __init__(self, lib: CublasLt, gemm: Gemm, numbers: Numbers, epilogue: Epilogue) -> None:
        self._lib = lib
        self._numbers = numbers
        self.operation = _Object(lib, "MatmulDesc", numbers.compute, numbers.scale)
        self.operation.set(DescAttribute.TRANSA, Operation.T if gemm.a.transposed else Operation.N)
        self.operation.set(DescAttribute.TRANSB, Operation.T if gemm.b.transposed else Operation.N)
        self.operation.set(DescAttribute.EPILOGUE, epilogue)
        types = (numbers.operand, numbers.operand, numbers.result, numbers.result)
        matrices = (gemm.a, gemm.b, gemm.c or gemm.d, gemm.d)
        self.layouts = [_layout(lib, m, t, gemm.batch) for m, t in zip(matrices, types, strict=True)]

    def set_bias(self, address: int) -> None:
        self.operation.set(DescAttribute.BIAS_POINTER, address)

    @property
    def pointers(self) -> list[c_void_p]:
        """The operation and the four layouts, as the library's functions take them."""
        return [self.operation.pointer, *(layout.pointer for layout in self.layouts)]

    def candidates(self, handle: c_void_p, preference: Preference, count: int) -> list[Candidate]:
        """The library's own list of up to `count` algorithms, the one that it believes in most first. What can't be
        made again from its fields is left out."""
        wish = _Object(self._lib, "MatmulPreference")
        wish.set(PreferenceAttribute.MAX_WORKSPACE_BYTES, preference.workspace)
        wish.set(PreferenceAttribute.REDUCTION_SCHEME_MASK, preference.reductions)
        for attribute, align in zip(_ALIGNMENTS, preference.alignments, strict=True):
            wish.set(attribute, align)
        results, found = (HeuristicResult * count)(), c_int()
        try:
            self._lib(
                "cublasLtMatmulAlgoGetHeuristic",
                *[handle, *self.pointers, wish.pointer],
                *[count, byref(results), byref(found)],
            )
        except CublasLtError:  # NOT_SUPPORTED is how it says that the list is empty
            return []
        usable = [r for r in results[: found.value] if r.state == 0]
        listed = [Candidate(self._fields(r.algo), Algo.from_buffer_copy(r.algo), r.workspace) for r in usable]
        return [candidate for candidate in listed if self.try_candidate(handle, candidate.fields) is not None]

    def candidate(self, handle: c_void_p, fields: AlgoFields) -> Candidate:
        """The algorithm of a configuration. Raises CublasLtError where it does not run this product."""
        n, algo, result = self._numbers, Algo(), HeuristicResult()
        types = (n.compute, n.scale, n.operand, n.operand, n.result, n.result)
        self._lib("cublasLtMatmulAlgoInit", handle, *types, fields.id, byref(algo))
        for name, attribute in _CONFIG.items():
            if name != "id":
                value = attribute.ctype(getattr(fields, name))
                self._lib("cublasLtMatmulAlgoConfigSetAttribute", byref(algo), attribute, byref(value), sizeof(value))
        self._lib("cublasLtMatmulAlgoCheck", handle, *self.pointers, byref(algo), byref(result))
        return Candidate(fields, algo, result.workspace)

    def try_candidate(self, handle: c_void_p, fields: AlgoFields) -> Candidate | None:
        """The algorithm of a configuration, None where it does not run this product."""
        try:
            return self.candidate(handle, fields)
        except CublasLtError:
            return None

    def _fields(self, algo: Algo) -> AlgoFields:
        return AlgoFields(**{name: self._field(algo, attribute) for name, attribute in _CONFIG.items()})

    def _field(self, algo: Algo, attribute: AlgoConfig) -> int:
        value, written = attribute.ctype(), c_size_t()
        self._lib(
            "cublasLtMatmulAlgoConfigGetAttribute",
            *[byref(algo), attribute, byref(value), sizeof(value), byref(written)],
        )
        return int(value.value)


_ALIGNMENTS = (
    PreferenceAttribute.MIN_ALIGNMENT_A_BYTES,
    PreferenceAttribute.MIN_ALIGNMENT_B_BYTES,
    PreferenceAttribute.MIN_ALIGNMENT_C_BYTES,
    PreferenceAttribute.MIN_ALIGNMENT_D_BYTES,
)


def _layout(lib: CublasLt, matrix: Matrix, dtype: DataType, batch: int) -> _Object:
    layout = _Object(lib, "MatrixLayout", dtype, matrix.rows, matrix.cols, matrix.ld)
    if batch > 1:
        layout.set(LayoutAttribute.BATCH_COUNT, batch)
        layout.set(LayoutAttribute.STRIDED_BATCH_OFFSET, matrix.batch_stride)
    return layout
