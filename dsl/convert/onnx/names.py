"""Readable paths from the names that exporters write: `/layers.0/attn/MatMul_output_0` becomes `layers[0].attn.MatMul`.

A name depends only on the model's own names around it, never on a running number: a new node renames nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from zlib import crc32

__all__ = ["first_free", "identifier", "is_odd", "network_name", "path_of", "snake", "value_path", "weight_path"]

_LIMIT = 96
"""The longest path. Exporters that fuse nodes join the names of all of them."""

_INLINED = re.compile(r"(?:If_\d+_(?:then|else)_branch__)?Inline_\d+__/?|\bF\d+::")
_OUTPUT = re.compile(r"_output_0$|:0$")
_GENERIC = re.compile(r"onnx::\w+|input(?:\.\d+)?|\d[\d_.]*", re.A)
_FOLDED = re.compile(r"val_\d+", re.A)
"""What torch calls the constants that it computes itself, transposed matrices for one."""
_NUMBER = re.compile(r"_\d+$", re.A)
_ANY_GRAPH = re.compile(
    r"(?:main|torch|jit|export|onnx|tf2onnx|paddle|spox|graph|model|from|[\W_])*(?:PaddlePaddle.*)?", re.I
)
_DROPPED = frozenset({"StatefulPartitionedCall", "PartitionedCall", "ReadVariableOp", "resource"})


def snake(op: str) -> str:
    """`GlobalAveragePool` -> `global_average_pool`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", op).lower()


def identifier(text: str) -> str:
    """The letters, digits and underscores of a text as one identifier, or "" where nothing is left."""
    word = re.sub(r"\W+", "_", text, flags=re.A).strip("_")
    return f"n{word}" if word[:1].isdigit() else word


def network_name(graph: str, file: str) -> str:
    """A network's name: the graph's, or the file's where every graph of that exporter has the same."""
    own = "" if _ANY_GRAPH.fullmatch(graph) else identifier(graph)
    return (own or identifier(file) or identifier(graph) or "network")[:64].strip("_")


def is_odd(name: str) -> bool:
    """Whether an exporter made the name up (`497`, `onnx::Conv_497`), so that it says nothing about the network."""
    return not name or _GENERIC.fullmatch(_OUTPUT.sub("", name)) is not None


def path_of(name: str) -> str:
    """The path that a foreign name spells, or "" where nothing readable is left of it."""
    text = _OUTPUT.sub("", _INLINED.sub("", name.split(";")[0]))
    segments = [s for s in re.split(r"/|::", text) if s and s not in _DROPPED]
    kept = [s for n, s in enumerate(segments) if n + 1 == len(segments) or not _repeats(s, segments[n + 1])]
    path = ""
    for part in (p for segment in kept for p in segment.split(".")):
        word = re.sub(r"\W+", "_", part, flags=re.A).strip("_") if part.strip("_") else ""
        if not word:
            continue
        if word.isdigit():
            path += f"[{int(word)}]" if path else f"n{word}"
        else:
            path += ("." if path else "") + (f"n{word}" if word[0].isdigit() else word)
    return path if len(path) <= _LIMIT else f"{path[: _LIMIT - 9].rstrip('.[_')}_{crc32(name.encode()):08x}"


def _repeats(segment: str, following: str) -> bool:
    """Torch writes a module's path before its child's: `/layer1/layer1.0/conv`."""
    return following.startswith(f"{segment}.")


def value_path(value: str, node: str, op: str, module: str = "") -> str:
    """The path of a node's result: the value's name, else the node's, else the op and what is left of the value's.

    `module` is the path of the module that the node is in, where the exporter notes it. The value's running number,
    which counts over the whole model, says nothing in there.
    """
    if module:
        stem = snake(op) if is_odd(value) or _FOLDED.fullmatch(value) else _NUMBER.sub("", value)
        return path_of(f"{module}.{stem}")
    if not is_odd(value) and (path := path_of(value)):
        return _in_lower_case(path, op)
    if "/" in node and (path := path_of(node)):
        return _in_lower_case(path, op)
    number = re.split(r"[._:]", value)[-1]
    return f"{snake(op)}_{identifier(number).removeprefix('n')}" if number else snake(op)


def _in_lower_case(path: str, op: str) -> str:
    """`layers[0].attn.MatMul_1` as `layers[0].attn.matmul_1`: ops have the case that they have in the language."""
    head, dot, last = path.rpartition(".")
    name, _, number = last.partition("_")
    fits = name == op and (not number or number.isdigit())
    return f"{head}{dot}{snake(op)}{f'_{number}' if number else ''}" if fits else path


def weight_path(value: str, node: str, op: str, role: str) -> str:
    """The path of a weight in the manifest. A made-up name gives way to its first reader's path and its role there."""
    made_up = is_odd(value) or (_FOLDED.fullmatch(value) is not None and "/" in node)
    if not made_up and (path := path_of(value)):
        return path
    owner = path_of(node) if "/" in node else ""
    if owner:
        head, _, last = owner.rpartition(".")
        return f"{head if head and last == op else owner}.{role}"
    return f"{value_path(value, '', op)}.{role}"


def first_free(candidates: Sequence[str], taken: Callable[[str], bool]) -> str:
    """The first candidate that is free, else the last with the least number that makes it so."""
    for candidate in candidates:
        if candidate and not taken(candidate):
            return candidate
    stem, number = candidates[-1], 2
    while taken(f"{stem}_{number}"):
        number += 1
    return f"{stem}_{number}"
