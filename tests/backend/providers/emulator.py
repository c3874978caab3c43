"""Generated CUDA kernels on the CPU: compiled by g++ with every thread of a block as a fiber. For tests only, where
no GPU is.

What it shows: that the arithmetic and the indexing are right, with barriers and shuffles taken by every thread that
has to. What
it can't show: races between threads (fibers take turns) and speed.
"""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trtn.backend.providers.codegen import cluster, stem, stem_pool
from trtn.backend.providers.codegen.family import Call, KernelSpec, Plan, Slot
from trtn.backend.providers.codegen.prelude import PRELUDE, PRIMITIVES
from trtn.backend.providers.codegen.tensor_map import MatrixMap

__all__ = ["Emulator", "unavailable"]

FLAGS = ("-std=c++17", "-O0", "-w", "-fPIC", "-shared", "-fno-strict-aliasing", "-ffp-contract=off")
HOST = Path(__file__).with_name("emulator.hpp").read_text(encoding="utf-8")


def unavailable() -> str | None:
    return None if shutil.which("g++") else "no g++"


class Emulator:
    """Runs plans whose kernels are among `specs`, which are compiled together."""

    def __init__(self, specs: Sequence[KernelSpec], folder: Path) -> None:
        self._names = {spec: f"kernel_{n}" for n, spec in enumerate(dict.fromkeys(specs))}
        text = PRELUDE.replace(PRIMITIVES, HOST) + "".join(_as_host(s, name) for s, name in self._names.items())
        stem = folder / hashlib.sha256(text.encode()).hexdigest()[:16]
        stem.with_suffix(".cpp").write_text(text, encoding="utf-8")
        command = ["g++", *FLAGS, str(stem.with_suffix(".cpp")), "-o", str(stem.with_suffix(".so"))]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[:4000]
        self._library = ctypes.CDLL(str(stem.with_suffix(".so")))

    def run(self, plan: Plan, arrays: Sequence[np.ndarray[Any, Any]]) -> None:
        """Run a plan on the arrays of its group: inputs, then outputs."""
        scratch = [np.full(n, 0xA5, np.uint8) for n in plan.scratch]
        addresses = [a.ctypes.data for a in (*arrays, *scratch)]
        for call in (*plan.once, *plan.calls):
            self._launch(call, addresses)

    def _launch(self, call: Call, addresses: Sequence[int]) -> None:
        held = [_scalar(a, addresses) for a in call.arguments]
        pointers = (ctypes.c_void_p * len(held))(*(h.ctypes.data for h in held))
        launch = getattr(self._library, f"launch_{self._names[call.spec]}")
        launch((ctypes.c_uint * 3)(*call.grid), (ctypes.c_uint * 3)(*call.block), pointers)


def _scalar(argument: Any, addresses: Sequence[int]) -> np.ndarray[Any, Any]:
    if isinstance(argument, MatrixMap):
        address = addresses[argument.slot.index] + argument.slot.offset
        sizes = [argument.columns, argument.rows, argument.distance, argument.box, argument.width, argument.itemsize]
        fields = [address, *sizes]
        return np.array(fields + [0] * (16 - len(fields)), np.uint64)
    value = np.uint64(addresses[argument.index] + argument.offset) if isinstance(argument, Slot) else argument
    return np.array([value])


def _as_host(spec: KernelSpec, name: str) -> str:
    source = spec.source()
    assert source.startswith(PRELUDE)
    body = source.removeprefix(PRELUDE).replace('extern "C" __global__', "static")
    for library in (cluster.LIBRARY, stem.LIBRARY, stem_pool.LIBRARY, getattr(spec, "machine", "")):
        body = body.replace(library, "")
    return f"""
namespace {name} {{
{body}
}}
extern "C" void launch_{name}(const unsigned* grid, const unsigned* block, void** arguments) {{
  run_blocks(grid, block, {getattr(spec, "cluster", 1)}, [arguments] {{ call({name}::kernel, arguments); }});
}}
"""
