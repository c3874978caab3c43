"""How values are written: numbers, strings, dims, lists, the elements of short constants."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trtn.dsl.dims import Dim, Relation
from trtn.dsl.dims.text import FUNCTIONS
from trtn.dsl.dtypes import BOOL, BY_NAME, DType
from trtn.dsl.syntax.names import RESERVED, is_plain_name, quote_name, quote_string

if TYPE_CHECKING:
    import numpy as np

__all__ = ["DimWriter", "assert_text", "constant_text", "default_dtype", "name_text", "number_text", "value_text"]

_DIM_PART = re.compile(r"`([^`]*)`|([A-Za-z_]\w*)(\(?)|\s*(//|\*|%)\s*")


def name_text(name: str) -> str:
    """A name that may not be a path (a dim, a network, a carried value): in backticks unless it is an identifier."""
    if is_plain_name(name) and name not in RESERVED and name != "_":
        return name
    quoted = quote_name(name)
    return quoted if quoted.startswith("`") else f"`{quoted}`"


def number_text(value: float) -> str:
    """The shortest text that reads back as the same number; a float's never looks like an integer's."""
    text = repr(value)
    if isinstance(value, float) and "e" in text:
        mantissa, _, exponent = text.partition("e")
        return f"{mantissa}e{int(exponent)}"
    return text


class DimWriter:
    """Dims as canonical text: blanks around operators, names in backticks where needed, `renamed` ones replaced."""

    def __init__(self, renamed: Mapping[str, str]) -> None:
        self._renamed = renamed
        self._texts: dict[Dim, str] = {}

    def __call__(self, dim: Dim) -> str:
        if isinstance(dim, int):
            return str(dim)
        text = self._texts.get(dim)
        if text is None:
            text = self._texts[dim] = _DIM_PART.sub(self._part, str(dim))
        return text

    def plain(self, name: str) -> str:
        """The name that a dim has in the text, without backticks."""
        return self._renamed.get(name, name)

    def name(self, name: str) -> str:
        return name_text(self.plain(name))

    def _part(self, match: re.Match[str]) -> str:
        quoted, word, bracket, operator = match.groups()
        if operator is not None:
            return f" {operator} "
        if quoted is None and bracket and word in FUNCTIONS:
            return match.group()
        return self.name(word if quoted is None else quoted) + (bracket or "")


def assert_text(relation: Relation, message: str, dims: DimWriter) -> str:
    """A statement that demands a relation."""
    text = f"assert {dims(relation.left)} {relation.op} {dims(relation.right)}"
    return f"{text}, {quote_string(message)}" if message else text


def value_text(value: Any, dims: DimWriter) -> str:
    """An attribute's value."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return quote_string(value)
        case float():
            return number_text(value)
        case tuple():
            return f"[{', '.join(value_text(v, dims) for v in value)}]"
        case DType():
            return value.name
        case _:
            return dims(value)


# --- constants ---------------------------------------------------------------------------------------------------


def default_dtype(dtype: DType) -> bool:
    """Whether a literal has this dtype where nothing around it says which."""
    return dtype is BOOL or dtype is BY_NAME["f32"] or dtype is BY_NAME["i64"]


def constant_text(array: np.ndarray[Any, Any], dtype: DType) -> str | None:
    """The elements of a short constant as a number or (nested) lists, or None where no text gives the same bits."""
    from trtn.dsl.elaborate.expressions import CONSTANT_LIMIT, constant_array

    if array.size > CONSTANT_LIMIT:
        return None
    for exact in (False, True):
        values = _elements(array, dtype, exact)
        read = constant_array(values, dtype)
        if read.shape == array.shape and read.tobytes() == array.tobytes():
            return _text(values)
        if not dtype.is_float:
            return None
    return None


def _elements(array: np.ndarray[Any, Any], dtype: DType, exact: bool) -> Any:
    """Nested tuples of Python numbers; floats in the few digits that tell them from their neighbours, or in full."""
    if array.ndim:
        return tuple(_elements(row, dtype, exact) for row in array)
    element = array[()]
    if dtype is BOOL:
        return bool(element)
    if not dtype.is_float:
        return int(element)
    value = float(element) if exact else float(str(element))
    return value if value == value else math.nan  # the text has no payloads


def _text(values: Any) -> str:
    if isinstance(values, tuple):
        return f"[{', '.join(map(_text, values))}]"
    return str(values).lower() if isinstance(values, bool) else number_text(values)
