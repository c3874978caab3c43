"""LLVM through llvmlite, found at run time: machine code of a module, and its functions' addresses."""

from __future__ import annotations

import hashlib
import threading
from functools import cache
from importlib.util import find_spec
from itertools import takewhile
from typing import Any

from trtn.backend.binaries import Binaries, BinaryKey
from trtn.backend.object_code import load_object
from trtn.dsl.records import record

__all__ = ["Function", "binary_key", "compile_object", "has_feature", "load", "unavailable", "version"]

_LOCK = threading.Lock()
"""LLVM's contexts are not for several threads at a time."""


@record(eq=False)
class Function:
    """Machine code in memory; it stays as long as this object."""

    address: int
    owner: Any


@cache
def unavailable() -> str | None:
    """Why nothing can be compiled here, or None. Where LLVM has worked before it is not loaded to find out."""
    if find_spec("llvmlite") is None:
        return "llvmlite is not installed"
    if _known_cpu() is not None:
        return None
    try:
        _binding()
    except (ImportError, OSError) as e:
        return f"llvmlite is not installed ({e})"
    except RuntimeError as e:
        return f"LLVM has no code generator for this machine: {e}"
    return None


@cache
def _binding() -> Any:
    """llvmlite's binding, with the code generator for this machine. Raises ImportError, OSError, RuntimeError."""
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding


def version() -> str:
    import llvmlite

    return str(llvmlite.__version__)


@cache
def _cpu() -> tuple[str, str]:
    """The processor's name and its features, as LLVM writes them."""
    known = _known_cpu()
    if known is not None:
        return known
    binding = _binding()
    found = str(binding.get_host_cpu_name()), str(binding.get_host_cpu_features().flatten())
    if (key := _cpu_key()) is not None:
        Binaries().keep({key: "\n".join(found).encode()})
    return found


def _known_cpu() -> tuple[str, str] | None:
    """What the user's cache folder has of this processor."""
    key = _cpu_key()
    kept = None if key is None else Binaries().find(key)
    name, _, features = (kept or b"").decode().partition("\n")
    return (name, features) if features else None


@cache
def _cpu_key() -> BinaryKey | None:
    """What Linux says of the first processor, but for its present speed."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            lines = [line for line in takewhile(str.strip, file) if not line.startswith(("cpu MHz", "bogomips"))]
    except OSError:
        return None
    return BinaryKey(f"llvmlite-{version()}", "cpu", hashlib.sha256("".join(lines).encode()).hexdigest())


def has_feature(name: str) -> bool:
    """Whether the processor has some instructions: `avx2`, `avx512bw`."""
    return f"+{name}" in _cpu()[1].split(",")


def _machine() -> Any:
    name, features = _cpu()
    target = _binding().Target.from_default_triple()
    return target.create_target_machine(cpu=name, features=features, opt=3, jit=True)


def binary_key(text: str) -> BinaryKey:
    """What the machine code of a module is known by."""
    target = hashlib.sha256("\n".join(_cpu()).encode()).hexdigest()
    return BinaryKey(f"llvmlite-{version()}", target, hashlib.sha256(text.encode()).hexdigest())


def compile_object(text: str, level: int = 3) -> bytes:
    """A module's machine code, as an object file; at level 0 with no more than instructions and registers chosen well.
    Raises RuntimeError for text that is not a module: a defect of who wrote it."""
    binding = _binding()
    with _LOCK:
        module = binding.parse_assembly(text)
        module.verify()
        machine = _machine()
        options = binding.create_pipeline_tuning_options(speed_level=level)
        options.loop_vectorization = level > 0
        options.slp_vectorization = options.loop_unrolling = options.loop_interleaving = False
        builder = binding.create_pass_builder(machine, options)
        builder.getModulePassManager().run(module, builder)
        return bytes(machine.emit_object(module))


def load(code: bytes, name: str) -> Function:
    """A function of an object file that `compile_object` has made."""
    loaded = load_object(code, name)
    if loaded is not None:
        return Function(loaded.address, loaded)
    binding = _binding()
    with _LOCK:
        engine = binding.create_mcjit_compiler(binding.parse_assembly(""), _machine())
        engine.add_object_file(binding.ObjectFileRef.from_data(code))
        engine.finalize_object()
        return Function(int(engine.get_function_address(name)), engine)
