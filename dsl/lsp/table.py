"""The names of a file: what each stands for, where it is defined, and every place that mentions it.

Scopes follow the elaborator: a body sees the names around it, a carried name is the one outside, a name is bound once.
Order does not matter here, and what is wrong with the text does not either: whatever can be read has its names.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence

from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.lsp.symbols import Kind, Occurrence, Scope, Space, Symbol
from trtn.dsl.syntax import ast
from trtn.dsl.syntax.names import unquote_path
from trtn.dsl.syntax.tokens import TOKEN
from trtn.dsl.syntax.walk import nodes

__all__ = ["Table"]


class Table:
    """The names of one parsed file."""

    def __init__(self, module: ast.Module) -> None:
        self.module = module
        self.text = module.source.text
        self.file = Scope(0, len(self.text))
        self._signatures: dict[str, Scope] = {}
        self._networks: dict[str, Scope] = {}
        self._declare()
        for item in module.items:
            self._item(item)
        found = [o for scope in self.file.within() for s in scope.symbols.values() for o in s.occurrences]
        self.occurrences = sorted(found, key=lambda o: o.start)
        self._starts = [o.start for o in self.occurrences]

    # --- questions ---------------------------------------------------------------------------------------------

    def at(self, offset: int) -> Occurrence | None:
        """The name at an offset, or right before it."""
        for probe in (offset, offset - 1):
            at = bisect_right(self._starts, probe) - 1
            if at >= 0 and self.occurrences[at].start <= probe < self.occurrences[at].end:
                return self.occurrences[at]
        return None

    def scope_at(self, offset: int) -> Scope:
        scope = self.file
        while (inner := next((s for s in scope.inner if s.start <= offset <= s.end), None)) is not None:
            scope = inner
        return scope

    def visible(self, offset: int, space: Space) -> Mapping[str, Symbol]:
        """The names that mean something at an offset, the nearest scope's first."""
        found: dict[str, Symbol] = {}
        scope: Scope | None = self.scope_at(offset)
        while scope is not None:
            for (kind, name), symbol in scope.symbols.items():
                if kind is space:
                    found.setdefault(name, symbol)
            scope = scope.parent
        return found

    def block_scope(self, name: str) -> Scope | None:
        return self._signatures.get(name)

    def network_scope(self, name: str) -> Scope | None:
        return self._networks.get(name)

    # --- building ----------------------------------------------------------------------------------------------

    def _define(
        self, scope: Scope, space: Space, name: str, kind: Kind, node: ast.Node, start: int, end: int
    ) -> Symbol:
        symbol = scope.symbols.get((space, name))
        if symbol is None:
            symbol = scope.symbols[space, name] = Symbol(name, kind, space, scope, node)
        symbol.occurrences.append(Occurrence(start, end, symbol, defines=True))
        return symbol

    def _mention(self, symbol: Symbol | None, start: int, end: int) -> None:
        if symbol is not None:
            symbol.occurrences.append(Occurrence(start, end, symbol))

    def _scope(self, parent: Scope, start: int, end: int, *, region: bool = False) -> Scope:
        scope = Scope(start, end, parent, region)
        parent.inner.append(scope)
        return scope

    def _name(self, start: int, name: str, skip: int = 0) -> tuple[int, int]:
        """Where a name stands: the first token of this text from `start` on, `skip` tokens left out."""
        for at, match in enumerate(TOKEN.finditer(self.text, start)):
            if at >= skip and match.lastgroup == "name" and unquote_path(match.group()) == name:
                return match.span()
        return start, start

    def _declare(self) -> None:
        """What statements may mention before the text declares it: blocks with their parameters, networks, aliases."""
        for item in self.module.items:
            match item:
                case ast.Import():
                    place = self._name(item.path_end, item.alias, 1)
                    self._define(self.file, Space.CALL, item.alias, Kind.IMPORT, item, *place)
                case ast.WeightsDecl():
                    place = self._name(item.start, item.alias, 1)
                    self._define(self.file, Space.VALUE, item.alias, Kind.WEIGHTS, item, *place)
                case ast.Block() | ast.Plugin():
                    kind = Kind.BLOCK if isinstance(item, ast.Block) else Kind.PLUGIN
                    self._define(self.file, Space.CALL, item.name, kind, item, item.name_start, item.name_end)
                    scope = self._scope(self.file, item.start, item.end)
                    self._signatures.setdefault(item.name, scope)
                    self._signature(scope, item.sig)
                case ast.NetworkDecl():
                    self._define(
                        self.file, Space.NETWORK, item.name, Kind.NETWORK, item, item.name_start, item.name_end
                    )
                    self._networks.setdefault(item.name, self._scope(self.file, item.start, item.end))
                case ast.Profile():
                    self._define(
                        self.file, Space.PROFILE, item.name, Kind.PROFILE, item, item.name_start, item.name_end
                    )
                case ast.Target():
                    self._define(self.file, Space.TARGET, item.name, Kind.TARGET, item, item.name_start, item.name_end)

    def _signature(self, scope: Scope, sig: ast.Sig) -> None:
        for param in (*sig.tensors, *sig.attrs):
            self._define(scope, Space.VALUE, param.name, Kind.PARAMETER, param, *self._name(param.start, param.name))
        for stated in (*(p.type for p in sig.tensors if p.type is not None), *sig.results):
            self._type(scope, stated, pattern=True)
        for param in sig.attrs:
            if param.default is not None:
                self._expression(scope, param.default)

    def _item(self, item: ast.Node) -> None:
        match item:
            case ast.Block():
                scope = self._signatures[item.name]
                if scope.start == item.start:
                    self._body(scope, item.body)
            case ast.NetworkDecl():
                scope = self._networks[item.name]
                if scope.start == item.start:
                    self._network(scope, item)
            case ast.Profile():
                network = self.file.find(Space.NETWORK, item.network)
                self._mention(network, item.network_start, item.network_end)
                inner = self._networks.get(item.network)
                for entry in item.entries:
                    dim = inner.find(Space.VALUE, entry.name) if inner is not None else None
                    self._mention(dim, entry.start, entry.name_end)
            case ast.Target():
                for part in item.fields:
                    space = {"network": Space.NETWORK, "profiles": Space.PROFILE}.get(part.name)
                    if space is not None:
                        for node in nodes([part.value]):
                            if isinstance(node, ast.Ref):
                                self._mention(self.file.find(space, node.root), node.start, node.end)

    def _network(self, scope: Scope, item: ast.NetworkDecl) -> None:
        statements: list[ast.Statement] = []
        outputs: list[ast.Output] = []
        for member in item.members:
            match member:
                case ast.DimDecl():
                    place = self._name(member.start, member.name, 1)
                    self._define(scope, Space.VALUE, member.name, Kind.DIM, member, *place)
                case ast.Input():
                    start = self._second_token(member.start)
                    self._define(scope, Space.VALUE, member.name, Kind.INPUT, member, start, member.name_end)
                case ast.Output():
                    outputs.append(member)
                case ast.Doc():
                    pass
                case _:
                    statements.append(member)
        self._body(scope, statements)
        for member in item.members:
            match member:
                case ast.DimDecl():
                    for part in (member.low, member.high, *([member.step] if member.step is not None else [])):
                        self._expression(scope, part)
                case ast.Input() | ast.Output():
                    self._type(scope, member.type)
        for output in outputs:
            start = self._second_token(output.start)
            symbol = scope.symbols.get((Space.VALUE, output.name))
            if symbol is None:
                self._define(scope, Space.VALUE, output.name, Kind.OUTPUT, output, start, output.name_end)
            else:
                self._mention(symbol, start, output.name_end)

    def _second_token(self, start: int) -> int:
        return next((m.start() for at, m in enumerate(TOKEN.finditer(self.text, start)) if at == 1), start)

    def _body(
        self, scope: Scope, statements: Sequence[ast.Statement], carried: Mapping[str, Symbol] | None = None
    ) -> None:
        carried = carried or {}
        for statement in statements:
            match statement:
                case ast.Assign():
                    for target in statement.targets:
                        if target.name in carried:
                            symbol = carried[target.name]
                            symbol.occurrences.append(Occurrence(target.start, target.end, symbol, defines=True))
                        elif target.name != "_" or target.quoted:
                            self._define(
                                scope, Space.VALUE, target.name, Kind.VALUE, statement, target.start, target.end
                            )
                    self._data_dims(scope, statement.types)
                case ast.Let():
                    place = self._name(statement.start, statement.name, 1)
                    self._define(scope, Space.VALUE, statement.name, Kind.LET, statement, *place)
        for statement in statements:
            self._statement(scope, statement)

    def _data_dims(self, scope: Scope, types: Iterable[ast.TypeExpr]) -> None:
        """`K in 0..N` names a size for the network, block or round around all regions."""
        while scope.region and scope.parent is not None:
            scope = scope.parent
        for dim in (d for t in types for d in t.spelled):
            if dim.low is not None and isinstance(dim.value, ast.Ref):
                self._define(scope, Space.VALUE, dim.value.root, Kind.DIM, dim, dim.value.start, dim.value.end)

    def _statement(self, scope: Scope, statement: ast.Statement) -> None:
        match statement:
            case ast.Assign():
                match statement.value:
                    case ast.If() as node:
                        self._expression(scope, node.condition)
                        for body in (node.then, node.otherwise):
                            self._body(self._region(scope, body), body)
                    case ast.Scan() | ast.Loop() as node:
                        self._iteration(scope, node)
                    case value:
                        self._expression(scope, value)
                for stated in statement.types:
                    self._type(scope, stated)
            case ast.Repeat():
                self._repeat(scope, statement)
            case ast.Let():
                self._expression(scope, statement.value)
            case ast.Assert():
                self._expression(scope, statement.relation)
            case ast.Yield() | ast.Return():
                for value in statement.values:
                    self._expression(scope, value)

    def _region(self, scope: Scope, body: Sequence[ast.Statement]) -> Scope:
        """The scope of a branch, which has no node of its own: from its brace to the next one."""
        if not body:
            return Scope(0, -1, scope, True)
        start = self.text.rfind("{", 0, body[0].start)
        end = self.text.find("}", body[-1].end)
        return self._scope(scope, start + 1, end if end >= 0 else len(self.text), region=True)

    def _repeat(self, scope: Scope, node: ast.Repeat) -> None:
        self._expression(scope, node.low)
        self._expression(scope, node.high)
        carried: dict[str, Symbol] = {}
        for target in node.carry:
            symbol = scope.find(Space.VALUE, target.name)
            if symbol is not None:
                self._mention(symbol, target.start, target.end)
                carried[target.name] = symbol
        inner = self._scope(scope, node.start, node.end)
        place = self._name(node.start, node.variable, 1)
        self._define(inner, Space.VALUE, node.variable, Kind.INDEX, node, *place)
        self._body(inner, node.body, carried)

    def _iteration(self, scope: Scope, node: ast.Scan | ast.Loop) -> None:
        inner = self._scope(scope, node.start, node.end, region=True)
        if isinstance(node, ast.Scan):
            for item in node.inputs:
                self._expression(scope, item.tensor)
                place = self._name(item.start, item.name)
                self._define(inner, Space.VALUE, item.name, Kind.VALUE, item, *place)
        else:
            self._expression(scope, node.limit)
            if node.maximum is not None:
                self._expression(scope, node.maximum)
            place = self._name(node.start, node.variable, 1)
            self._define(inner, Space.VALUE, node.variable, Kind.INDEX, node, *place)
        carried: dict[str, Symbol] = {}
        for carry in node.carry:
            self._expression(scope, carry.initial)
            place = self._name(carry.start, carry.name)
            carried[carry.name] = self._define(inner, Space.VALUE, carry.name, Kind.VALUE, carry, *place)
        if isinstance(node, ast.Loop) and node.condition is not None:
            place = self._name(node.condition_start, node.condition)
            self._mention(carried.get(node.condition), *place)
        self._body(inner, node.body, carried)

    def _type(self, scope: Scope, stated: ast.TypeExpr, *, pattern: bool = False) -> None:
        """pattern: whether it is a signature's, where a name that stands alone and is new is bound."""
        if stated.dtype not in BY_NAME:
            end = stated.start + len(stated.dtype)
            known = scope.find(Space.VALUE, stated.dtype)
            if known is not None:
                self._mention(known, stated.start, end)
            elif pattern:
                self._define(scope, Space.VALUE, stated.dtype, Kind.DTYPE, stated, stated.start, end)
        for dim in stated.dims:
            value = dim.value
            if pattern and isinstance(value, ast.Ref) and value.name and scope.find(Space.VALUE, value.name) is None:
                self._define(scope, Space.VALUE, value.name, Kind.DIM, dim, value.start, value.end)
            elif dim.low is None:
                self._expression(scope, value)
            elif dim.high is not None:
                self._expression(scope, dim.low)
                self._expression(scope, dim.high)

    def _expression(self, scope: Scope, expr: ast.Expr) -> None:
        callees: set[int] = set()
        for node in nodes([expr]):
            match node:
                case ast.Call():
                    callees.add(id(node.callee))
                    self._callee(node)
                case ast.Ref() if id(node) not in callees:
                    self._refer(scope, node)

    def _refer(self, scope: Scope, ref: ast.Ref) -> None:
        """The whole path as a name first, else its root."""
        whole = scope.find(Space.VALUE, ref.name) if ref.name is not None else None
        if whole is not None:
            self._mention(whole, ref.start, ref.end)
        else:
            self._mention(scope.find(Space.VALUE, ref.root), ref.start, self._root_end(ref))

    def _root_end(self, ref: ast.Ref) -> int:
        match = TOKEN.match(self.text, ref.start)
        return match.end() if match is not None else ref.end

    def _callee(self, call: ast.Call) -> None:
        callee = call.callee
        if callee.name is None:
            return
        block = self.file.find(Space.CALL, callee.name)
        if block is not None:
            self._mention(block, callee.start, callee.end)
            signature = self._signatures.get(callee.name)
            for kwarg in call.kwargs if signature is not None else ():
                assert signature is not None
                self._mention(signature.symbols.get((Space.VALUE, kwarg.name)), kwarg.start, kwarg.name_end)
        else:
            self._mention(self.file.find(Space.CALL, callee.root), callee.start, self._root_end(callee))
