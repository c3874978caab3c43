"""Why groups that hand a value to one another are not one group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from trtn.backend.group import Group
from trtn.dsl.network import Layer, Network, Tensor, captures

__all__ = ["reasons_apart"]

WITH_EPILOGUE = ("conv", "gemm")
TAKEN = "it is in another group"
"""What fusion notes of a layer that somebody else took first."""


def reasons_apart(
    network: Network, groups: Sequence[Group], noted: Mapping[str, str]
) -> Iterator[tuple[int, int, Tensor, str]]:
    """For each value that goes from one group to another: their numbers, the value, and why it leaves. `noted` is what
    fusion said about layers that stayed out of a group, by name."""
    readers: dict[int, dict[int, Layer]] = {}
    makers: dict[int, Layer] = {}
    for number, group in enumerate(groups):
        for layer in group.layers:
            makers.update((id(t), layer) for t in layer.outputs)
            for t in (*layer.inputs, *captures(layer)):
                if t is not None:
                    readers.setdefault(id(t), {}).setdefault(number, layer)
    handed_out = {id(t) for t in network.outputs}
    for number, group in enumerate(groups):
        for t in group.outputs:
            feeds = readers.get(id(t), {})
            for other, reader in feeds.items():
                if other != number:
                    reason = _reason(group, groups[other], makers[id(t)], reader, noted)
                    if group.kind in WITH_EPILOGUE and id(t) in handed_out:
                        reason = f"`{t.name}` is an output of the network"
                    yield number, other, t, reason


def _reason(first: Group, second: Group, maker: Layer, reader: Layer, noted: Mapping[str, str]) -> str:
    if "view" in (first.kind, second.kind):
        return "a view moves nothing: there is nothing to fuse"
    said = noted.get(reader.name, "")
    if said == TAKEN:
        return f"`{reader.op.name}` is in the group of `{second.name}` already"
    if said:
        return said
    if second.kind == "normalisation" and noted.get(maker.name, TAKEN) != TAKEN:
        return noted[maker.name]
    if second.layers[0] is reader and not reader.op.pointwise:
        return f"`{reader.op.name}` starts a group of its own, which reads its inputs from memory"
    if reader.op.pointwise and first.kind not in (*WITH_EPILOGUE, "pointwise"):
        return f"{first.kind} groups take no epilogue"
    return f"a {second.kind} group takes in no `{maker.op.name}`"
