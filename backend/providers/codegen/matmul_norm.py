"""linear, what follows it element by element and the normalisation of the rows, in one kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from trtn.backend.devices import Device
from trtn.backend.group import Group, make_group
from trtn.backend.problem import Problem
from trtn.backend.providers.base import Tactic, TacticError
from trtn.backend.providers.codegen import cluster
from trtn.backend.providers.codegen.family import Call, Operand, Plan, Slot
from trtn.backend.providers.codegen.gemm_norm import NormalisedSpec
from trtn.backend.providers.codegen.gemm_tile import OCTETS, NormTile
from trtn.backend.providers.codegen.matmul import ARCHITECTURE, FAMILY as PRODUCTS, Ready, pack, ready_for, row_distance
from trtn.backend.providers.codegen.tensor_map import MatrixMap
from trtn.dsl.network import Layer

__all__ = ["FAMILY", "MatmulNormFamily"]

TILES = tuple(NormTile(64, columns, blocks, 8) for columns, blocks in ((32, 8), (64, 8), (96, 8), (128, 8)))
"""Columns of a block, and blocks: up to 1024 columns in all."""


class MatmulNormFamily:
    """A linear layer, its epilogue, and layer_norm or rms_norm of its rows, in 16-bit floats."""

    name = "matmul_norm"

    def refusal(self, group: Group) -> str:
        norm = group.layers[-1]
        if len(group.layers) < 2 or norm.op.name not in ("layer_norm", "rms_norm"):
            return "nothing is normalised"
        if group.outputs != (norm.output,):
            return "something else than what is normalised leaves the group"
        x, *parameters = norm.inputs
        assert x is not None
        if x is not group.layers[-2].output or norm.attrs["axis"] != x.rank - 1:
            return "it is not rows of the product that are normalised"
        if any(t is not None and (t.weight is None or t.dtype is not x.dtype) for t in parameters):
            return "its scale or shift is not a constant"
        main = group.layers[0]
        if main.op.name != "linear":
            return "it is not a linear layer"
        return PRODUCTS.refusal(_head(group))

    def tactics(self, group: Group) -> Sequence[Tactic]:
        return [Tactic(str(t), numerics="reassociated") for t in _fitting(group.layers[0])]

    def tactics_for(self, problem: Problem, device: Device, effort: int) -> Sequence[Tactic]:
        return self.tactics(problem.group) if device.name == f"cuda:{ARCHITECTURE}" else ()

    def plan(
        self, group: Group, tactic: str, sizes: Mapping[str, int], inputs: Sequence[Operand], outputs: Sequence[Operand]
    ) -> Plan:
        tile = next((t for t in _fitting(group.layers[0]) if str(t) == tactic), None)
        if tile is None:
            raise TacticError(f"there is no tile `{tactic}` for it")
        if outputs[0].size == 0:
            return Plan(())
        ready, norm = _ready(group, inputs, outputs[0]), group.layers[-1]
        target = Slot(len(inputs) + len(outputs))
        packing, count = pack(group.layers[0], ready, inputs[ready.weight], target, permuted=True)
        return Plan((_call(tile, ready, group, norm, inputs, target),), (2 * count,), (packing,))


FAMILY = MatmulNormFamily()


def _head(group: Group) -> Group:
    """The group without its last layer."""
    return make_group(group.kind, group.layers[:-1], {id(group.layers[-2].output)})


def _fitting(main: Layer) -> list[NormTile]:
    """Tiles whose columns suffice, with no block that has none."""
    columns = main.output.shape[-1]
    return [t for t in TILES if isinstance(columns, int) and t.columns * (t.blocks - 1) < columns <= t.columns * t.blocks]


def _ready(group: Group, inputs: Sequence[Operand], y: Operand) -> Ready:
    """The product with its operands numbered as they are in the whole group."""
    number = {id(t): n for n, t in enumerate(group.inputs)}
    head = _head(group)
    own = [number[id(t)] for t in head.inputs]
    ready = ready_for(head, [inputs[n] for n in own], y)
    epilogue = replace(
        ready.epilogue,
        channels=tuple(own[n] for n in ready.epilogue.channels),
        tensors=tuple(own[n] for n in ready.epilogue.tensors),
    )
    bias = tuple(own[n] for n in ready.bias)
    return replace(ready, x=own[ready.x], weight=own[ready.weight], bias=bias, epilogue=epilogue)


def _call(
    tile: NormTile, ready: Ready, group: Group, norm: Layer, inputs: Sequence[Operand], packed: Slot
) -> Call:
    import numpy as np

    product, x, epilogue = ready.product, inputs[ready.x], ready.epilogue
    number = {id(t): n for n, t in enumerate(group.inputs)}
    scale, shift = (*norm.inputs[1:], None, None)[:2]
    parameters = [number[id(t)] for t in (scale, shift) if t is not None]
    if any(inputs[n].align < 16 for n in parameters):
        raise TacticError("a constant is not aligned to 16 bytes")
    spec = NormalisedSpec(
        x.dtype.name, tile, bool(ready.bias), epilogue.program, len(epilogue.channels),
        norm.op.name == "layer_norm", norm.attrs["eps"], scale is not None, shift is not None,
    )  # fmt: skip
    rows = MatrixMap(
        Slot(ready.x), x.dtype.name, product.rows, product.channels, row_distance(ready), tile.rows // tile.loaders
    )
    read = (*ready.bias, *parameters, *epilogue.channels, *epilogue.tensors, len(inputs))
    octets = -(-product.octets // OCTETS) * OCTETS
    numbers = (product.rows, product.columns, octets, product.stages, *ready.distances)
    arguments = (rows, packed, *map(Slot, read), *map(np.int32, numbers))
    assert tile.shared <= cluster.SHARED
    return Call(spec, (-(-product.rows // tile.rows), 1, tile.blocks), (tile.threads, 1, 1), arguments, tile.shared)
