"""trtn: a declarative language for neural networks, and the tool that builds optimised engines from it.

The journey of a spec:

    net = trtn.load("specs/resnet50.trtn")        # parse, resolve, check -> Network; SpecError carries the diagnostics
    engine = trtn.build(net)                      # passes, fusion, tactics, plan -> Engine
    engine.save("resnet50.engine")                # data only, byte for byte repeatable
    engine = trtn.load_engine("resnet50.engine")  # every field checked, weights mapped
    out = engine.run({"x": array})                # NumPy in, NumPy out

Nothing heavy is imported until it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from trtn.dsl.version import VERSION as __version__

if TYPE_CHECKING:
    from trtn.backend.build import build
    from trtn.backend.engine.file import load_engine
    from trtn.backend.runtime import Context, Engine
    from trtn.dsl.convert.export import export_onnx, save_onnx, trtexec_command
    from trtn.dsl.convert.onnx import import_onnx
    from trtn.dsl.errors import BuildError, EngineError, ImportModelError, ShapeError, SpecError, TrtnError
    from trtn.dsl.load import load
    from trtn.dsl.network import Network
    from trtn.dsl.save import save

_HOMES = {
    "BuildError": "trtn.dsl.errors",
    "Context": "trtn.backend.runtime",
    "Engine": "trtn.backend.runtime",
    "EngineError": "trtn.dsl.errors",
    "ImportModelError": "trtn.dsl.errors",
    "Network": "trtn.dsl.network",
    "ShapeError": "trtn.dsl.errors",
    "SpecError": "trtn.dsl.errors",
    "TrtnError": "trtn.dsl.errors",
    "build": "trtn.backend.build",
    "export_onnx": "trtn.dsl.convert.export",
    "import_onnx": "trtn.dsl.convert.onnx",
    "load": "trtn.dsl.load",
    "load_engine": "trtn.backend.engine.file",
    "save": "trtn.dsl.save",
    "save_onnx": "trtn.dsl.convert.export",
    "trtexec_command": "trtn.dsl.convert.export",
}

__all__ = [
    "BuildError",
    "Context",
    "Engine",
    "EngineError",
    "ImportModelError",
    "Network",
    "ShapeError",
    "SpecError",
    "TrtnError",
    "__version__",
    "build",
    "export_onnx",
    "import_onnx",
    "load",
    "load_engine",
    "save",
    "save_onnx",
    "trtexec_command",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'trtn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
