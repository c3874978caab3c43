"""Findings of every shape, one or a few for each golden file in tests/data/diagnostics."""

from __future__ import annotations

from trtn.dsl.diagnostics import Diagnostic, Label, Severity, Source, Span

SPEC = Source(
    "models/bert.trtn",
    "trtn 1\n"
    "network bert {\n"
    "  input  x: f16[B, S, 768]\n"
    "  h = linear(x, p.fc1.weight, p.fc1.bias)\n"
    "\ty = 日本語(h)\n"
    "  z = if c {\n"
    "    yield a\n"
    "    yield b\n"
    "  }\n"
    "}\n",
)
MANIFEST = Source("bert.weights.trtn", "trtn 1\nmanifest m {\n  tensor fc1.weight: f16[512, 3072] = zeros\n}\n")


def at(text: str, source: Source = SPEC) -> Span:
    start = source.text.index(text)
    return source.span(start, start + len(text))


def _design() -> list[Diagnostic]:
    x = SPEC.text.index("x, p.fc1")
    use = Label(at("p.fc1.weight"), "f16[512, 3072], bert.weights.trtn:3")
    return [
        Diagnostic(
            "E0312",
            "inner dims of `matmul` differ: 768 and 512",
            SPEC.span(x, x + 1),
            labels=(use,),
            notes=("holds for every B, S",),
            help="did you mean `p.fc2.weight` (f16[768, 3072])?",
        )
    ]


def _two_files() -> list[Diagnostic]:
    labels = (Label(at("fc1.weight", MANIFEST), "declared here"), Label(at("bert"), "in this network"))
    return [Diagnostic("E0312", "inner dims differ", at("p.fc1.weight"), label="has 512 rows", labels=labels)]


def _stacked_labels() -> list[Diagnostic]:
    labels = (Label(at("h ="), "one"), Label(at("linear"), "two"), Label(at("p.fc1.bias"), "three"))
    return [Diagnostic("E0207", "marks on one line", at("x, p"), label="primary", labels=labels)]


def _wide_characters() -> list[Diagnostic]:
    return [
        Diagnostic("E0203", "no op `日本語`", at("日本語"), label="after a tab", labels=(Label(at("(h)"), "narrow"),))
    ]


def _several_lines() -> list[Diagnostic]:
    body = at("{\n    yield a\n    yield b\n  }")
    with_line_end = at("    yield a\n")
    return [
        Diagnostic("E0315", "branches differ", body, label="two yields"),
        Diagnostic("E0213", "second `yield`", with_line_end, severity=Severity.WARNING),
    ]


def _ends() -> list[Diagnostic]:
    end = len(SPEC.text)
    bare = Source("bare.trtn", "trtn 1")
    crlf = Source("crlf.trtn", "trtn 1\r\nnetwork n {\r\n")
    return [
        Diagnostic("E0102", "`{` is never closed", SPEC.span(end, end), label="the file ends here"),
        Diagnostic("E0101", "no line end", bare.span(6, 6), label="after the last character"),
        Diagnostic("E0102", "Windows line ends", crlf.span(17, 20), label="the bracket"),
        Diagnostic("E0103", "the file is empty", Source("empty.trtn", "").span(0, 0)),
        Diagnostic("E0101", "a span beyond the text is cut", bare.span(4, 900)),
    ]


def _long_line() -> list[Diagnostic]:
    line = "x = [" + ", ".join(str(n) for n in range(2000)) + "]"
    source = Source("long.trtn", f"trtn 1\n{line}\n")
    middle, first = source.text.index("1000,"), source.text.index("x")
    far = Label(source.span(first, first + 1), "left of what is shown")
    return [
        Diagnostic("E0304", "in the middle", source.span(middle, middle + 4), label="this one", labels=(far,)),
        Diagnostic("E0304", "at the start", source.span(first, first + 1)),
        Diagnostic("E0304", "all of it", source.span(7, 7 + len(line))),
    ]


def _control_characters() -> list[Diagnostic]:
    source = Source("evil.trtn", 'doc "\x1b[31mred\x07 \u202eabc\u2066 \x9b2J \udc80"\n')
    return [
        Diagnostic(
            "E0105",
            "character \x1b\nin the text",
            source.span(5, 9),
            label="es\x1bcape",
            notes=("first line\nsecond \x08line",),
            help="take it a\rway",
        )
    ]


def _no_place() -> list[Diagnostic]:
    return [
        Diagnostic("E0702", "no GPU found", notes=("CuPy is not installed",), help="use `--device cpu`"),
        Diagnostic("W0501", "3 weights without a hash", severity=Severity.WARNING),
        Diagnostic("W0401", "a note", at("linear"), severity=Severity.NOTE),
    ]


CASES = {
    "design": _design(),
    "two_files": _two_files(),
    "stacked_labels": _stacked_labels(),
    "wide_characters": _wide_characters(),
    "several_lines": _several_lines(),
    "ends": _ends(),
    "long_line": _long_line(),
    "control_characters": _control_characters(),
    "no_place": _no_place(),
}
ALL = [diagnostic for case in CASES.values() for diagnostic in case]
