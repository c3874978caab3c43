"""A network as a structured spec: blocks, repeats and calls, proven to load as the same network and to print the
same again."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from trtn.dsl.network import Network
from trtn.dsl.ops.base import catalogue
from trtn.dsl.printer.body import MANIFEST, BodyWriter
from trtn.dsl.printer.document import (
    Document,
    declarations,
    header,
    late_asserts,
    outputs_called_as_inputs,
    write_document,
)
from trtn.dsl.printer.layout import physical_lines
from trtn.dsl.printer.literals import name_text
from trtn.dsl.printer.names import Names
from trtn.dsl.printer.placement import Placement
from trtn.dsl.printer.rewrite import expressible
from trtn.dsl.structure.arrange import arranged
from trtn.dsl.structure.blocks import Block, Unwritable, make_block
from trtn.dsl.structure.find import Finder, Occurrence
from trtn.dsl.structure.labels import block_name
from trtn.dsl.structure.paths import family
from trtn.dsl.structure.proof import loads_as
from trtn.dsl.structure.renaming import regular_names, renamed, tidied
from trtn.dsl.structure.top import write_statements
from trtn.dsl.syntax import quote_string

__all__ = ["print_structured", "structured_document"]

_MOST_LAYERS = 20_000
"""Larger networks are printed flat: to find their structure takes too long."""

_log = logging.getLogger(__name__)


def print_structured(network: Network, *, weights_path: str | None = None, provenance: bool = False) -> str:
    """A network as a spec in canonical format, with its repeated structure as blocks.

    What is printed loads as a network that computes the same, bit by bit, and prints the same again. Weights have paths
    that blocks can index, which may be others than in the network: see `structured_document`.
    """
    return structured_document(network, weights_path=weights_path, provenance=provenance).text


def structured_document(network: Network, *, weights_path: str | None = None, provenance: bool = False) -> Document:
    """The same with the weights that the manifest must hold, by path. Where the structure can't be proven to mean the
    network, the document is flat.
    """
    if len(network.layers) <= _MOST_LAYERS:
        document = _written(network, weights_path, provenance)
        if document is not None:
            return document
        _log.info("network `%s` is printed flat: its structured text would not be the same", network.name)
    return write_document(network, weights_path=weights_path, provenance=provenance)


def _written(network: Network, weights_path: str | None, provenance: bool) -> Document | None:
    path = weights_path if weights_path is not None else f"{network.name}.weights.trtn"
    try:
        final, found = _with_paths(network)
        document = _write(final, found, path, provenance)
        again = loads_as(document, final)
        if again is None or _write(*_with_paths(again), path, provenance).text != document.text:
            return None
    except Unwritable:
        return None
    return document


def _with_paths(network: Network) -> tuple[Network, list[list[Occurrence]]]:
    """The network in the order of the text, its weights under the paths of the text, and what occurs several times."""
    network = tidied(arranged(replace(network, graph=expressible(network.graph))))
    found = _found(network)
    names = regular_names(network, found)
    if not names:
        return network, found
    network = renamed(network, names)
    return network, _found(network)


def _found(network: Network) -> list[list[Occurrence]]:
    finder = Finder(network)
    found = []
    while (best := finder.best()) is not None:
        found.append(best)
    return found


def _write(network: Network, found: Sequence[list[Occurrence]], path: str, provenance: bool) -> Document:
    names, placement = Names(network), Placement(network)
    body = BodyWriter(network, names, placement, provenance, types=False)
    for tensor in network.inputs:
        names.enter(names.top, tensor, tensor.name)
    blocks = _blocks(found, names)
    write_statements(body, blocks)
    for line in late_asserts(network, names):
        body.line(line)
    body.lines += outputs_called_as_inputs(network, names)
    alias = names.weights_alias()
    lines = ["trtn 1", *([f"weights {alias} = {quote_string(path)}"] if placement.weights else []), ""]
    for block in blocks:
        lines += [part for depth, line in block.lines for part in physical_lines(line, depth)]
        lines.append("")
    lines.append(f"network {name_text(network.name)} {{")
    lines += [part for line in header(network, names) for part in physical_lines(line, 1)]
    lines += [""] if body.lines else []
    lines += [part for depth, line in body.lines for part in physical_lines(line.replace(MANIFEST, alias), depth)]
    lines.append("}")
    return Document("\n".join(lines) + "\n" + declarations(network, names), placement.weights)


def _blocks(found: Sequence[list[Occurrence]], names: Names) -> list[Block]:
    """Blocks in the order of their first calls; occurrences that can't be one stay layers."""
    blocks: list[Block] = []
    taken = {"w", *catalogue(), "activation", "constant"}
    for occurrences in sorted(found, key=lambda o: o[0].start):
        members = family([o.weights for o in occurrences])
        wanted = name = block_name(occurrences, members.prefixes)
        number = 2
        while name in taken:
            name, number = f"{wanted}_{number}", number + 1
        try:
            blocks.append(make_block(name, occurrences, members, names.dims))
        except Unwritable:
            continue
        taken.add(name)
    return blocks
