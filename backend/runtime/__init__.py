"""The runtime: an engine and feeds come in, outputs go out. An engine is shared, a context belongs to one thread."""

from trtn.backend.runtime.context import Context
from trtn.backend.runtime.engine import Engine
from trtn.backend.runtime.io import IOTensor
from trtn.backend.tuner.choice import Choice, TunedPoint

__all__ = ["Choice", "Context", "Engine", "IOTensor", "TunedPoint"]
