"""The loop that runs a grammar's LALR tables over a text, and what it needs laid out for speed.

Lark's own loop spends most of the time on objects that nobody here looks at (line and column of each token, one step
per ignored blank, a tree for each helper rule). The lexer is contextual like Lark's: in each state it looks only for
what the state can take.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias

from trtn.dsl.syntax.tables import Rule, Tables
from trtn.dsl.syntax.tokens import Token

__all__ = ["END", "Automaton", "Failure", "Parse"]

END = "$END"
_CLOSERS = {")": "RPAR", "]": "RSQB", "}": "RBRACE"}
_MARKS = frozenset(",:=)]{}")
"""Nothing else begins like these. They are looked for in every state, so that many states share one pattern: to
compile a pattern takes longer than to read a page with it.
"""
_BLANKS = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*+")


class _Reduce(NamedTuple):
    size: int
    origin: str
    build: Callable[[list[Any]], Any]


_Matcher: TypeAlias = Callable[[str, int, int], re.Match[str] | None]


class _Scanner(NamedTuple):
    """Finds the next token in a state: blanks and comments first, then one group for each terminal."""

    match: _Matcher
    keywords: dict[str, str]


class Automaton:
    """States are numbers. `actions[state][terminal]` is the next state (shift) or a reduction; `gotos` is for rules.

    The methods of `builder` that the grammar's rules name make the values: they take the list of what a rule matched.
    """

    def __init__(self, tables: Tables, builder: object) -> None:
        self.start, self.end = tables.start, tables.end
        reductions = [_Reduce(rule.size, rule.origin, _build(rule, builder)) for rule in tables.rules]
        self.actions: list[dict[str, int | _Reduce]] = [
            {terminal: to if to >= 0 else reductions[-1 - to] for terminal, to in row.items()} for row in tables.actions
        ]
        self.gotos = tables.gotos
        self.terminals = tables.terminals
        self.texts = {t.name: t.pattern for t in tables.terminals if t.is_text}
        """Terminal to its text, for those that have only one."""
        self.keywords = {text: name for name, text in self.texts.items() if text.isidentifier()}
        self.silent = tables.silent
        self._scanners: dict[int, _Scanner] = {}
        self._matchers: dict[frozenset[str], _Matcher] = {}
        self._marks = {name for name, text in self.texts.items() if text in _MARKS}

    def scanner(self, state: int) -> _Scanner:
        found = self._scanners.get(state)
        if found is None:
            accepted = self.actions[state].keys()
            keywords = {text: name for text, name in self.keywords.items() if name in accepted}
            wanted = (accepted - keywords.values()) | self._marks
            if keywords and "PATH" not in wanted:
                wanted |= {"NAME"}
            found = self._scanners[state] = _Scanner(self._matcher(frozenset(wanted)), keywords)
        return found

    def _matcher(self, wanted: frozenset[str]) -> _Matcher:
        found = self._matchers.get(wanted)
        if found is None:
            groups = [
                f"(?P<{t.name}>{re.escape(t.pattern) if t.is_text else t.pattern})"
                for t in self.terminals
                if t.name in wanted
            ]
            found = self._matchers[wanted] = re.compile(f"{_BLANKS.pattern}(?:{'|'.join(groups)})").match
        return found

    def accepts(self, states: list[int], terminal: str) -> bool:
        """Whether a parse with these states on its stack would take the terminal. Nothing is built."""
        actions, gotos = self.actions, self.gotos
        states = list(states)
        while True:
            if terminal == END and states[-1] == self.end:
                return True
            action = actions[states[-1]].get(terminal)
            if action is None or isinstance(action, int):
                return action is not None
            if action.size:
                del states[-action.size :]
            states.append(gotos[states[-1]][action.origin])


def _build(rule: Rule, builder: object) -> Callable[[list[Any]], Any]:
    """What a reduction does with the values of its symbols."""
    taken = rule.taken
    if not rule.method and not rule.is_helper:
        return itemgetter(taken[0][0])
    method: Callable[[list[Any]], Any] = getattr(builder, rule.method) if rule.method else _same
    if len(taken) == rule.size and not any(is_helper for _, is_helper in taken):
        return method

    def build(values: list[Any]) -> Any:
        children: list[Any] = []
        for at, is_helper in taken:
            if not is_helper:
                children.append(values[at])
            elif children:
                children += values[at]
            else:
                children = values[at]  # nobody else has a helper's list: a long body grows in place
        return method(children)

    return build


def _same(values: list[Any]) -> list[Any]:
    return values


class Failure(NamedTuple):
    """A token that the parse can't take; at the end of the text one of type `END`, where no token fits one without
    a type.
    """

    token: Token
    previous_end: int
    """Where the token in front of it ends."""


class Parse:
    """One text on its way through an automaton. `values[i]` was built, or read, on the way from `states[i]` to
    `states[i + 1]`.
    """

    def __init__(self, automaton: Automaton, text: str, closers: Sequence[tuple[int, str]] = ()) -> None:
        """`closers` are brackets that the text lacks, in front of these offsets: they are read as if they stood
        there.
        """
        self.automaton = automaton
        self.text = text
        self._closers = [*closers, (len(text) + 1, "")]
        self._next_closers = 0
        self.states = [automaton.start]
        self.values: list[Any] = []
        self.offset = 0
        self.previous_end = 0
        self.result: Any = None

    def run(self) -> Failure | None:
        """Reads on from `offset` to the end of the text (None; `result` is set then) or to the next error."""
        automaton, text, states, values = self.automaton, self.text, self.states, self.values
        actions, gotos, scanners = automaton.actions, automaton.gotos, automaton._scanners
        silent = automaton.silent
        offset = self.offset
        previous_end = self.previous_end
        limit = self._closers[self._next_closers][0]
        while True:
            state = states[-1]
            try:
                match_token, keywords = scanners[state]
            except KeyError:
                match_token, keywords = automaton.scanner(state)
            match = match_token(text, offset, limit)
            if match is None:
                failure = self._no_token(offset, limit, previous_end)
                if failure is not None or self.result is not None:
                    return failure
                limit = self._closers[self._next_closers][0]
                offset = self.offset
                continue
            kind: str = match.lastgroup  # type: ignore[assignment]
            offset = match.end()
            token: Token | None = None
            if kind not in silent:
                word = match.group(kind)
                if kind == "PATH" or kind == "NAME":
                    kind = keywords.get(word, kind)
                token = Token(word)
                token.type, token.start_pos, token.end_pos = kind, offset - len(word), offset
            while True:
                action = actions[state].get(kind)
                if action.__class__ is int:
                    states.append(action)
                    values.append(token)
                    break
                if action is None:
                    self.offset = offset
                    return Failure(token or Token.of(kind, match.group(kind), match.start(kind)), previous_end)
                size, origin, build = action  # type: ignore[misc]
                if size:
                    children = values[-size:]
                    del values[-size:], states[-size:]
                else:
                    children = []
                values.append(build(children))
                state = gotos[states[-1]][origin]
                states.append(state)
            previous_end = offset

    def feed(self, token: Token) -> bool:
        """Takes one token, whatever the text says. False, and nothing but reductions done, where it does not fit."""
        automaton, states, values = self.automaton, self.states, self.values
        while True:
            if token.type == END and states[-1] == automaton.end:
                self.result = values[-1]
                return True
            action = automaton.actions[states[-1]].get(token.type)
            if action is None:
                return False
            if isinstance(action, int):
                states.append(action)
                values.append(token)
                return True
            size = action.size
            children = values[len(values) - size :]
            if size:
                del values[-size:], states[-size:]
            values.append(action.build(children))
            states.append(automaton.gotos[states[-1]][action.origin])

    def cut(self, size: int) -> None:
        """Forgets all but the first `size` values."""
        del self.values[size:], self.states[size + 1 :]

    def go_to(self, offset: int) -> None:
        """Reads on at an offset. What closers are missing in front of it is settled."""
        self.offset = self.previous_end = offset
        self._next_closers = bisect_right(self._closers, offset, key=lambda entry: entry[0])

    def _no_token(self, offset: int, limit: int, previous_end: int) -> Failure | None:
        """At the end of the text, at a missing bracket, or where no token fits."""
        blanks = _BLANKS.match(self.text, offset, limit)
        self.offset = offset = blanks.end() if blanks is not None else offset
        if offset == limit:
            self._next_closers += 1
            for closer in self._closers[self._next_closers - 1][1]:
                if not self.feed(Token.of(_CLOSERS[closer], closer, offset)):
                    return Failure(Token.of("", "", offset), previous_end)
            return None
        token = Token.of(END if offset == len(self.text) else "", "", offset)
        if token.type == END and self.feed(token):
            return None
        return Failure(token, previous_end)
