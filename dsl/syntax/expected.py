"""`expected X, found Y` in words for people: no names of terminals."""

from __future__ import annotations

from trtn.dsl.syntax.tokens import TOKEN

__all__ = ["describe_expected", "describe_found"]

_EXPRESSION = {
    "PATH",
    "PATHS",
    "CALL",
    "NUMBER",
    "STRING",
    "TRUE",
    "FALSE",
    "INF",
    "NAN",
    "INTS",
    "LSQB",
    "LPAR",
    "MINUS",
}
_STATEMENT = {
    "PATH", "LAYER", "ANNOTATION", "DOC", "DIM", "INPUT", "OUTPUT", "LET", "ASSERT", "REPEAT", "YIELD", "RETURN",
}  # fmt: skip
_DECLARATION = {"IMPORT", "WEIGHTS", "PLUGIN", "BLOCK", "NETWORK", "PROFILE", "TARGET"}
_CONTINUATION = {"OPERATOR", "MINUS", "TAIL", "LSQB"}
# What a group is recognised by, what it covers, and its words; the larger ones first.
_GROUPS = (
    ({"IMPORT", "NETWORK"}, _DECLARATION, "a declaration"),
    ({"LET", "REPEAT"}, _STATEMENT, "a statement"),
    ({"NUMBER", "STRING", "CALL"}, _EXPRESSION, "an expression"),
    ({"ASSERT", "YIELD"}, _STATEMENT, "a field"),
    ({"TYPE", "NAME"}, {"TYPE", "NAME"}, "a type"),
)
_WORDS = {
    "$END": "the end of the file", "NAME": "a name", "PATH": "a name", "TYPE": "a type", "NUMBER": "a number",
    "STRING": "a string", "DIGEST": "`sha256:...`", "OPERATOR": "an operator", "MINUS": "an operator",
    "DEVICE": "a device such as `cuda:sm_90`", "ROW": "`tensor`", "CALL": "a call", "ANNOTATION": "an annotation", "INTS": "a list",
}  # fmt: skip
_SHOWN = 6


def describe_expected(terminals: set[str], texts: dict[str, str]) -> str:
    """One phrase for the terminals that could have come next."""
    rest = set(terminals)
    words: list[str] = []
    for marks, covered, phrase in _GROUPS:
        if marks <= rest:
            words.append(phrase)
            rest -= covered
    if len(rest - _CONTINUATION) or words:
        rest -= _CONTINUATION
    single = {f"`{texts[t]}`" if t in texts else _WORDS.get(t, t.lower()) for t in rest if t not in _CONTINUATION}
    if rest & _CONTINUATION:
        single.add("an operator")
    words += sorted(single, key=lambda word: (word[0] == "`", word))
    if len(words) > _SHOWN:
        words = [*words[:_SHOWN], "..."]
    if len(words) < 2:
        return words[0] if words else "nothing more"
    return f"{', '.join(words[:-1])} or {words[-1]}"


def describe_found(text: str, offset: int) -> tuple[str, int]:
    """What stands at the offset, and where it ends."""
    if offset >= len(text.rstrip()):
        return "the end of the file", offset
    match = TOKEN.match(text, offset)
    if match is None:
        return f"`{text[offset]}`", offset + 1
    token = match.group()
    shown = token if len(token) <= 40 else f"{token[:37]}..."
    return (shown if shown.startswith("`") else f"`{shown}`"), match.end()
