"""What a programmatic launch hands to the driver, as far as that shows without one."""

from __future__ import annotations

import ctypes

import numpy as np

from trtn.backend.providers.codegen.launching import Attribute, Configuration, pack_arguments, programmatic


def test_structures_are_laid_out_as_cuda_has_them() -> None:
    """cuda.h: CUlaunchAttribute is 8 + 64 bytes; CUlaunchConfig seven numbers, then a stream, attributes, their number."""
    assert ctypes.sizeof(Attribute) == 72 and Attribute.value.offset == 8
    assert ctypes.sizeof(Configuration) == 56
    assert [getattr(Configuration, n).offset for n in ("block", "shared", "stream", "attributes", "attribute_count")] == [
        12, 24, 32, 40, 48,
    ]  # fmt: skip


def test_arguments_are_passed_by_address() -> None:
    given = [(1 << 47) + 16, np.uint32(7), np.int64(-5), np.float32(1.5), np.int32(-1)]
    pointers = pack_arguments(given)
    kinds = (ctypes.c_uint64, ctypes.c_uint32, ctypes.c_int64, ctypes.c_float, ctypes.c_int32)
    assert [kind.from_address(p).value for kind, p in zip(kinds, pointers, strict=True)] == given
    assert len(pack_arguments([])) == 1


def test_structures_are_passed_by_value_between_numbers() -> None:
    """As a tensor map is, whose 128 bytes the driver copies from where the pointer says."""
    whole = np.frombuffer(bytes(range(128)), "V128")[0]
    pointers = pack_arguments([np.int32(3), whole, np.int64(-7)])
    assert ctypes.c_int32.from_address(pointers[0]).value == 3
    assert ctypes.string_at(pointers[1], 128) == bytes(range(128))
    assert ctypes.c_int64.from_address(pointers[2]).value == -7


def test_architectures_that_cannot_wait_inside_are_launched_plainly() -> None:
    assert programmatic("sm_80") is None and programmatic("sm_89") is None
