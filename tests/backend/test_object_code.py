"""Object files put into memory without LLVM: the same functions as LLVM's own loader gives, and nothing of files that
are anything else."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import numpy as np
import pytest

from trtn.backend import machine_code, object_code
from trtn.backend.object_code import load_object

pytestmark = pytest.mark.skipif(machine_code.unavailable() is not None, reason=str(machine_code.unavailable()))

TEXT = """
@table = private constant [4 x float] [float 1.5, float -2.0, float 3.25, float 8.0]
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
define i32 @helper(i32 %x) noinline {
  %y = mul i32 %x, 3
  ret i32 %y
}
define i32 @work(ptr %target, i64 %bytes) {
  call void @llvm.memcpy.p0.p0.i64(ptr %target, ptr @table, i64 %bytes, i1 false)
  %first = load float, ptr %target
  %scaled = fmul float %first, 0x3FB99999A0000000
  store float %scaled, ptr %target
  %result = call i32 @helper(i32 14)
  ret i32 %result
}
"""
"""A constant, a call of the C library, a call of another function of the file."""


def call(function: Any) -> tuple[int, list[float]]:
    array = np.zeros(4, np.float32)
    run = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_int64)(function.address)
    return run(array.ctypes.data, array.nbytes), array.tolist()


def test_functions_do_what_they_do_when_llvm_loads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    code = machine_code.compile_object(TEXT)
    found = load_object(code, "work")
    if sys.platform == "linux" and found is None:
        assert machine_code.compile_object(TEXT)[18:20] != b"\x3e\x00"  # only x86-64 has to be understood
        pytest.skip("LLVM's own loader is for this processor")
    assert call(found) == (42, [np.float32(1.5) * np.float32(0.1), -2.0, 3.25, 8.0])
    monkeypatch.setattr(machine_code, "load_object", lambda code, name: None)
    assert call(machine_code.load(code, "work")) == call(found)


def test_what_is_no_such_file_is_left_to_llvm() -> None:
    code = machine_code.compile_object(TEXT)
    assert load_object(code, "nothing") is None
    assert load_object(b"", "work") is None
    for length in range(0, len(code), 97):
        assert load_object(code[:length], "work") is None
    for place in (0, 4, 5, 16, 18, 58):  # the header's fields that say what the file is
        assert load_object(code[:place] + bytes([code[place] ^ 0xFF]) + code[place + 1 :], "work") is None
    assert (
        load_object(
            machine_code.compile_object(
                TEXT.replace("i32 14)", "i32 14)\n  call void @exit(i32 0)") + "declare void @exit(i32)"
            ),
            "work",
        )
        is None
    )


def test_llvm_is_not_loaded_for_code_that_is_there(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process that finds the processor's name and the code in the cache folder."""
    import subprocess

    script = (
        "import sys; from trtn.backend import machine_code as m; from trtn.backend.binaries import Binaries\n"
        f"text = {TEXT!r}\n"
        "assert m.unavailable() is None\n"
        "key = m.binary_key(text); code = Binaries().find(key)\n"
        "if code is None: code = m.compile_object(text); Binaries().keep({key: code})\n"
        "m.load(code, 'work'); print('llvmlite.binding' in sys.modules)"
    )
    monkeypatch.setenv("TRTN_CACHE", str(tmp_path))
    if object_code.load_object(machine_code.compile_object(TEXT), "work") is None:
        pytest.skip("LLVM's own loader is for this processor")
    said = [
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
        for _ in range(2)
    ]
    assert said == ["True", "False"]
