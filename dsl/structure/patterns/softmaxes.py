"""softmax, log_softmax and division by a norm from exponentials, logarithms, sums and roots."""

from __future__ import annotations

from trtn.dsl.network import Layer, Tensor
from trtn.dsl.structure.constants import uniform
from trtn.dsl.structure.patterns import Replacement
from trtn.dsl.structure.rewriter import Rewriter

__all__ = ["PATTERNS", "LogSoftmaxPattern", "LpNormPattern", "SoftmaxPattern"]

_NORMS = {"reduce_l1": 1, "reduce_l2": 2}
_TINY = 1e-6
"""A lower limit of a norm that is there only so that nothing is divided by 0."""


class SoftmaxPattern:
    """exp(x) / sum(exp(x)), or the same with x less its greatest element."""

    name = "softmax"
    ops = frozenset({"div"})
    late = False

    def replace(self, rewriter: Rewriter, layer: Layer) -> Replacement:
        exponential, total = layer.inputs
        exp, axis = rewriter.maker(exponential, "exp"), _axis(rewriter.maker(total, "reduce_sum"), exponential)
        if exp is None or axis is None:
            return None
        x = _unshifted(rewriter, exp.inputs[0], axis)
        return rewriter.layer("softmax", x, outputs=layer.outputs, origin=layer.origin, axis=axis)


class LogSoftmaxPattern:
    """log(softmax(x)), or x - log(sum(exp(x))) for x less its greatest element."""

    name = "log_softmax"
    ops = frozenset({"log", "sub"})
    late = False

    def replace(self, rewriter: Rewriter, layer: Layer) -> Replacement:
        if layer.op.name == "log":
            softmax = rewriter.maker(layer.inputs[0], "softmax")
            if softmax is None or rewriter.sole_reader(softmax.output) is not layer:
                return None
            source, axis = softmax.inputs[0], softmax.attrs["axis"]
        else:
            x, logarithm = layer.inputs
            log = rewriter.maker(logarithm, "log")
            total = rewriter.maker(log.inputs[0], "reduce_sum") if log is not None else None
            exp = rewriter.maker(total.inputs[0], "exp") if total is not None else None
            if exp is None or total is None or exp.inputs[0] is not x:
                return None
            axis = _axis(total, exp.output)
            if axis is None:
                return None
            source = _unshifted(rewriter, x, axis)
        return rewriter.layer("log_softmax", source, outputs=layer.outputs, origin=layer.origin, axis=axis)


class LpNormPattern:
    """x / max(norm(x), tiny) along one axis."""

    name = "lp_norm"
    ops = frozenset({"div"})
    late = False

    def replace(self, rewriter: Rewriter, layer: Layer) -> Replacement:
        x, norm = layer.inputs
        expanded = rewriter.maker(norm, "expand")
        clip = rewriter.maker(expanded.inputs[0] if expanded is not None else norm, "clip", "max")
        if x is None or clip is None:
            return None
        limit = clip.attrs["min"] if clip.op.name == "clip" else uniform(clip.inputs[-1])
        if limit is None or not 0 < limit <= _TINY or (clip.op.name == "clip" and clip.attrs["max"] is not None):
            return None
        reduction = rewriter.maker(clip.inputs[0], *_NORMS)
        axis = _axis(reduction, x)
        if reduction is None or axis is None:
            return None
        p = _NORMS[reduction.op.name]
        return rewriter.layer("lp_norm", x, outputs=layer.outputs, origin=layer.origin, axis=axis, p=p)


PATTERNS = (LogSoftmaxPattern(), LpNormPattern(), SoftmaxPattern())


def _axis(reduction: Layer | None, tensor: Tensor | None) -> int | None:
    """The one axis along which a tensor is reduced, if it is kept."""
    if reduction is None or tensor is None or reduction.inputs[0] is not tensor or not reduction.attrs["keepdims"]:
        return None
    axes = reduction.attrs["axes"]
    return axes[0] if axes is not None and len(axes) == 1 else None


def _unshifted(rewriter: Rewriter, tensor: Tensor | None, axis: int) -> Tensor | None:
    """x, for x less its greatest element along an axis: a softmax takes that away by itself."""
    difference = rewriter.maker(tensor, "sub")
    greatest = rewriter.maker(difference.inputs[1], "reduce_max") if difference is not None else None
    if difference is None or _axis(greatest, difference.inputs[0]) != axis:
        return tensor
    return difference.inputs[0]
