"""A page for each family of ops, from the catalogue."""

from __future__ import annotations

import inspect
import textwrap
from collections import defaultdict
from collections.abc import Iterable

from docs.generate.examples import example
from docs.generate.markdown import cell, prose, table
from trtn.dsl.dtypes import ALL, DType
from trtn.dsl.ops import Op, catalogue
from trtn.dsl.ops.signature import Attr, show

__all__ = ["op_pages"]

INTRODUCTION = (
    "Positional arguments are tensors, keyword arguments attributes. A trailing `?` marks what may be left out, `...` "
    "what may come several times. Infix operators stand for `add`, `sub`, `mul`, `div`, `floor_div`, `mod`, `matmul`, "
    "`pow`, `neg` and the comparisons."
)


def op_pages() -> dict[str, str]:
    families: dict[str, list[Op]] = defaultdict(list)
    for op in catalogue().values():
        families[type(op).__module__.rpartition(".")[2]].append(op)
    pages = {f"ops/{name}.md": _page(name, families[name]) for name in sorted(families)}
    return {"ops/index.md": _index(families), **pages}


def _index(families: dict[str, list[Op]]) -> str:
    rows = [
        (f"[`{op.name}`]({family}.md#{op.name})", cell(_first_line(op)))
        for family, ops in families.items()
        for op in ops
    ]
    return "\n".join(
        [
            "# Ops",
            "",
            INTRODUCTION,
            "",
            *table(("op", "what it computes"), sorted(rows)),
        ]
    )


def _page(family: str, ops: list[Op]) -> str:
    return "\n".join([f"# {family.replace('_', ' ').capitalize()}", "", *(_op(op) for op in ops)])


def _op(op: Op) -> str:
    spec = op.spec
    lines = [f"## {op.name}", "", f"`{' '.join(op.signature.split())}`", "", *_doc(op), ""]
    if spec.attrs:
        rows = [(f"`{a.name}`", cell(f"`{a.text}`"), _default(a)) for a in spec.attrs]
        lines += ["**Attributes**", "", *table(("name", "kind", "default"), rows), ""]
    variables = dict.fromkeys(t.type for t in (*spec.inputs, *spec.results) if t.type[:1].isupper())
    if variables:
        rows = [(f"`{v}`", _dtypes(op.dtypes(v))) for v in variables]
        lines += ["**Dtypes**", "", *table(("variable", "may be"), rows), ""]
    lines += [f"{_traits(op)}", ""] if _traits(op) else []
    text = example(op)
    if text is not None:
        lines += ["**Example**", "", "```trtn", text.rstrip("\n"), "```", ""]
    source = textwrap.dedent(inspect.getsource(type(op).infer)).rstrip("\n")
    lines += ['??? note "Shape rule, as the checker runs it"', "", "    ```python"]
    lines += [f"    {line}".rstrip() for line in source.split("\n")]
    return "\n".join([*lines, "    ```", ""])


def _doc(op: Op) -> list[str]:
    """The docstring, with what is indented in it as it stands."""
    lines = inspect.cleandoc(type(op).__doc__ or "").split("\n")
    return [line if line.startswith("    ") else prose(line) for line in lines]


def _first_line(op: Op) -> str:
    return prose(op.doc.partition("\n\n")[0])


def _default(attr: Attr) -> str:
    if attr.required:
        return "must be given"
    return "none" if attr.default is None else f"`{show(attr.default)}`"


def _dtypes(dtypes: Iterable[DType]) -> str:
    names = [d.name for d in dtypes]
    return "any" if len(names) == len(ALL) else " ".join(f"`{n}`" for n in names)


def _traits(op: Op) -> str:
    traits = []
    if op.pointwise:
        traits.append("Works element by element; inputs are broadcast.")
    if op.view:
        traits.append("A view: it moves no data" + (" where its input is contiguous." if op.view != "always" else "."))
    if not op.deterministic:
        traits.append("Draws random numbers: never folded, never merged with another.")
    return " ".join(traits)
