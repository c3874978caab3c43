"""Who decided the dtype of a tensor: the spec, an annotation, the target's default, or one of its keep rules, or the CPU, which
computes narrow floats in f32."""

from __future__ import annotations

from trtn.backend.passes.precision import PrecisionPass, carries
from trtn.dsl.dtypes import DType
from trtn.dsl.network import Layer, Network, Precision, Tensor

__all__ = ["DtypeDeciders"]

BY_SPEC = "the spec"
NARROW = ("f16", "bf16")


class DtypeDeciders:
    """Answers for the tensors of a network after the passes, from what it was before them and from the policy."""

    def __init__(self, written: Network, policy: Precision, target: str, device: str) -> None:
        self._policy = policy
        self._pass = PrecisionPass.of(policy)
        self._casts = {layer.name: layer.output.dtype for layer in written.layers if layer.op.name == "cast"}
        self._manifest = {w.name: w.dtype for t in written.weights if (w := t.weight) is not None}
        self._written = {t.name: t.dtype for layer in written.layers for t in layer.outputs}
        self._is_cpu = device == "cpu"
        self._target = f"target {target}" if target else "the precision asked for"

    def of_outer(self, tensor: Tensor) -> str:
        """For an input or a weight."""
        weight = tensor.weight
        if weight is None:
            return f"{BY_SPEC}: an input keeps its dtype"
        if not weight.name:
            return "a constant of the text, or folded from constants"
        if self._manifest.get(weight.name) is weight.dtype:
            return "the manifest"
        return "its readers: folded by a pass"

    def of_result(self, layer: Layer, tensor: Tensor) -> str:
        """For what a layer makes."""
        if layer.op.name == "cast":
            return BY_SPEC if self._casts.get(layer.name) is layer.output.dtype else "a cast that the policy needs"
        if not tensor.dtype.is_float:
            return f"the rule of `{layer.op.name}`"
        if layer.origin.precision is not None:
            return f"@precision({layer.origin.precision})"
        if self._is_cpu and (narrow := self._narrow(layer, tensor)) is not None:
            return f"the CPU: it has no kernels for `{layer.op.name}` over {narrow}"
        if self._policy.default is None and not self._policy.keep:
            return BY_SPEC
        if layer.regions:
            return f"{BY_SPEC}: bodies keep their dtypes at the border"
        declared = layer.op.spec.inputs
        given = [t for t in layer.inputs if t is not None and t.dtype.is_float]
        specs = [declared[min(n, len(declared) - 1)] for n, t in enumerate(layer.inputs) if t is not None]
        if given and all(carries(layer, s) for s in specs):
            return "its input: elements are only moved"
        if self._pass.wanted(layer) is not tensor.dtype:
            return f"{BY_SPEC}: the policy does not reach `{layer.op.name}`"
        if layer.op.name in self._policy.keep:
            return f"keep {tensor.dtype} for {layer.op.name} ({self._target})"
        return f"default {tensor.dtype} ({self._target})"

    def _narrow(self, layer: Layer, tensor: Tensor) -> DType | None:
        """The dtype that the policy, or else the spec, wants where a CPU computes in f32 in its place."""
        wanted = self._pass.wanted(layer) or self._written.get(tensor.name)
        is_widened = tensor.dtype.name == "f32" and wanted is not None and wanted.name in NARROW
        return wanted if is_widened else None
