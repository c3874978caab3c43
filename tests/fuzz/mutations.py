"""Damages ONNX models: bytes that flip, vanish and repeat; graphs whose parts are exchanged, dropped and overstated."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import AttributeProto, TensorProto

__all__ = ["mutate"]

_NUMBERS = (-(1 << 63), -(1 << 31), -9, -2, -1, 0, 1, 2, 3, 7, 1 << 16, (1 << 31) - 1, 1 << 31, 1 << 40, (1 << 63) - 1)
_FLOATS = (0.0, -1.0, 1e38, -1e-38, float("inf"), float("nan"))
_TEXTS = ("", "x", "Add", "\n", "a" * 300, "../../etc/passwd", "ß/\u202e", "reflect", "N * 2", "-1", "1/0")


def mutate(data: bytes, random: Random) -> bytes:
    """A damaged copy. Half of the cases change bytes, half of them the parsed model; some do both."""
    kind = random.random()
    if kind < 0.5:
        data = _graph_level(data, random)
    return data if kind < 0.4 else _byte_level(data, random)


# --- bytes ---


def _byte_level(data: bytes, random: Random) -> bytes:
    octets = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 4, 16))):
        if not octets:
            break
        # What says something is at the ends of a file: between them are mostly weights.
        limit = len(octets) if random.random() < 0.5 else min(len(octets), 2000)
        at = random.randrange(limit) if random.random() < 0.7 else len(octets) - 1 - random.randrange(limit)
        length = random.choice((1, 2, 8, 64))
        match random.randrange(6):
            case 0:
                octets[at] ^= 1 << random.randrange(8)
            case 1:
                octets[at] = random.choice((0, 1, 0x7F, 0x80, 0xFF))
            case 2:
                del octets[at : at + length]
            case 3:
                octets[at:at] = octets[at : at + length]
            case 4:
                octets[at : at + length] = random.randbytes(length)
            case _:
                del octets[at:]
    return bytes(octets)


# --- graphs ---


def _graph_level(data: bytes, random: Random) -> bytes:
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError:
        return data
    for _ in range(random.choice((1, 1, 2, 3, 5))):
        change = random.choice(_CHANGES)
        try:
            change(proto, _graph(proto.graph, random), random)
        except (IndexError, ValueError, TypeError):  # nothing there to change, or no such value in the format
            continue
    result: bytes = proto.SerializeToString()
    return result


def _graph(graph: Any, random: Random) -> Any:
    """The graph or, now and then, one inside of it."""
    inner = [a.g for n in graph.node for a in n.attribute if a.type == AttributeProto.GRAPH]
    return _graph(random.choice(inner), random) if inner and random.random() < 0.5 else graph


def _values(graph: Any) -> list[str]:
    found = [v.name for v in (*graph.input, *graph.initializer)]
    return found + [o for n in graph.node for o in n.output]


def _exchange_input(_: Any, graph: Any, random: Random) -> None:
    node = random.choice(graph.node)
    node.input[random.randrange(len(node.input))] = random.choice([*_values(graph), "", "nothing"])


def _exchange_output(_: Any, graph: Any, random: Random) -> None:
    node = random.choice(graph.node)
    node.output[random.randrange(len(node.output))] = random.choice([*_values(graph), "", "other"])


def _more_or_less(_: Any, graph: Any, random: Random) -> None:
    node = random.choice(graph.node)
    names = random.choice((node.input, node.output))
    if random.random() < 0.5:
        del names[random.randrange(len(names))]
    else:
        names.append(random.choice([*_values(graph), "more"]))


def _drop_node(_: Any, graph: Any, random: Random) -> None:
    del graph.node[random.randrange(len(graph.node))]


def _repeat_node(_: Any, graph: Any, random: Random) -> None:
    node = random.choice(graph.node)
    copy = graph.node.add()
    copy.CopyFrom(node)
    if random.random() < 0.7:
        for n, name in enumerate(copy.output):
            copy.output[n] = f"{name}_again"


def _other_op(_: Any, graph: Any, random: Random) -> None:
    schemas = onnx.defs.get_all_schemas()
    random.choice(graph.node).op_type = random.choice([s.name for s in schemas] + list(_TEXTS))


def _attribute(_: Any, graph: Any, random: Random) -> None:
    attribute = random.choice(random.choice(graph.node).attribute)
    match attribute.type:
        case AttributeProto.INT:
            attribute.i = random.choice(_NUMBERS)
        case AttributeProto.INTS:
            values = list(attribute.ints) or [0]
            values[random.randrange(len(values))] = random.choice(_NUMBERS)
            attribute.ints[:] = values if random.random() < 0.7 else values * 2
        case AttributeProto.FLOAT:
            attribute.f = random.choice(_FLOATS)
        case AttributeProto.STRING:
            attribute.s = random.choice(_TEXTS).encode()
        case AttributeProto.TENSOR:
            _damage_tensor(attribute.t, random)
    if random.random() < 0.1:
        attribute.type = random.randrange(15)
    if random.random() < 0.1:
        attribute.name = random.choice(_TEXTS)


def _new_attribute(_: Any, graph: Any, random: Random) -> None:
    node = random.choice(graph.node)
    attribute = node.attribute.add()
    schema = onnx.defs.get_schema(node.op_type) if onnx.defs.has(node.op_type) else None
    attribute.name = random.choice([*(schema.attributes if schema else ()), "axis"])
    attribute.type = AttributeProto.INT
    attribute.i = random.choice(_NUMBERS)


def _drop_attribute(_: Any, graph: Any, random: Random) -> None:
    attributes = random.choice(graph.node).attribute
    del attributes[random.randrange(len(attributes))]


def _initializer(_: Any, graph: Any, random: Random) -> None:
    _damage_tensor(random.choice(graph.initializer), random)


def _damage_tensor(tensor: Any, random: Random) -> None:
    match random.randrange(5):
        case 0:
            tensor.dims[random.randrange(len(tensor.dims))] = random.choice(_NUMBERS)
        case 1:
            tensor.data_type = random.randrange(30)
        case 2:
            tensor.raw_data = tensor.raw_data[: len(tensor.raw_data) // 2]
        case 3:
            tensor.data_location = TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value=random.choice(_TEXTS))
        case _:
            tensor.dims.append(random.choice(_NUMBERS))


def _value_info(_: Any, graph: Any, random: Random) -> None:
    value = random.choice([*graph.input, *graph.output])
    tensor = value.type.tensor_type
    match random.randrange(5):
        case 0:
            tensor.elem_type = random.randrange(30)
        case 1:
            random.choice(tensor.shape.dim).dim_value = random.choice(_NUMBERS)
        case 2:
            random.choice(tensor.shape.dim).dim_param = random.choice([*_TEXTS, "N"])
        case 3:
            tensor.ClearField("shape")
        case _:
            tensor.shape.dim.add().dim_value = random.choice(_NUMBERS)


def _opset(proto: Any, _: Any, random: Random) -> None:
    random.choice(proto.opset_import).version = random.choice((*_NUMBERS, *range(1, 30)))


def _function(proto: Any, graph: Any, random: Random) -> None:
    """A function of the model that takes the place of a node, and may well call itself."""
    node = random.choice(graph.node)
    body = proto.functions.add(name=node.op_type, domain="own", opset_import=proto.opset_import)
    body.input.extend(node.input)
    body.output.extend(node.output)
    body.node.add().CopyFrom(node)
    node.domain = "own"
    proto.opset_import.add(domain="own", version=1)
    if random.random() < 0.3:
        body.node[0].domain = "own"


def _nest(_: Any, graph: Any, random: Random) -> None:
    """A body inside of an `If`, several levels deep."""
    inner = onnx.GraphProto(name="inner")
    inner.CopyFrom(graph)
    del inner.input[:]
    for _level in range(random.choice((1, 3, 20))):
        node = onnx.NodeProto(
            op_type="If", input=[random.choice(_values(graph))], output=[o.name for o in graph.output]
        )
        for name in ("then_branch", "else_branch"):
            attribute = node.attribute.add(name=name, type=AttributeProto.GRAPH)
            attribute.g.CopyFrom(inner)
        if node.ByteSize() > 1 << 20:
            break
        del inner.node[:]
        inner.node.append(node)
    del graph.node[:]
    graph.node.extend(inner.node)


_CHANGES: tuple[Callable[[Any, Any, Random], None], ...] = (
    _exchange_input, _exchange_input, _exchange_output, _more_or_less, _drop_node, _repeat_node, _other_op, _attribute,
    _attribute, _new_attribute, _drop_attribute, _initializer, _initializer, _value_info, _value_info, _opset, _function,
    _nest,
)  # fmt: skip
