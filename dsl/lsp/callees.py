"""What a call calls: a block of this file, or `alias.block` of an imported one."""

from __future__ import annotations

from trtn.dsl.elaborate import Unit
from trtn.dsl.syntax import ast

__all__ = ["find_block"]


def find_block(unit: Unit | None, callee: str) -> tuple[Unit, ast.Block] | None:
    """The block of this name, with the file that it is in; None for ops and for what is not known."""
    alias, dot, rest = callee.partition(".")
    if unit is not None and dot:
        unit = unit.imports.get(alias)
    block = unit.blocks.get(rest if dot else callee) if unit is not None else None
    return (unit, block) if unit is not None and block is not None else None
