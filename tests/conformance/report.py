"""The outcomes as a page: a table by category, and the reason for each test that does not pass."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping
from textwrap import fill

from tests.conformance.categories import CATEGORIES
from tests.conformance.round_trip import AS_FIRST, AS_STORED, TOLERANCES
from tests.conformance.suite import Outcome
from tests.corpus.models import models

__all__ = ["page"]

Outcomes = Mapping[str, Outcome]

_EXPLAINED = (
    (r"bernoulli", "random numbers: the stored ones are one stream's, and no other gives them"),
    (
        r"resize_downsample_scales_\w+_align_corners",
        "the stored result divides by the exact scaled length; trtn, as ONNX Runtime, by the whole one",
    ),
    (r"attention_4d_causal_fp16_expanded", "two of 192 elements differ from the stored ones by two steps of an f16"),
    (r"optional_has_element_empty_optional_input", "imported for the case that the optional input is given"),
    (r"sequence_model8", "an open dim is imported as 1..4096, and the test feeds 0"),
)
"""Why tests fail that are understood, by name."""


def page(ours: Outcomes, theirs: Outcomes, trips: Outcomes, versions: Mapping[str, str]) -> str:
    """Markdown. `theirs` are ONNX Runtime's outcomes for the same tests, in the same run, `trips` those of the round
    trips of the tests that trtn passes.
    """
    passed, passed_there = _passes(ours), _passes(theirs)
    summary = (
        f"onnx {versions['onnx']} has {len(ours):,} tests. Each goes through `trtn.import_onnx` and "
        '`trtn.build(.., device="cpu")`, and in the same run through '
        f"ONNX Runtime {versions['onnxruntime']}'s Python API on CPU. A model that is refused is no pass. "
        "`python -m tests.conformance --write` writes this page."
    )
    both = (
        f"**trtn passes {len(passed):,}, ONNX Runtime {len(passed_there):,}.** "
        f"{len(passed - passed_there):,} pass only with trtn, {len(passed_there - passed):,} only with ONNX Runtime."
    )
    parts = [
        "# ONNX's backend suite", summary, both, "## By what the models are about", _by_category(ours, theirs),
        "## There and back", _there_and_back(trips), "## Tests that trtn does not pass", _misses(ours, theirs),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _passes(outcomes: Outcomes) -> set[str]:
    return {name for name, o in outcomes.items() if o.verdict == "pass"}


def _by_category(ours: Outcomes, theirs: Outcomes) -> str:
    rows = ["| category | tests | trtn | refused | ONNX Runtime |", "|---|---:|---:|---:|---:|"]
    for category in CATEGORIES:
        names = [n for n in ours if _category(n, ours, theirs) == category]
        counts = (
            sum(ours[n].verdict == "pass" for n in names),
            sum(ours[n].verdict == "refused" for n in names),
            sum(theirs[n].verdict == "pass" for n in names),
        )
        rows.append(f"| {category} | {len(names):,} | {' | '.join(f'{c:,}' for c in counts)} |")
    totals = (_passes(ours), [n for n, o in ours.items() if o.verdict == "refused"], _passes(theirs))
    rows.append(f"| **all** | **{len(ours):,}** | {' | '.join(f'**{len(t):,}**' for t in totals)} |")
    return "\n".join(rows)


def _category(name: str, ours: Outcomes, theirs: Outcomes) -> str:
    return ours[name].category or theirs[name].category


def _there_and_back(trips: Outcomes) -> str:
    """How many models come back, and the reason for each that does not."""
    reasons = Counter(o.reason for o in trips.values() if o.verdict == "pass")
    bounds = ", ".join(f"{tolerance:.0e} in {dtype}" for dtype, tolerance in TOLERANCES.items())
    method = (
        f"The models of the {len(trips):,} tests that trtn passes go from ONNX to a spec, a manifest and weights on a "
        "disk, are loaded from there, exported to ONNX (opset 21, or the first after it that has what the model uses) "
        f"and run by ONNX Runtime. **{sum(reasons.values()):,} give the same outputs**: {reasons[AS_FIRST]:,} those "
        f"that ONNX Runtime gives for the first model, {reasons[AS_STORED]:,} the stored ones, where ONNX Runtime "
        "can't run the first model or fails its test."
    )
    rule = (
        f"The same is ‖a - b‖ ≤ tolerance * ‖b‖ for each output: {bounds}; other dtypes are equal. bfloat16, 8-bit "
        "floats and dtypes below 8 bits go to ONNX Runtime by memory, not by its arrays."
    )
    corpus = (
        f"The {len(models())} real models of `tests/corpus` do so too, within 1e-5 (sigmoids near 0 within 4 * 2^-24, "
        "which is how exact ONNX Runtime's are), and so does the flat text of each: "
        "`TRTN_FULL_TESTS=1 python -m pytest tests/corpus`."
    )
    lines = [method, rule, corpus]
    for verdict, title in (("fail", "They differ"), ("refused", "ONNX Runtime runs them neither before nor after")):
        groups: dict[str, list[str]] = {}
        for name, outcome in sorted(trips.items()):
            if outcome.verdict == verdict:
                groups.setdefault(outcome.reason, []).append(name)
        if groups:
            lines.append(f"### {title}: {sum(map(len, groups.values())):,}")
            lines += [f"- **{len(names)}**: {reason}\n{_listed(names)}" for reason, names in _by_size(groups)]
    return "\n\n".join(lines)


def _by_size(groups: Mapping[str, list[str]]) -> list[tuple[str, list[str]]]:
    """The largest first."""
    return sorted(groups.items(), key=lambda g: (-len(g[1]), g[0]))


def _misses(ours: Outcomes, theirs: Outcomes) -> str:
    """By reason, the most frequent first; an asterisk marks what ONNX Runtime passes."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name, outcome in sorted(ours.items()):
        if outcome.verdict != "pass":
            groups.setdefault((outcome.verdict, _reason(name, outcome)), []).append(name)
    lines = ["`*`: ONNX Runtime passes it."]
    for verdict, title in (("fail", "Wrong or failing"), ("refused", "Refused")):
        chosen = _by_size({r: names for (v, r), names in groups.items() if v == verdict})
        if not chosen:
            continue
        lines.append(f"### {title}: {sum(len(names) for _, names in chosen):,}")
        lines += [f"- **{len(names)}**: {reason}\n{_listed(names, _passes(theirs))}" for reason, names in chosen]
    return "\n\n".join(lines)


def _listed(names: Iterable[str], marked: Container[str] = ()) -> str:
    words = (_short(n) + ("*" if n in marked else "") for n in names)
    return fill(", ".join(words), 118, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)


def _short(name: str) -> str:
    return f"`{name.removeprefix('test_').removesuffix('_cpu')}`"


def _reason(name: str, outcome: Outcome) -> str:
    """The explanation of a failure, or the reason without the names of one model's nodes and inputs."""
    if outcome.verdict == "fail":
        for pattern, words in _EXPLAINED:
            if re.fullmatch(rf"test_{pattern}\w*", name):
                return words
    first = re.sub(r"^input `[^`]*`", "an input", outcome.reason.split("; ")[0])
    first = re.sub(r"^(\S+) `[^`]*`: ", r"`\1`: ", first)
    first = re.sub(r"^output `[^`]*`", "an output", first)
    huge = re.search(r" would have up to [\d.e+]+ elements$", first)
    return "a tensor with sizes that only the data decides may be too large" if huge else first
