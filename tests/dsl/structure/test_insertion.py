"""A node more in the model, anywhere: only the lines around it change in the text."""

from __future__ import annotations

import difflib

import pytest
from onnx import ModelProto

import trtn
from tests.dsl.convert.models import node
from tests.dsl.structure.exports import cached_decoder, encoder, residual_net

MODELS = {
    "encoder": encoder(4),
    "residual": residual_net(4),
    "decoder": cached_decoder(4),
}
LAYER = 48
"""Lines of one layer that is written out, some over several lines: more than a layer is never rewritten."""
PLACES = 5


def with_tanh(proto: ModelProto, place: int) -> ModelProto:
    """The model with one more node, behind the float result of the node at `place`."""
    found = ModelProto()
    found.CopyFrom(proto)
    value = found.graph.node[place].output[0]
    for reader in found.graph.node:
        for n, name in enumerate(reader.input):
            if name == value:
                reader.input[n] = "inserted"
    found.graph.node.insert(place + 1, node("Tanh", [value], ["inserted"], "inserted"))
    return found


def places(proto: ModelProto) -> list[int]:
    """Nodes from all over a model whose results are floats and not the model's own."""
    outputs = {v.name for v in proto.graph.output}
    fit = [
        n
        for n, x in enumerate(proto.graph.node)
        if x.op_type in ("Add", "Conv", "LayerNormalization", "MatMul", "Mul", "Relu", "Softmax", "Transpose")
        and x.output[0] not in outputs
    ]
    return [fit[n * (len(fit) - 1) // (PLACES - 1)] for n in range(PLACES)]


def text_of(proto: ModelProto) -> list[str]:
    return trtn.import_onnx(proto, name="net").to_text().splitlines()


def parts(lines: list[str]) -> tuple[list[str], list[str]]:
    """The bodies of the blocks, and the network.

    Signatures aside: sizes in them are as general as the calls need, and one call less may need less.
    """
    start = next(n for n, line in enumerate(lines) if line.startswith("network "))
    bodies: list[str] = []
    is_body = False
    for line in lines[:start]:
        is_body = is_body and line != "}"
        bodies += [line] if is_body else []
        is_body = is_body or line.endswith(" {")
    return bodies, lines[start:]


@pytest.mark.parametrize("name", MODELS)
def test_a_node_more_changes_the_lines_around_it_only(name: str) -> None:
    proto = MODELS[name]
    blocks, before = parts(text_of(proto))
    assert len(blocks) > 4
    for place in places(proto):
        found, after = parts(text_of(with_tanh(proto, place)))
        assert "".join(after).count("tanh(") == 1 + "".join(before).count("tanh(")
        assert found == blocks, place  # what has the node in it is no call of theirs any more
        opcodes = [o for o in difflib.SequenceMatcher(None, before, after, False).get_opcodes() if o[0] != "equal"]
        changed, written = opcodes[-1][2] - opcodes[0][1], opcodes[-1][4] - opcodes[0][3]
        assert changed <= 8, (place, before[opcodes[0][1] : opcodes[-1][2]])
        assert written <= LAYER + 8, (place, after[opcodes[0][3] : opcodes[-1][4]])
