"""The activations of recurrent layers, computed in place, and how a layer's list of them is read (ONNX's
rules).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trtn.dsl.ops.infer import Infer

__all__ = ["FUNCTIONS", "Gate", "canonical_activations", "make_gates"]

Gate = Callable[[Any], None]
"""An activation that overwrites its argument."""


def _sigmoid(xp: Any, x: Any, alpha: float, beta: float) -> None:
    x *= 0.5  # 1 / (1 + exp(-x)) without an overflow
    xp.tanh(x, out=x)
    x *= 0.5
    x += 0.5


def _tanh(xp: Any, x: Any, alpha: float, beta: float) -> None:
    xp.tanh(x, out=x)


def _relu(xp: Any, x: Any, alpha: float, beta: float) -> None:
    xp.maximum(x, 0, out=x)


def _affine(xp: Any, x: Any, alpha: float, beta: float) -> None:
    x *= alpha
    x += beta


def _leaky_relu(xp: Any, x: Any, alpha: float, beta: float) -> None:
    x[...] = xp.where(x < 0, alpha * x, x)


def _thresholded_relu(xp: Any, x: Any, alpha: float, beta: float) -> None:
    x[...] = xp.where(x > alpha, x, 0)


def _scaled_tanh(xp: Any, x: Any, alpha: float, beta: float) -> None:
    x *= beta
    xp.tanh(x, out=x)
    x *= alpha


def _hard_sigmoid(xp: Any, x: Any, alpha: float, beta: float) -> None:
    x *= alpha
    x += beta
    xp.clip(x, 0, 1, out=x)


def _elu(xp: Any, x: Any, alpha: float, beta: float) -> None:
    x[...] = xp.where(x < 0, alpha * xp.expm1(xp.minimum(x, 0)), x)


def _softsign(xp: Any, x: Any, alpha: float, beta: float) -> None:
    x /= 1 + xp.abs(x)


def _softplus(xp: Any, x: Any, alpha: float, beta: float) -> None:
    x[...] = xp.logaddexp(x, xp.zeros((), dtype=x.dtype))


_Function = Callable[[Any, Any, float, float], None]
FUNCTIONS: Mapping[str, tuple[_Function, float | None, float | None]] = {
    "sigmoid": (_sigmoid, None, None),
    "tanh": (_tanh, None, None),
    "relu": (_relu, None, None),
    "affine": (_affine, 1.0, 0.0),
    "leaky_relu": (_leaky_relu, 0.01, None),
    "thresholded_relu": (_thresholded_relu, 1.0, None),
    "scaled_tanh": (_scaled_tanh, 1.0, 1.0),
    "hard_sigmoid": (_hard_sigmoid, 0.2, 0.5),
    "elu": (_elu, 1.0, None),
    "softsign": (_softsign, None, None),
    "softplus": (_softplus, None, None),
}
"""Each activation with the defaults of its alpha and beta; None where it has none."""


def canonical_activations(i: Infer, defaults: Sequence[str], directions: int) -> None:
    """Bring `activations` to one name for each use and direction. Names of one direction stand for both."""
    given = tuple(i["activations"] or defaults)
    names = given * directions if len(given) == len(defaults) else given
    if len(names) != len(defaults) * directions:
        count = len(defaults) * directions
        i.fail("E0304", f"`activations` of `{i.op.name}` are {count} names, not {len(given)}", attr="activations")
    for name in names:
        if name not in FUNCTIONS:
            cure = f"it takes {', '.join(FUNCTIONS)}"
            i.fail("E0304", f"`{name}` is no activation of `{i.op.name}`", attr="activations", cure=cure)
    i.attrs["activations"] = names


def make_gates(
    xp: Any, names: Sequence[str], alpha: Sequence[float] | None, beta: Sequence[float] | None
) -> list[Gate]:
    """The activations by name. `alpha` and `beta` are used up in turn by those that have one; then the
    defaults hold.
    """
    alphas, betas = iter(alpha or ()), iter(beta or ())
    gates: list[Gate] = []
    for name in names:
        function, default_alpha, default_beta = FUNCTIONS[name]
        a = 0.0 if default_alpha is None else next(alphas, default_alpha)
        b = 0.0 if default_beta is None else next(betas, default_beta)

        def gate(x: Any, f: _Function = function, a: float = a, b: float = b) -> None:
            f(xp, x, a, b)

        gates.append(gate)
    return gates
