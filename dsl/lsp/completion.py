"""Completion: what can stand at the cursor, by the brackets and words to the left of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from lsprotocol import types as lsp

from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.elaborate import Unit
from trtn.dsl.lsp.callees import find_block
from trtn.dsl.lsp.cursor import Place, place_at
from trtn.dsl.lsp.hover import BUILT_IN, describe_attr, describe_op
from trtn.dsl.lsp.symbols import Kind, Space, Symbol
from trtn.dsl.lsp.view import View
from trtn.dsl.lsp.weights import next_steps, text_pattern, ways
from trtn.dsl.network import format_type
from trtn.dsl.ops.base import Op, catalogue, find_op
from trtn.dsl.syntax import ast, quote_name

__all__ = ["TRIGGERS", "completions"]

TRIGGERS = (".", "(", "[", "=", "@", '"')

_Kind = lsp.CompletionItemKind
_STATEMENTS = ("let", "assert", "repeat")
WORDS = {
    "": ("import", "weights", "plugin", "block", "network", "profile", "target"),
    "network": ("doc", "dim", "input", "output", *_STATEMENTS),
    "block": ("doc", *_STATEMENTS, "return"),
    "repeat": _STATEMENTS, "if": (*_STATEMENTS, "yield"), "else": (*_STATEMENTS, "yield"),
    "scan": (*_STATEMENTS, "yield"), "loop": (*_STATEMENTS, "yield"),
    "target": ("network", "profiles", "device", "precision", "workspace", "lock", "output"),
    "precision": ("default", "keep"), "manifest": ("file", "tensor"), "plugin": ("where",),
}  # fmt: skip
"""What a line of each body can begin with."""
FOLLOWING = {"repeat": ("in", "carry", "as"), "dim": ("in", "step"), "input": (), "keep": ("for",), "profile": ("for",)}
"""What can come later in a line that begins so."""
PARAMETER_KINDS = ("weights", "int", "float", "str", "bool", "dtype", "ints", "floats")
ANNOTATIONS = ("precision", "onnx")
VALUES = {"bool": ("true", "false"), "dtype": tuple(BY_NAME)}
_KINDS = {
    Kind.DIM: _Kind.TypeParameter, Kind.LET: _Kind.Constant, Kind.WEIGHTS: _Kind.Module, Kind.INDEX: _Kind.Variable,
    Kind.DTYPE: _Kind.TypeParameter, Kind.PARAMETER: _Kind.Variable, Kind.INPUT: _Kind.Field,
}  # fmt: skip


def completions(view: View, offset: int) -> list[lsp.CompletionItem]:
    place = place_at(view.source.text, offset)
    if place.comment:
        return []
    if place.string is not None:
        return list(_in_string(view, place))
    if "." in place.path or "[" in place.path:
        return list(_parts(view, place, offset))
    if place.line[-1:] == ("@",) and len(place.line) == 1:
        return _words(ANNOTATIONS, _Kind.Property)
    if not place.line and place.call is None and not place.type_of:
        return [*_words(_line_starts(place)), *_entries(view, place), *_carried(view, place, offset)]
    if place.type_of is not None and (place.type_of in BY_NAME or place.type_of[0].isupper()):
        return list(_values(view, offset, (Kind.DIM, Kind.LET, Kind.PARAMETER)))
    if place.line[-1:] == (":",):
        return _after_colon(place)
    if place.bodies[-1:] in (("target",), ("precision",)):
        return list(_field(view, place))
    return list(_expression(view, place, offset))


# --- heads of lines ----------------------------------------------------------------------------------------------


def _line_starts(place: Place) -> Iterable[str]:
    return WORDS.get(place.bodies[-1] if place.bodies else "", ())


def _after_colon(place: Place) -> list[lsp.CompletionItem]:
    """A type, a block's parameter's kind, a profile's range."""
    if place.bodies[-1:] == ("profile",):
        return _words(("min", "opt", "max"))
    kinds = PARAMETER_KINDS if not place.bodies else ()
    return [*_words(kinds), *_words(BY_NAME, _Kind.TypeParameter)]


def _entries(view: View, place: Place) -> Iterator[lsp.CompletionItem]:
    """The dims that a profile has entries for."""
    if place.bodies[-1:] == ("profile",):
        for item in view.analysis.module.items:
            if isinstance(item, ast.NetworkDecl):
                for member in item.members:
                    if isinstance(member, ast.DimDecl):
                        yield lsp.CompletionItem(member.name, kind=_Kind.Field, detail=_source(view, member))


def _carried(view: View, place: Place, offset: int) -> Iterator[lsp.CompletionItem]:
    """Names that a statement here may bind: outputs that are still open, what a repeat carries."""
    for symbol in view.analysis.table.visible(offset, Space.VALUE).values():
        if symbol.kind is Kind.OUTPUT or (place.bodies[-1:] != ("network",) and symbol.kind is Kind.VALUE):
            yield _symbol(view, symbol)


def _field(view: View, place: Place) -> Iterator[lsp.CompletionItem]:
    spaces = {"network": Space.NETWORK, "profiles": Space.PROFILE}
    head = place.line[0] if place.line else ""
    if head in spaces:
        for (space, _), symbol in view.analysis.table.file.symbols.items():
            if space is spaces[head]:
                yield _symbol(view, symbol)
    elif head == "device":
        yield from _words(("cpu", "cuda"), _Kind.EnumMember)
    elif head == "keep" and "[" in place.line:
        yield from _ops()
    else:
        yield from _words(("for", *(d for d, t in BY_NAME.items() if t.is_float)), _Kind.TypeParameter)


# --- strings and paths -------------------------------------------------------------------------------------------


def _in_string(view: View, place: Place) -> Iterator[lsp.CompletionItem]:
    """The words that an attribute may be; files behind `import` and `weights`."""
    if place.call is not None and place.call.keyword:
        op = find_op(place.call.callee)
        attr = op.spec.attr(place.call.keyword) if op is not None else None
        names: Iterable[str] = attr.choices if attr is not None else ()
        if place.call.callee == "activation" and place.call.keyword == "kind":
            names = [n for n, o in catalogue().items() if o.pointwise and len(o.spec.inputs) == 1]
        yield from _words(names, _Kind.EnumMember)
    elif place.line[:1] in (("import",), ("weights",)) and view.analysis.unit is not None:
        folder = view.analysis.unit.folder
        for path in sorted(folder.glob("*.trtn")) + sorted(folder.glob("*/*.trtn")):
            named = path.relative_to(folder).as_posix()
            if named.endswith(".weights.trtn") == (place.line[0] == "weights"):
                yield lsp.CompletionItem(named, kind=_Kind.File)


def _parts(view: View, place: Place, offset: int) -> Iterator[lsp.CompletionItem]:
    """What follows in a path: steps into a manifest, the blocks of an imported file."""
    unit = view.analysis.unit
    root = re.split(r"[.\[]", place.path, maxsplit=1)[0]
    head, dot, _ = place.path.rpartition(".")
    if unit is None or not dot:
        return
    symbol = view.analysis.table.visible(offset, Space.VALUE).get(root)
    if symbol is not None:
        for way in ways(unit, view.analysis.table, symbol, text_pattern(head[len(root) :])):
            for step, weight in next_steps(way).items():
                yield _step(view, step, format_type(weight.dtype, weight.shape) if weight is not None else "", offset)
    elif (imported := unit.imports.get(root)) is not None and head == root:
        yield from _blocks(imported)


def _step(view: View, step: str, detail: str, offset: int) -> lsp.CompletionItem:
    kind = _Kind.Field if detail else _Kind.Module
    if not step.startswith("["):
        text = step if step.isidentifier() else quote_name(step)
        return lsp.CompletionItem(step, kind=kind, detail=detail, insert_text=text)
    # An index takes the place of the dot.
    dot = view.source.text.rfind(".", 0, offset)
    edit = lsp.TextEdit(view.positions.range(dot, offset), step)
    return lsp.CompletionItem(step, kind=kind, detail=detail, text_edit=edit, filter_text=f".{step}")


# --- expressions -------------------------------------------------------------------------------------------------


def _expression(view: View, place: Place, offset: int) -> Iterator[lsp.CompletionItem]:
    call = place.call
    if call is not None and call.keyword:
        yield from _keyword_value(view, call.callee, call.keyword)
    elif call is not None:
        yield from _keywords(view, call.callee, call.given)
    yield from _values(view, offset, tuple(Kind))
    if call is None or not call.keyword:
        yield from _ops()
        yield from _words(BUILT_IN, _Kind.Function)
        if view.analysis.unit is not None:
            yield from _blocks(view.analysis.unit)
            yield from _words([a for a, unit in view.analysis.unit.imports.items() if unit is not None], _Kind.Module)
    if call is None and place.line:
        yield from _words(FOLLOWING.get(place.line[0], ()))
        if place.line[-1] == "=":
            yield from _words(("if", "scan", "loop"))


def _values(view: View, offset: int, kinds: tuple[Kind, ...]) -> Iterator[lsp.CompletionItem]:
    for symbol in view.analysis.table.visible(offset, Space.VALUE).values():
        if symbol.kind in kinds and symbol.kind is not Kind.OUTPUT:
            yield _symbol(view, symbol)


def _keywords(view: View, callee: str, given: tuple[str, ...]) -> Iterator[lsp.CompletionItem]:
    """The attributes of the op, or the keyword parameters of the block, that are not given yet."""
    block = find_block(view.analysis.unit, callee)
    if block is not None:
        for param in block[1].sig.attrs:
            default = "" if param.default is None else " = .."
            if param.name not in given:
                yield _keyword(param.name, f"{param.kind}{default}", param.default is None)
    elif (op := find_op(callee)) is not None:
        for attr in op.spec.attrs:
            if attr.name not in given:
                yield _keyword(attr.name, describe_attr(attr), attr.required)


def _keyword(name: str, detail: str, required: bool) -> lsp.CompletionItem:
    sort = f"{0 if required else 1}{name}"
    return lsp.CompletionItem(
        f"{name}=", kind=_Kind.Property, detail=detail, sort_text=sort, insert_text=f"{name}=", filter_text=name
    )


def _keyword_value(view: View, callee: str, keyword: str) -> Iterator[lsp.CompletionItem]:
    block = find_block(view.analysis.unit, callee)
    if block is not None:
        kind = next((p.kind for p in block[1].sig.attrs if p.name == keyword), None)
    else:
        op = find_op(callee)
        attr = op.spec.attr(keyword) if op is not None else None
        kind = attr.kind if attr is not None else "dtype" if callee == "constant" else None
        yield from _words([f'"{c}"' for c in (attr.choices if attr is not None else ())], _Kind.EnumMember)
    yield from _words(VALUES.get(kind or "", ()), _Kind.EnumMember)


def _ops() -> Iterator[lsp.CompletionItem]:
    for name, op in catalogue().items():
        if not op.regions:
            yield _op(name, op)


def _op(name: str, op: Op) -> lsp.CompletionItem:
    text = lsp.MarkupContent(lsp.MarkupKind.Markdown, describe_op(op))
    detail = " ".join(op.signature.split())
    return lsp.CompletionItem(name, kind=_Kind.Function, detail=detail, documentation=text, sort_text=f"3{name}")


def _blocks(unit: Unit) -> Iterator[lsp.CompletionItem]:
    for name, block in unit.blocks.items():
        detail = unit.source.text[block.start : block.sig.end]
        yield lsp.CompletionItem(name, kind=_Kind.Function, detail=" ".join(detail.split()), sort_text=f"2{name}")


def _words(words: Iterable[str], kind: lsp.CompletionItemKind = _Kind.Keyword) -> list[lsp.CompletionItem]:
    return [lsp.CompletionItem(word, kind=kind, sort_text=f"4{word}") for word in words]


def _symbol(view: View, symbol: Symbol) -> lsp.CompletionItem:
    text = symbol.name if symbol.kind in (Kind.WEIGHTS, Kind.DTYPE) else quote_name(symbol.name)
    kind = _KINDS.get(symbol.kind, _Kind.Variable)
    return lsp.CompletionItem(
        symbol.name, kind=kind, detail=_source(view, symbol.node), insert_text=text, sort_text=f"1{symbol.name}"
    )


def _source(view: View, node: ast.Node) -> str:
    """The first line of what defines a name."""
    return view.source.text[node.start : node.end].partition("\n")[0][:120]
