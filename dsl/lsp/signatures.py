"""Signature help: what the op or block that is being called takes."""

from __future__ import annotations

import re

from lsprotocol import types as lsp

from trtn.dsl.lsp.callees import find_block
from trtn.dsl.lsp.cursor import Call, place_at
from trtn.dsl.lsp.view import View
from trtn.dsl.ops.base import find_op

__all__ = ["signature_help"]

_PARAMETER = re.compile(r"(?<=[(,])\s*([A-Za-z_]\w*)\s*:")


def signature_help(view: View, offset: int) -> lsp.SignatureHelp | None:
    call = place_at(view.source.text, offset).call
    found = _signature(view, call.callee) if call is not None else None
    if call is None or found is None:
        return None
    label, doc = found
    head = label[: label.rfind("->")]
    starts = [(m.start(1), m[1]) for m in _PARAMETER.finditer(head)]
    parameters = [lsp.ParameterInformation((start, start + len(name))) for start, name in starts]
    documentation = lsp.MarkupContent(lsp.MarkupKind.Markdown, doc) if doc else None
    active = _active(call, [name for _, name in starts])
    information = lsp.SignatureInformation(label, documentation, parameters, active)
    return lsp.SignatureHelp([information], active_signature=0, active_parameter=active)


def _signature(view: View, callee: str) -> tuple[str, str] | None:
    found = find_block(view.analysis.unit, callee)
    if found is not None:
        unit, block = found
        return f"{block.name}{' '.join(unit.source.text[block.sig.start : block.sig.end].split())}", block.doc or ""
    op = find_op(callee)
    return (" ".join(op.signature.split()), op.doc) if op is not None else None


def _active(call: Call, names: list[str]) -> int | None:
    if call.keyword:
        return names.index(call.keyword) if call.keyword in names else None
    return call.argument if call.argument < len(names) else None
