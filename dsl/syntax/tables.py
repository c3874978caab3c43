"""The LALR tables of a grammar as plain data: Lark computes them, a file in the user's cache folder keeps them.

A process that finds the file needs no Lark: importing it and building the tables take longer than most specs do.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from trtn.grammar import GrammarName, grammar_text

if TYPE_CHECKING:
    import lark

__all__ = ["Rule", "Tables", "Terminal", "load_tables"]

_FORMAT = 1
"""Of the file. The tables follow from the grammar alone: it has no conflicts that one Lark settles in another way."""


class Terminal(NamedTuple):
    name: str
    pattern: str
    """A regular expression, or the text itself."""
    is_text: bool


class Rule(NamedTuple):
    """One way in which `size` values become one of the symbol `origin`."""

    origin: str
    size: int
    method: str
    """Of the tree builder; "" where none is called."""
    taken: tuple[tuple[int, bool], ...]
    """The values that are wanted, by position, and whether it is a helper's: that is a list, whose values go to the
    rule around it.
    """
    is_helper: bool
    """Without a method: whether it is a helper, or a rule whose one value stands for itself."""


class Tables(NamedTuple):
    start: int
    end: int
    """The state in which the text may end."""
    actions: tuple[dict[str, int], ...]
    """By state and terminal: the next state, or `-1 - n` for the reduction by rule n."""
    gotos: tuple[dict[str, int], ...]
    """By state and the symbol that a reduction made: the next state."""
    rules: tuple[Rule, ...]
    terminals: tuple[Terminal, ...]
    """In the order in which they are tried."""
    silent: frozenset[str]
    """Terminals that no rule wants to see: commas, colons."""


def load_tables(grammar: GrammarName) -> Tables:
    """The tables of a grammar: from the cache folder, or made and left there."""
    text = grammar_text(grammar)
    folder = _cache_folder()
    if folder is None:
        return _compute(text)
    file = folder / f"{grammar}-{hashlib.sha256(f'{_FORMAT} {text}'.encode()).hexdigest()[:32]}.json"
    try:
        return _from_json(file.read_bytes())
    except (OSError, ValueError, TypeError, KeyError):  # none there, or a damaged one
        pass
    tables = _compute(text)
    _write(file, json.dumps(tables._asdict(), default=sorted).encode())
    return tables


def _compute(text: str) -> Tables:
    import lark
    from lark.parsers.lalr_analysis import Shift

    parser = lark.Lark(text, parser="lalr", lexer="contextual")
    conf = parser.parse_interactive("").parser_state.parse_conf
    actions: list[dict[str, int]] = [{} for _ in conf.states]
    gotos: list[dict[str, int]] = [{} for _ in conf.states]
    rules: dict[lark.grammar.Rule, int] = {}
    for state, row in conf.states.items():
        for symbol, (action, argument) in row.items():
            if action is not Shift:
                actions[state][symbol] = -1 - rules.setdefault(argument, len(rules))
            else:
                (actions if symbol.isupper() else gotos)[state][symbol] = argument
    terminals = sorted(
        parser.terminals, key=lambda t: (-t.priority, -t.pattern.max_width, -len(t.pattern.value), t.name)
    )
    return Tables(
        conf.start_state,
        conf.end_state,
        tuple(actions),
        tuple(gotos),
        tuple(_rule(rule) for rule in rules),
        tuple(_terminal(t) for t in terminals),
        frozenset(t.name for t in terminals)
        - {symbol.name for rule in rules for symbol in rule.expansion if _seen(symbol)},
    )


def _rule(rule: lark.grammar.Rule) -> Rule:
    """By Lark's conventions: `_helper` rules are spliced in, anonymous texts left out, an alias names the method."""
    origin = rule.origin.name
    taken = tuple(
        (at, not symbol.is_term and symbol.name.startswith("_"))
        for at, symbol in enumerate(rule.expansion)
        if _seen(symbol)
    )
    is_helper = origin.startswith("_")
    method = rule.alias or origin
    if rule.options.expand1 and not rule.alias:
        assert len(taken) == 1, f"`?{origin}` without an alias has one value"
        method = ""
    return Rule(origin, len(rule.expansion), "" if is_helper else method, taken, is_helper)


def _seen(symbol: lark.grammar.Symbol) -> bool:
    return not (symbol.is_term and getattr(symbol, "filter_out", False))


def _terminal(terminal: lark.lexer.TerminalDef) -> Terminal:
    is_text = terminal.pattern.type == "str"
    return Terminal(terminal.name, terminal.pattern.value if is_text else terminal.pattern.to_regexp(), is_text)


# --- the file ------------------------------------------------------------------------------------------------------


def _from_json(data: bytes) -> Tables:
    """Raises ValueError, TypeError or KeyError where this can't be tables."""
    found = json.loads(data)
    return Tables(
        int(found["start"]),
        int(found["end"]),
        tuple(found["actions"]),
        tuple(found["gotos"]),
        tuple(Rule(*rule) for rule in found["rules"]),
        tuple(Terminal(*terminal) for terminal in found["terminals"]),
        frozenset(found["silent"]),
    )


def _write(file: Path, data: bytes) -> None:
    """Leaves the file whole or not at all; nothing is said where the folder takes none."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, file)
    except OSError:
        pass


def _cache_folder() -> Path | None:
    """The user's cache folder, or None where there is none that only this user can write to: what lies there decides
    how a text is read.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        root = Path(base) if base and os.path.isabs(base) else Path.home() / ".cache"
        folder = root / "trtn" / "grammar"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
    except (OSError, RuntimeError):
        return None
    private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
    owned = not hasattr(os, "getuid") or status.st_uid == os.getuid()
    return folder if private and owned else None
