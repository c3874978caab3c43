"""The binding against the installed cuBLAS, where there is one: numbers against its headers, attributes against the
library. Neither needs a GPU."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
from enum import IntEnum
from functools import cache, reduce
from operator import or_
from pathlib import Path

import pytest

from trtn.backend.providers.cublaslt import enums
from trtn.backend.providers.cublaslt.descriptors import Descriptors
from trtn.backend.providers.cublaslt.enums import Attribute, DataType, Epilogue
from trtn.backend.providers.cublaslt.gemm import Gemm, Matrix
from trtn.backend.providers.cublaslt.library import Algo, CublasLtError, HeuristicResult, library, unavailable
from trtn.backend.providers.cublaslt.numbers import NUMBERS

ENUMS = [
    e for e in vars(enums).values() if isinstance(e, type) and issubclass(e, IntEnum) and e not in (IntEnum, Attribute)
]
HEADERS = ("cublasLt.h", "cublas_api.h", "library_types.h")


@cache
def constants() -> dict[str, int]:
    """The enumerators of the headers that are here."""
    spec = importlib.util.find_spec("nvidia")
    wheels = [Path(p) for p in (spec.submodule_search_locations or ())] if spec is not None else []
    folders = [f for w in wheels for f in (*w.glob("*/include"), *w.glob("*/*/include"))]
    folders += [Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")) / "include"]
    found: dict[str, int] = {}
    for header in HEADERS:
        path = next((f / header for f in folders if (f / header).is_file()), None)
        text = path.read_text(encoding="utf-8", errors="replace") if path is not None else ""
        for name, value in re.findall(r"^\s*(CU[A-Z]+_\w+)\s*=\s*([^,/\n]+)", text, re.MULTILINE):
            parts = [part.strip() for part in value.strip("() ").split("|")]
            if all(part in found or re.fullmatch(r"\d+|0x\w+", part) for part in parts):
                numbers = (found[part] if part in found else int(part, 0) for part in parts)
                found[name] = reduce(or_, numbers)
    return found


@pytest.mark.parametrize("kind", ENUMS, ids=lambda e: e.__name__)
def test_numbers_are_those_of_the_headers(kind: type[IntEnum]) -> None:
    assert kind.__doc__ is not None
    prefix = kind.__doc__.partition(" ")[0]
    names = {f"{prefix}{member.name}": int(member) for member in kind}
    known = constants()
    if not any(name.startswith(prefix) for name in known):
        pytest.skip(f"no header with {prefix}.. is installed")
    assert {name: known.get(name) for name in names} == names


def test_structures_have_the_sizes_of_the_header() -> None:
    assert ctypes.sizeof(Algo) == 64
    assert ctypes.sizeof(HeuristicResult) == 64 + 8 + 4 + 4 + 16
    assert (HeuristicResult.workspace.offset, HeuristicResult.state.offset) == (64, 72)


@pytest.mark.parametrize("dtypes", NUMBERS, ids="-".join)
def test_the_library_takes_the_attributes(dtypes: tuple[str, str]) -> None:
    reason = unavailable()
    if reason is not None:
        pytest.skip(reason)
    gemm = Gemm(32, 24, 16, 3, Matrix(32, 16, 32, False, 512), Matrix(24, 16, 24, True), None, Matrix(32, 24, 32), True)
    described = Descriptors(library(), gemm, NUMBERS[dtypes][-1], Epilogue.DEFAULT)
    described.set_bias(256)
    assert all(p.value for p in described.pointers)
    with pytest.raises(CublasLtError, match="INVALID_VALUE"):
        library()("cublasLtMatrixLayoutSetAttribute", described.pointers[1], 5, ctypes.byref(ctypes.c_int64(1)), 8)


def test_every_dtype_has_a_number() -> None:
    numbers = [n for several in NUMBERS.values() for n in several]
    assert {n.operand for n in numbers} | {n.result for n in numbers} == set(DataType)
