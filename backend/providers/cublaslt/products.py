"""Ops as sums of products: which axes of their operands and results are which, and when a group can be one.

Each axis has a label. Labels of the result run over all its places, the label K over what is summed; an axis with no
label (None) has one place only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from trtn.backend.group import Group
from trtn.backend.providers.cublaslt.numbers import NUMBERS
from trtn.dsl.network import Layer

__all__ = ["PRODUCTS", "Labels", "Product", "Rule", "product_of", "refusal_of"]

Labels = tuple[str | None, ...]
K, M, N = "k", "m", "n"
"""What is summed over, the rows of the result, its columns (the channels)."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a layer must be; `reason` says what is wrong where it is not."""

    holds: Callable[[Layer], bool]
    reason: str


@dataclass(frozen=True, slots=True)
class Product:
    """How an op is read. `labels` gives those of left side, right side and result for their ranks."""

    kind: str
    """The kind of group that it starts."""
    labels: Callable[[Layer], tuple[Labels, Labels, Labels]]
    rules: tuple[Rule, ...] = ()


def _matmul(layer: Layer) -> tuple[Labels, Labels, Labels]:
    """a[.., m, k] @ b[.., k, n] by NumPy's rules: leading axes broadcast from the right, vectors have no m, or no n."""
    a, b = (_rank(layer, n) for n in (0, 1))
    batch = tuple(f"b{n}" for n in reversed(range(max(a, b, 2) - 2)))
    left = (*batch[len(batch) - max(a - 2, 0) :], *((M, K) if a > 1 else (K,)))
    right = (*batch[len(batch) - max(b - 2, 0) :], *((K, N) if b > 1 else (K,)))
    return left, right, (*batch, *((M,) if a > 1 else ()), *((N,) if b > 1 else ()))


def _conv(layer: Layer) -> tuple[Labels, Labels, Labels]:
    """x[b, k, *s] with a kernel [n, k, 1, ..] -> [b, n, *s]."""
    space = tuple(f"s{n}" for n in range(_rank(layer, 0) - 2))
    return ("b0", K, *space), (N, K, *(None for _ in space)), ("b0", N, *space)


def _rank(layer: Layer, number: int) -> int:
    tensor = layer.inputs[number]
    assert tensor is not None
    return tensor.rank


def _kernel(layer: Layer) -> tuple[object, ...]:
    weight = layer.inputs[1]
    assert weight is not None
    return tuple(weight.shape[2:])


def _absent(*inputs: int) -> Callable[[Layer], bool]:
    return lambda layer: all(len(layer.inputs) <= n or layer.inputs[n] is None for n in inputs)


PRODUCTS: Mapping[str, Product] = {
    "linear": Product("gemm", _matmul),
    "matmul": Product("gemm", _matmul),
    "matmul_integer": Product("reference", _matmul, (Rule(_absent(2, 3), "zero points"),)),
    "conv": Product(
        "conv",
        _conv,
        (
            Rule(lambda layer: all(d == 1 for d in _kernel(layer)), "a kernel of more than one place"),
            Rule(lambda layer: layer.attrs["groups"] == 1, "a grouped convolution"),
            Rule(lambda layer: all(s == 1 for s in layer.attrs["strides"]), "a stride"),
            Rule(lambda layer: not any(layer.attrs["pads"]), "padding"),
        ),
    ),
}
"""By op name. With a kernel of one place and stride 1, automatic padding adds nothing."""


def product_of(group: Group) -> Product | None:
    found = PRODUCTS.get(group.layers[0].op.name) if group.layers else None
    return found if found is not None and found.kind == group.kind else None


def refusal_of(group: Group) -> str:
    """Why a group is not a product that cuBLASLt knows; "" where it is."""
    product = product_of(group)
    if product is None:
        return f"no matrix product in {group.kind} groups"
    layer = group.layers[0]
    broken = next((rule.reason for rule in product.rules if not rule.holds(layer)), None)
    if broken is not None:
        return broken
    return _dtypes_refusal(layer) or ("" if _one_result(group) else "more than one result")


def _dtypes_refusal(layer: Layer) -> str:
    given = [t.dtype.name for t in layer.inputs[:2] if t is not None]
    result = layer.output.dtype.name
    if len(set(given)) == 1 and (given[0], result) in NUMBERS:
        return ""
    return f"no product of {' and '.join(given)} in {result}"


def _one_result(group: Group) -> bool:
    outputs: Sequence[object] = group.outputs
    return len(outputs) == 1 and outputs[0] is group.layers[-1].output
