"""What an op is: one declaration that the checker, folding, ONNX mapping, documentation and completion all read.

    class Relu(Op):
        \"\"\"The greater of x and 0, element by element.\"\"\"

        signature = "relu(x: T) -> T"
        where = {"T": NUMBERS}
        pointwise = True

        def infer(self, i: Infer) -> Shape:
            return i.shape(0)

        def evaluate(self, xp, x):
            return xp.maximum(x, 0)

A module in this folder that holds such classes is all that it takes: `catalogue()` finds them.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from trtn.dsl.dims import Dim
from trtn.dsl.dtypes import ALL, DType
from trtn.dsl.ops.homes import HOMES
from trtn.dsl.ops.signature import Signature, parse_signature

if TYPE_CHECKING:
    from trtn.dsl.network import Shape, TensorType
    from trtn.dsl.ops.infer import Infer

__all__ = ["Op", "catalogue", "find_op"]

_REGISTRY: dict[str, Op] = {}


class Op:
    """An op of the catalogue. Subclasses that state a `signature` are registered under its name, one instance each."""

    signature: ClassVar[str] = ""
    where: ClassVar[Mapping[str, tuple[DType, ...]]] = {}
    """The dtypes that each variable of the signature may be; a variable that is not named here may be any."""
    pointwise: ClassVar[bool] = False
    """Each output element depends on the elements at its own (broadcast) position only."""
    view: ClassVar[str] = ""
    """`"always"`: the reference result is a strided view of input 0; `"contiguous"`: it is where input 0 is
    C-contiguous."""
    deterministic: ClassVar[bool] = True
    """False for ops that draw random numbers: never folded, never merged."""
    regions: ClassVar[int] = 0
    """How many regions (bodies) a layer of this op holds; they come to `evaluate` as callables."""
    steps: ClassVar[bool] = False
    """Rounds to few levels inside and computes on with these: results of two orders of sums may differ by a level."""
    native_low_precision: ClassVar[bool] = False
    """`evaluate` takes bf16, f8 and 4-bit arrays as they are. Otherwise they are widened to f32 (i32) and the
    results rounded."""

    spec: ClassVar[Signature]

    def __init_subclass__(cls) -> None:
        if "signature" not in cls.__dict__:
            return  # a shared base of a family
        cls.spec = parse_signature(cls.signature)
        name = cls.spec.name
        assert name not in _REGISTRY, f"op {name} is declared twice"
        _REGISTRY[name] = cls()

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def doc(self) -> str:
        return (type(self).__doc__ or "").strip()

    def dtypes(self, variable: str) -> tuple[DType, ...]:
        """The dtypes that a variable of the signature may be."""
        return self.where.get(variable, ALL)

    def infer(self, i: Infer) -> Shape | list[Shape | TensorType]:
        """The results' shapes from the inputs' (a list where there are several results). A `TensorType` in place of
        a shape
        overrides the dtype that the signature gives. Relations that must hold go to `i`; failures are raised by it."""
        raise NotImplementedError(self.name)

    def body_inputs(self, inputs: Sequence[TensorType | None], attrs: Mapping[str, Any]) -> tuple[TensorType, ...]:
        """The types of the values that each region takes, for a layer's inputs and canonical attributes."""
        return ()

    def value(self, i: Infer) -> tuple[Dim, ...] | None:
        """The first result's elements as dim expressions, where they follow from the inputs' known values or shapes.

        Called after `infer`, for results of at most rank 1 and integer (or bool) dtype.
        """
        return None

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """The reference: `evaluate(xp, *inputs, **attrs)` on arrays of the namespace `xp` (NumPy or CuPy).

        Absent inputs are None, variadic ones follow one another, dims among the attributes are integers. Returns an
        array, or a
        tuple where the signature has several results. Must not write to its inputs; may return a view of one.
        """
        raise NotImplementedError(self.name)

    def __repr__(self) -> str:
        return f"<op {self.name}>"


@cache
def catalogue() -> Mapping[str, Op]:
    """Every op by name, sorted. Imports the family modules of this folder on the first call."""
    import trtn.dsl.ops as package

    for module in sorted(m.name for m in pkgutil.iter_modules(package.__path__)):
        importlib.import_module(f"{package.__name__}.{module}")
    return dict(sorted(_REGISTRY.items()))


def find_op(name: str) -> Op | None:
    """The op of this name, without importing all others where its module is known."""
    found = _REGISTRY.get(name)
    if found is None and name in HOMES:
        importlib.import_module(f"trtn.dsl.ops.{HOMES[name]}")
        found = _REGISTRY.get(name)
    return found or catalogue().get(name)
