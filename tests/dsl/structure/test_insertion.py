"""A node more in the model, anywhere: only the statements around it change in the text."""

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
AROUND = 9
"""Statements of the old text that change: the call that has the node, or the repeat of such calls, which is cut in
two there, and what reads its result."""
PLACES = 8


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
    """The statements: lines that a call is broken into are one."""
    found: list[str] = []
    depth = 0
    for line in trtn.import_onnx(proto, name="net").to_text().splitlines():
        if depth:
            found[-1] += f" {line.strip()}"
        else:
            found.append(line)
        depth += sum((c in "([") - (c in ")]") for c in line)
    return found


def parts(lines: list[str]) -> tuple[list[list[str]], list[str]]:
    """The bodies of the blocks, and the network.

    Signatures aside: sizes in them are as general as the calls need, and one call less may need less.
    """
    start = next(n for n, line in enumerate(lines) if line.startswith("network "))
    bodies: list[list[str]] = []
    is_body = False
    for line in lines[:start]:
        is_body = is_body and line != "}"
        if is_body:
            bodies[-1].append(line)
        elif line.endswith(" {"):
            is_body = True
            bodies.append([])
    return bodies, lines[start:]


@pytest.mark.parametrize("name", MODELS)
def test_a_node_more_changes_the_lines_around_it_only(name: str) -> None:
    proto = MODELS[name]
    blocks, before = parts(text_of(proto))
    layer = max(map(len, blocks))
    assert layer > 4
    for place in places(proto):
        found, after = parts(text_of(with_tanh(proto, place)))
        assert "".join(after).count("tanh(") == 1 + "".join(before).count("tanh(")
        assert found == blocks, place  # what has the node in it is no call of theirs any more
        opcodes = [o for o in difflib.SequenceMatcher(None, before, after, False).get_opcodes() if o[0] != "equal"]
        changed, written = opcodes[-1][2] - opcodes[0][1], opcodes[-1][4] - opcodes[0][3]
        assert changed <= AROUND, (place, before[opcodes[0][1] : opcodes[-1][2]])
        # The layer that has it stands there in full, with names for what its block has in one line with its reader.
        assert written <= 2 * layer + 4, (place, after[opcodes[0][3] : opcodes[-1][4]])
