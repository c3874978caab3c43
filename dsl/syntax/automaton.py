"""The LALR automaton that Lark makes from a grammar, laid out for speed, and the loop that runs it over a text.

Lark computes the table and the functions that gather a rule's children. Its own loop spends most of the time on objects
that nobody here looks at (line and column of each token, one step per ignored blank), so this module has its own:
about three times as fast. The lexer is contextual like Lark's: in each state it looks only for what the state can
take.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import lark
from lark.parsers.lalr_analysis import Shift

from trtn.dsl.syntax.tokens import Token

__all__ = ["END", "Automaton", "Failure", "Parse"]

END = "$END"
_CLOSERS = {")": "RPAR", "]": "RSQB", "}": "RBRACE"}
_BLANKS = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*+")


class _Reduce(NamedTuple):
    size: int
    origin: str
    build: Callable[[list[Any]], Any]


class _Scanner(NamedTuple):
    """Finds the next token in a state: blanks and comments first, then one group for each terminal."""

    match: Callable[[str, int, int], re.Match[str] | None]
    keywords: dict[str, str]


class Automaton:
    """States are numbers. `actions[state][terminal]` is the next state (shift) or a reduction; `gotos` is for rules."""

    def __init__(self, parser: lark.Lark) -> None:
        conf = parser.parse_interactive("").parser_state.parse_conf
        self.start: int = conf.start_state
        self.end: int = conf.end_state
        self.actions: dict[int, dict[str, int | _Reduce]] = {}
        self.gotos: dict[int, dict[str, int]] = {}
        reductions: dict[Any, _Reduce] = {}
        for state, row in conf.states.items():
            actions: dict[str, int | _Reduce] = {}
            gotos: dict[str, int] = {}
            for symbol, (action, argument) in row.items():
                if action is Shift:
                    (actions if symbol.isupper() else gotos)[symbol] = argument
                    continue
                reduction = reductions.get(argument)
                if reduction is None:
                    build = conf.callbacks[argument]
                    reduction = _Reduce(len(argument.expansion), argument.origin.name, build)
                    reductions[argument] = reduction
                actions[symbol] = reduction
            self.actions[state], self.gotos[state] = actions, gotos
        self.terminals = sorted(
            parser.terminals,
            key=lambda t: (-t.priority, -t.pattern.max_width, -len(t.pattern.value), t.name),
        )
        self.texts = {t.name: t.pattern.value for t in self.terminals if t.pattern.type == "str"}
        """Terminal to its text, for those that have only one."""
        self.keywords = {text: name for name, text in self.texts.items() if text.isidentifier()}
        self._scanners: dict[int, _Scanner] = {}
        self._shared: dict[frozenset[str], _Scanner] = {}

    def scanner(self, state: int) -> _Scanner:
        found = self._scanners.get(state)
        if found is None:
            accepted = frozenset(self.actions[state])
            found = self._shared.get(accepted)
            if found is None:
                found = self._shared[accepted] = self._make_scanner(accepted)
            self._scanners[state] = found
        return found

    def _make_scanner(self, accepted: frozenset[str]) -> _Scanner:
        keywords = {text: name for text, name in self.keywords.items() if name in accepted}
        wanted = accepted - set(keywords.values())
        if keywords and "PATH" not in wanted:
            wanted |= {"NAME"}
        groups = [f"(?P<{t.name}>{t.pattern.to_regexp()})" for t in self.terminals if t.name in wanted]
        # A state that takes nothing but the end of the text still has to have a pattern: one that never matches.
        pattern = f"{_BLANKS.pattern}(?:{'|'.join(groups) or '(?!)'})"
        return _Scanner(re.compile(pattern).match, keywords)

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
            word = match.group(kind)
            token = Token(word)
            if kind == "PATH" or kind == "NAME":
                kind = keywords.get(word, kind)
            token.type = kind
            offset = token.end_pos = match.end()
            token.start_pos = offset - len(word)
            while True:
                action = actions[state].get(kind)
                if action.__class__ is int:
                    states.append(action)
                    values.append(token)
                    break
                if action is None:
                    self.offset = offset
                    return Failure(token, previous_end)
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
