"""From parser reductions straight to the syntax tree: Lark calls one method here for each rule, no parse tree is kept.

The methods carry the names of the grammars' rules and take the list of what the rule matched. Rules, not tokens, are
validated here: what is grammatical but wrong (a `return` in the middle, `a < b < c`) becomes a `Problem`.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

from trtn.dsl.syntax import ast
from trtn.dsl.syntax.literals import Problem, Reader
from trtn.dsl.syntax.names import unquote_path
from trtn.dsl.syntax.operators import combine
from trtn.dsl.syntax.tokens import Token

__all__ = ["Builder", "Problem"]

Items: TypeAlias = list[Any]
GENERATORS = frozenset({"zeros", "ones", "full", "normal", "uniform", "inline"})


class _Body(NamedTuple):
    statements: tuple[ast.Statement, ...]
    end: int


class _Maximum(NamedTuple):
    value: ast.Expr


class _While(NamedTuple):
    name: str
    start: int


class _Axis(NamedTuple):
    value: int


class _Size(NamedTuple):
    value: ast.SizeLit | ast.IntLit


class _Offset(NamedTuple):
    value: int


class _Keep(NamedTuple):
    dtype: str
    names: tuple[str, ...]


class _Default(NamedTuple):
    dtype: str


class _Stored(NamedTuple):
    start: int
    end: int
    name: str
    key: str | None
    transpose: bool
    offset: int | None


class _Generated(NamedTuple):
    start: int
    end: int
    name: str
    args: tuple[ast.Expr, ...]


class _Results(NamedTuple):
    params: tuple[ast.Param, ...]


class Builder(Reader):
    """Lark's transformer. `problems` collects the findings of one parse; the parser empties it."""

    # --- types -----------------------------------------------------------------------------------------------------

    def plain_type(self, items: list[Token]) -> ast.TypeExpr:
        return self.read_plain_type(items[0])

    def full_type(self, items: list[Any]) -> ast.TypeExpr:
        dims = tuple(d if type(d) is ast.DimType else ast.DimType(d.start, d.end, d) for d in items[1:-1])
        return ast.TypeExpr(items[0].start_pos, items[-1].end_pos, unquote_path(items[0]), dims)

    def bounded_dim(self, items: list[Any]) -> ast.DimType:
        name, _, low, high = items
        self.require_plain(name, "the name of a bounded dim")
        return ast.DimType(name.start_pos, high.end, self.read_ref(name), low, high)

    # --- expressions -----------------------------------------------------------------------------------------------

    def leaf(self, items: list[Token]) -> ast.Expr:
        """A name or a literal."""
        token = items[0]
        kind = token.type
        if kind == "PATH":
            return self.read_ref(token)
        if kind == "NUMBER":
            return self.read_number(token)
        if kind == "INTS":
            return self.read_ints(token)
        start, end = token.start_pos, token.end_pos
        if kind == "STRING":
            return ast.StrLit(start, end, self.read_string(token))
        if kind == "TRUE" or kind == "FALSE":
            return ast.BoolLit(start, end, kind == "TRUE")
        return ast.FloatLit(start, end, float(token), str(token))

    def indexed_ref(self, items: list[Any]) -> ast.Ref:
        head = self.read_ref(items[0])
        parts, quoted, end = list(head.parts), list(head.quoted), head.end
        for item in items[1:]:
            if type(item) is tuple:
                value, end = item
                parts.append(value)
            else:
                tail = self.read_path(item.start_pos, item)
                quoted.extend(len(parts) + at for at in tail.quoted)
                parts.extend(tail.parts)
                end = item.end_pos
        return ast.Ref(head.start, end, tuple(parts), tuple(quoted))

    def subscript(self, items: list[Any]) -> tuple[ast.Expr, int]:
        return items[0], items[1].end_pos

    def list(self, items: Items) -> ast.ListLit:
        return ast.ListLit(items[0].start_pos, items[-1].end_pos, tuple(items[1:-1]))

    def parens(self, items: list[Any]) -> ast.Expr:
        inner: ast.Expr = items[0]
        return inner

    def call(self, items: list[Any]) -> ast.Call:
        opening = items[0]
        args: list[ast.Expr] = []
        kwargs: list[ast.Kwarg] = []
        for item in items[1:-1]:
            kind = type(item)
            if kind is ast.Kwarg:
                kwargs.append(item)
                continue
            if kwargs:
                start = item.start_pos if kind is Token else item.start
                end = item.end_pos if kind is Token else item.end
                self.problem("E0101", start, end, "positional argument after a keyword argument")
            if kind is Token:
                args.extend(self.read_paths(item))
            else:
                args.append(item)
        callee = self.read_path(opening.start_pos, opening[:-1].rstrip(" \t"))
        return ast.Call(opening.start_pos, items[-1].end_pos, callee, tuple(args), tuple(kwargs))

    def kwarg(self, items: list[Any]) -> ast.Kwarg:
        name, value = items
        self.require_plain(name, "the name of an argument")
        return ast.Kwarg(name.start_pos, value.end, unquote_path(name), value, name.end_pos)

    def chain(self, items: list[Any]) -> ast.Expr:
        return combine(items, self)

    # --- declarations ----------------------------------------------------------------------------------------------

    def start(self, items: list[Any]) -> tuple[Any, ...]:
        return tuple(items[2:])

    def import_(self, items: list[Token]) -> ast.Import:
        keyword, path, _, alias = items
        text = self.read_string(path)
        return ast.Import(
            keyword.start_pos, alias.end_pos, text, unquote_path(alias), path.start_pos, path.end_pos
        )

    def weights(self, items: list[Token]) -> ast.WeightsDecl:
        keyword, alias, path = items
        text = self.read_string(path)
        return ast.WeightsDecl(
            keyword.start_pos, path.end_pos, unquote_path(alias), text, path.start_pos, path.end_pos
        )

    def plugin(self, items: list[Any]) -> ast.Plugin:
        keyword, name, sig, _, *members, closing = items
        where = tuple(m for m in members if type(m) is ast.PluginWhere)
        fields = tuple(m for m in members if type(m) is ast.Field)
        return ast.Plugin(
            keyword.start_pos, closing.end_pos, unquote_path(name), sig, where, fields, name.start_pos, name.end_pos
        )

    def where(self, items: list[Token]) -> ast.PluginWhere:
        keyword, variable, _, _, *dtypes, closing = items
        names = tuple(unquote_path(dtype) for dtype in dtypes)
        return ast.PluginWhere(keyword.start_pos, closing.end_pos, unquote_path(variable), names)

    def block(self, items: list[Any]) -> ast.Block:
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

    def sig(self, items: list[Any]) -> ast.Sig:
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

    def tensor_param(self, items: list[Any]) -> ast.Param:
        name, type_ = items
        return ast.Param(name.start_pos, type_.end, unquote_path(name), type_)

    def attr_param(self, items: list[Any]) -> ast.Param:
        name, kind, *default = items
        end = default[0].end if default else kind.end_pos
        return ast.Param(
            name.start_pos, end, unquote_path(name), None, unquote_path(kind), default[0] if default else None
        )

    def results(self, items: list[Any]) -> _Results:
        return _Results(tuple(items[:-1]))

    def network(self, items: list[Any]) -> ast.NetworkDecl:
        keyword, name, _, *members, closing = items
        self.check_body(members, None, "a network")
        return ast.NetworkDecl(
            keyword.start_pos, closing.end_pos, unquote_path(name), tuple(members), name.start_pos, name.end_pos
        )

    def doc(self, items: list[Token]) -> ast.Doc:
        return ast.Doc(items[0].start_pos, items[1].end_pos, self.read_string(items[1]))

    def dim(self, items: list[Any]) -> ast.DimDecl:
        keyword, name, _, low, high, *step = items
        end = step[1].end if step else high.end
        return ast.DimDecl(keyword.start_pos, end, unquote_path(name), low, high, step[1] if step else None)

    def input(self, items: list[Any]) -> ast.Input:
        keyword, name, type_ = items
        return ast.Input(keyword.start_pos, type_.end, unquote_path(name), type_, name.end_pos)

    def output(self, items: list[Any]) -> ast.Output:
        keyword, name, type_ = items
        return ast.Output(keyword.start_pos, type_.end, unquote_path(name), type_, name.end_pos)

    def profile(self, items: list[Any]) -> ast.Profile:
        keyword, name, _, network, _, *entries, closing = items
        return ast.Profile(
            keyword.start_pos, closing.end_pos, unquote_path(name), unquote_path(network), tuple(entries),
            name.start_pos, name.end_pos, network.start_pos, network.end_pos,
        )  # fmt: skip

    def entry(self, items: list[Any]) -> ast.ProfileEntry:
        name, _, low, _, best, _, high = items
        return ast.ProfileEntry(name.start_pos, high.end, unquote_path(name), low, best, high, name.end_pos)

    def target(self, items: list[Any]) -> ast.Target:
        keyword, name, _, *fields, closing = items
        return ast.Target(
            keyword.start_pos, closing.end_pos, unquote_path(name), tuple(fields), name.start_pos, name.end_pos
        )

    def field(self, items: list[Any]) -> ast.Field:
        name, value = items
        if type(value) is Token:
            value = ast.StrLit(value.start_pos, value.end_pos, str(value))
        return ast.Field(name.start_pos, value.end, unquote_path(name), value, name.end_pos)

    def precision(self, items: list[Any]) -> ast.Precision:
        opening, *entries, closing = items
        defaults = [e.dtype for e in entries if type(e) is _Default]
        if len(defaults) > 1:
            self.problem("E0202", opening.start_pos, closing.end_pos, "precision has more than one `default`")
        keep = tuple((e.dtype, e.names) for e in entries if type(e) is _Keep)
        return ast.Precision(opening.start_pos, closing.end_pos, defaults[0] if defaults else None, keep)

    def default(self, items: list[Token]) -> _Default:
        return _Default(unquote_path(items[1]))

    def keep(self, items: list[Token]) -> _Keep:
        return _Keep(unquote_path(items[1]), tuple(unquote_path(name) for name in items[3:-1]))

    # --- statements ------------------------------------------------------------------------------------------------

    def annotation(self, items: list[Any]) -> ast.Annotation:
        name, *args = items
        end = args.pop().end_pos if args else name.end_pos
        return ast.Annotation(name.start_pos, end, name[1:], tuple(args))

    def annotated(self, items: list[Any]) -> ast.Assign | ast.Repeat:
        statement: ast.Assign | ast.Repeat = items[-1]
        statement.annotations = tuple(items[:-1])
        return statement

    def assign(self, items: list[Any]) -> ast.Assign:
        count = 1
        while type(items[count]) is Token:
            count += 1
        targets = tuple([self.read_target(token) for token in items[:count]])
        last = items[-1]
        return ast.Assign(targets[0].start, last.end, targets, items[count], tuple(items[count + 1 :]))

    def repeat(self, items: list[Any]) -> ast.Repeat:
        keyword, variable, _, low, high, *rest = items
        body: _Body = rest.pop()
        carry = rest.pop(0) if rest and type(rest[0]) is tuple else ()
        label = unquote_path(rest[1]) if rest else None
        self.check_body(body.statements, None, "a `repeat`")
        return ast.Repeat(
            keyword.start_pos, body.end, unquote_path(variable), low, high, carry, label, body.statements
        )

    def carried(self, items: list[Token]) -> tuple[ast.TargetName, ...]:
        return tuple(self.read_target(token) for token in items[1:])

    def let(self, items: list[Any]) -> ast.Let:
        keyword, name, value = items
        return ast.Let(keyword.start_pos, value.end, unquote_path(name), value)

    def assert_(self, items: list[Any]) -> ast.Assert:
        keyword, relation, *message = items
        text = self.read_string(message[0]) if message else None
        end = message[0].end_pos if message else relation.end
        return ast.Assert(keyword.start_pos, end, relation, text)

    def yield_(self, items: list[Any]) -> ast.Yield:
        return ast.Yield(items[0].start_pos, items[-1].end, tuple(items[1:]))

    def return_(self, items: list[Any]) -> ast.Return:
        return ast.Return(items[0].start_pos, items[-1].end, tuple(items[1:]))

    def if_(self, items: list[Any]) -> ast.If:
        keyword, condition, then, _, otherwise = items
        self.check_body(then.statements, ast.Yield, "an `if`")
        self.check_body(otherwise.statements, ast.Yield, "an `else`")
        return ast.If(keyword.start_pos, otherwise.end, condition, then.statements, otherwise.statements)

    def scan(self, items: list[Any]) -> ast.Scan:
        keyword, *lists, body = items
        inputs = next((x for x in lists if type(x[0]) is ast.ScanInput), ())
        carry = next((x for x in lists if type(x[0]) is ast.Carry), ())
        self.check_body(body.statements, ast.Yield, "a `scan`")
        return ast.Scan(keyword.start_pos, body.end, inputs, carry, body.statements)

    def over(self, items: list[Any]) -> tuple[ast.ScanInput, ...]:
        return tuple(items[1:])

    def scan_input(self, items: list[Any]) -> ast.ScanInput:
        name, tensor, *rest = items
        axis = rest.pop(0).value if rest and type(rest[0]) is _Axis else 0
        end = rest[0].end_pos if rest else tensor.end
        return ast.ScanInput(name.start_pos, end, unquote_path(name), tensor, axis, bool(rest))

    def axis(self, items: list[Token]) -> _Axis:
        value = self.read_int(items[-1])
        return _Axis(-value if len(items) == 3 else value)

    def loop(self, items: list[Any]) -> ast.Loop:
        keyword, variable, _, low, limit, *rest, body = items
        if type(low) is not ast.IntLit or low.value != 0:
            self.problem("E0101", low.start, low.end, "a `loop` counts from 0", help="write `0..limit`")
        maximum = next((x.value for x in rest if type(x) is _Maximum), None)
        carry = next((x for x in rest if type(x) is tuple), ())
        condition = next((x for x in rest if type(x) is _While), _While("", 0))
        self.check_body(body.statements, ast.Yield, "a `loop`")
        return ast.Loop(
            keyword.start_pos, body.end, unquote_path(variable), limit, maximum, carry,
            condition.name or None, body.statements, condition.start,
        )  # fmt: skip

    def maximum(self, items: list[Any]) -> _Maximum:
        return _Maximum(items[1])

    def while_(self, items: list[Token]) -> _While:
        return _While(unquote_path(items[1]), items[1].start_pos)

    def carries(self, items: list[Any]) -> tuple[ast.Carry, ...]:
        return tuple(items[1:])

    def carry(self, items: list[Any]) -> ast.Carry:
        name, initial = items
        return ast.Carry(name.start_pos, initial.end, unquote_path(name), initial)

    def body(self, items: list[Any]) -> _Body:
        return _Body(tuple(items[1:-1]), items[-1].end_pos)

    # --- manifests -------------------------------------------------------------------------------------------------

    def manifest(self, items: list[Any]) -> ast.Manifest:
        keyword, name, _, *entries, closing = items
        files = tuple([e for e in entries if type(e) is ast.WeightFile])
        tensors = tuple([e for e in entries if type(e) is ast.TensorEntry])
        return ast.Manifest(keyword.start_pos, closing.end_pos, unquote_path(name), files, tensors)

    def file(self, items: list[Any]) -> ast.WeightFile:
        keyword, name, path, *rest = items
        size = rest.pop(0).value if rest and type(rest[0]) is _Size else None
        digest: Token | None = rest[0] if rest else None
        end = digest.end_pos if digest is not None else size.end if size is not None else path.end_pos
        file = ast.WeightFile(
            keyword.start_pos, end, unquote_path(name), self.read_string(path), size,
            path_start=path.start_pos, path_end=path.end_pos,
        )  # fmt: skip
        if digest is not None:
            file.digest, file.digest_start, file.digest_end = str(digest), digest.start_pos, digest.end_pos
        return file

    def size(self, items: list[Token]) -> _Size:
        value = self.read_number(items[1])
        if isinstance(value, ast.SizeLit | ast.IntLit):
            return _Size(value)
        self.problem("E0101", value.start, value.end, "expected a size such as `438MB` or a number of bytes")
        return _Size(ast.IntLit(value.start, value.end, 0))

    def tensor(self, items: list[Any]) -> ast.TensorEntry:
        keyword, name, type_, source, *digest = items
        end = digest[0].end_pos if digest else source.end
        entry = ast.TensorEntry(
            keyword.start_pos, end, unquote_path(name), type_,
            name_end=name.end_pos, source_start=source.start, source_end=source.end,
        )  # fmt: skip
        if type(source) is _Generated:
            entry.generator, entry.args = source.name, source.args
        elif source.name in GENERATORS and source.key is None:
            entry.generator = source.name
        else:
            entry.file, entry.key = source.name, source.key
            entry.transpose, entry.offset = source.transpose, source.offset
        if digest:
            entry.digest, entry.digest_start, entry.digest_end = (
                str(digest[0]), digest[0].start_pos, digest[0].end_pos,
            )  # fmt: skip
        return entry

    def stored(self, items: list[Any]) -> _Stored:
        name, end = items[0], items[0].end_pos
        key: str | None = None
        transpose, offset = False, None
        for item in items[1:]:
            if type(item) is _Offset:
                offset = item.value
            elif item.type == "STRING":
                key = self.read_string(item)
            elif item.type == "TRANSPOSE":
                transpose = True
            else:
                end = item.end_pos
        return _Stored(name.start_pos, end, unquote_path(name), key, transpose, offset)

    def offset(self, items: list[Token]) -> _Offset:
        return _Offset(self.read_int(items[1]))

    def generated(self, items: list[Any]) -> _Generated:
        opening, *args, closing = items
        name = unquote_path(opening[:-1].rstrip(" \t"))
        return _Generated(opening.start_pos, closing.end_pos, name, tuple(args))

    def inline(self, items: list[Any]) -> _Generated:
        keyword, values = items
        if type(values) is not ast.ListLit:
            self.problem("E0101", values.start, values.end, "`inline` takes a list of numbers", help="`inline [1, 2]`")
        return _Generated(keyword.start_pos, values.end, "inline", (values,))

    # --- checks ----------------------------------------------------------------------------------------------------

    def check_body(self, body: Any, final: type[ast.Return] | type[ast.Yield] | None, where: str) -> None:
        """`return` and `yield` stand last, in the bodies that they belong to."""
        last = len(body) - 1
        for at, statement in enumerate(body):
            kind = type(statement)
            if kind is ast.Return or kind is ast.Yield:
                word = "return" if kind is ast.Return else "yield"
                if kind is not final:
                    message = f"`{word}` has no place in {where}"
                elif at != last:
                    message = f"`{word}` is not the last statement of {where}"
                else:
                    continue
                self.problem("E0213", statement.start, statement.end, message)
