"""From parser reductions straight to the syntax tree: Lark's rules call one method here each, no parse tree is kept.

The methods carry the names of the grammars' rules and take the list of what the rule matched. What is grammatical but
wrong (a `return` in the middle, `a < b < c`) becomes a `Problem`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from trtn.dsl.syntax import ast
from trtn.dsl.syntax.build_expressions import Items
from trtn.dsl.syntax.build_manifest import ManifestBuilder
from trtn.dsl.syntax.build_statements import StatementBuilder
from trtn.dsl.syntax.names import unquote_path
from trtn.dsl.syntax.tokens import Token

__all__ = ["Builder"]


class _Keep(NamedTuple):
    dtype: str
    names: tuple[str, ...]


class _Default(NamedTuple):
    dtype: str


class _Results(NamedTuple):
    params: tuple[ast.Param, ...]


class Builder(StatementBuilder, ManifestBuilder):
    """Lark's transformer, for both grammars. `problems` collects the findings of one parse; the parser empties it."""

    def start(self, items: Items) -> tuple[Any, ...]:
        return tuple(items[2:])

    def import_(self, items: Items) -> ast.Import:
        keyword, path, _, alias = items
        text = self.read_string(path)
        return ast.Import(keyword.start_pos, alias.end_pos, text, unquote_path(alias), path.start_pos, path.end_pos)

    def weights(self, items: Items) -> ast.WeightsDecl:
        keyword, alias, path = items
        text = self.read_string(path)
        return ast.WeightsDecl(keyword.start_pos, path.end_pos, unquote_path(alias), text, path.start_pos, path.end_pos)

    def plugin(self, items: Items) -> ast.Plugin:
        keyword, name, sig, _, *members, closing = items
        where = tuple(m for m in members if type(m) is ast.PluginWhere)
        fields = tuple(m for m in members if type(m) is ast.Field)
        return ast.Plugin(
            keyword.start_pos, closing.end_pos, unquote_path(name), sig, where, fields, name.start_pos, name.end_pos
        )

    def where(self, items: Items) -> ast.PluginWhere:
        keyword, variable, _, _, *dtypes, closing = items
        names = tuple(unquote_path(dtype) for dtype in dtypes)
        return ast.PluginWhere(keyword.start_pos, closing.end_pos, unquote_path(variable), names)

    def block(self, items: Items) -> ast.Block:
        keyword, name, sig, _, *body, closing = items
        doc = body.pop(0).text if body and type(body[0]) is ast.Doc else None
        self.check_body(body, ast.Return, "a block")
        if not body or type(body[-1]) is not ast.Return:
            message = f"block `{unquote_path(name)}` does not end in `return`"
            self.problem("E0213", closing.start_pos, closing.end_pos, message, scope=keyword.start_pos)
        return ast.Block(
            keyword.start_pos,
            closing.end_pos,
            unquote_path(name),
            sig,
            tuple(body),
            doc,
            name.start_pos,
            name.end_pos,
        )

    def sig(self, items: Items) -> ast.Sig:
        opening, *params, _, result = items
        tensors: list[ast.Param] = []
        attrs: list[ast.Param] = []
        star = False
        for param in params:
            if type(param) is Token:
                if star:
                    self.problem("E0101", param.start_pos, param.end_pos, "a second `*` in a signature")
                star = True
                continue
            if (param.type is None) != star:
                what = "a tensor" if param.type is not None else "an attribute"
                side = "before" if param.type is not None else "after"
                self.problem(
                    "E0101", param.start, param.end, f"`{param.name}` is {what}: it belongs {side} the `*`",
                    help="tensors come first, then `*`, then attributes: `(x: f32[N], *, axis: int)`",
                )  # fmt: skip
            (attrs if param.type is None else tensors).append(param)
        if type(result) is _Results:
            names = tuple(p.name for p in result.params)
            types = tuple(p.type for p in result.params if p.type is not None)
            return ast.Sig(opening.start_pos, result.params[-1].end, tuple(tensors), tuple(attrs), types, names)
        return ast.Sig(opening.start_pos, result.end, tuple(tensors), tuple(attrs), (result,))

    def tensor_param(self, items: Items) -> ast.Param:
        name, type_ = items
        return ast.Param(name.start_pos, type_.end, unquote_path(name), type_)

    def attr_param(self, items: Items) -> ast.Param:
        name, kind, *default = items
        end = default[0].end if default else kind.end_pos
        return ast.Param(
            name.start_pos, end, unquote_path(name), None, unquote_path(kind), default[0] if default else None
        )

    def results(self, items: Items) -> _Results:
        return _Results(tuple(items[:-1]))

    def network(self, items: Items) -> ast.NetworkDecl:
        keyword, name, _, *members, closing = items
        self.check_body(members, None, "a network")
        return ast.NetworkDecl(
            keyword.start_pos, closing.end_pos, unquote_path(name), tuple(members), name.start_pos, name.end_pos
        )

    def doc(self, items: Items) -> ast.Doc:
        return ast.Doc(items[0].start_pos, items[1].end_pos, self.read_string(items[1]))

    def dim(self, items: Items) -> ast.DimDecl:
        keyword, name, _, low, high, *step = items
        end = step[1].end if step else high.end
        return ast.DimDecl(keyword.start_pos, end, unquote_path(name), low, high, step[1] if step else None)

    def input(self, items: Items) -> ast.Input:
        keyword, name, type_ = items
        return ast.Input(keyword.start_pos, type_.end, unquote_path(name), type_, name.end_pos)

    def output(self, items: Items) -> ast.Output:
        keyword, name, type_ = items
        return ast.Output(keyword.start_pos, type_.end, unquote_path(name), type_, name.end_pos)

    def profile(self, items: Items) -> ast.Profile:
        keyword, name, _, network, _, *entries, closing = items
        return ast.Profile(
            keyword.start_pos, closing.end_pos, unquote_path(name), unquote_path(network), tuple(entries),
            name.start_pos, name.end_pos, network.start_pos, network.end_pos,
        )  # fmt: skip

    def entry(self, items: Items) -> ast.ProfileEntry:
        name, _, low, _, best, _, high = items
        return ast.ProfileEntry(name.start_pos, high.end, unquote_path(name), low, best, high, name.end_pos)

    def target(self, items: Items) -> ast.Target:
        keyword, name, _, *fields, closing = items
        return ast.Target(
            keyword.start_pos, closing.end_pos, unquote_path(name), tuple(fields), name.start_pos, name.end_pos
        )

    def field(self, items: Items) -> ast.Field:
        name, value = items
        if type(value) is Token:
            value = ast.StrLit(value.start_pos, value.end_pos, str(value))
        return ast.Field(name.start_pos, value.end, unquote_path(name), value, name.end_pos)

    def precision(self, items: Items) -> ast.Precision:
        opening, *entries, closing = items
        defaults = [e.dtype for e in entries if type(e) is _Default]
        if len(defaults) > 1:
            self.problem("E0202", opening.start_pos, closing.end_pos, "precision has more than one `default`")
        keep = tuple((e.dtype, e.names) for e in entries if type(e) is _Keep)
        return ast.Precision(opening.start_pos, closing.end_pos, defaults[0] if defaults else None, keep)

    def default(self, items: Items) -> _Default:
        return _Default(unquote_path(items[1]))

    def keep(self, items: Items) -> _Keep:
        return _Keep(unquote_path(items[1]), tuple(unquote_path(name) for name in items[3:-1]))
