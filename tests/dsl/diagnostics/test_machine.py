"""The formats that programs read."""

from __future__ import annotations

import json

from tests.dsl.diagnostics.cases import ALL, CASES, SPEC, at
from trtn.dsl.diagnostics import CODES, Diagnostic, Label, Severity, Source, render

SPAN_KEYS = {"file", "start", "end", "line", "column", "end_line", "end_column"}
KEYS = {"code", "severity", "message", "span", "label", "labels", "notes", "help", "values", "rendered"}


def test_concise_is_one_line_each() -> None:
    lines = render(ALL, "concise").splitlines()
    assert len(lines) == len(ALL)
    assert lines[0] == "models/bert.trtn:4:14: error[E0312]: inner dims of `matmul` differ: 768 and 512"
    assert "error[E0702]: no GPU found" in lines


def test_json_shape() -> None:
    document = json.loads(render(ALL, "json"))
    assert set(document) == {"format_version", "valid", "error_count", "warning_count", "diagnostics"}
    assert document["format_version"] == "1.0"
    assert document["valid"] is False
    assert document["error_count"] == sum(d.severity is Severity.ERROR for d in ALL)
    assert document["warning_count"] == sum(d.severity is Severity.WARNING for d in ALL)
    for entry, diagnostic in zip(document["diagnostics"], ALL, strict=True):
        assert set(entry) == KEYS
        assert (entry["code"], entry["message"]) == (diagnostic.code, diagnostic.message)
        assert entry["severity"] in ("error", "warning", "note")
        assert (entry["span"] is None) == (diagnostic.span is None)
        for span in [label["span"] for label in entry["labels"]] + [entry["span"]] * (entry["span"] is not None):
            assert set(span) == SPAN_KEYS


def test_json_values() -> None:
    (entry,) = json.loads(render(CASES["design"], "json"))["diagnostics"]
    start = SPEC.text.index("x, p.fc1")
    assert entry["span"] == {
        "file": "models/bert.trtn",
        "start": start,
        "end": start + 1,
        "line": 4,
        "column": 14,
        "end_line": 4,
        "end_column": 15,
    }
    assert entry["labels"][0]["text"] == "f16[512, 3072], bert.weights.trtn:3"
    assert entry["notes"] == ["holds for every B, S"]
    assert entry["rendered"].startswith("error[E0312]: inner dims")
    assert "trtn explain" not in entry["rendered"]


def test_json_is_valid_without_errors() -> None:
    assert json.loads(render([], "json"))["valid"] is True
    warning = json.loads(render([CASES["no_place"][1]], "json"))
    assert (warning["valid"], warning["error_count"], warning["warning_count"]) == (True, 0, 1)


def test_sarif_has_what_the_standard_requires() -> None:
    document = json.loads(render(ALL, "sarif"))
    assert document["version"] == "2.1.0"
    assert document["$schema"].endswith("sarif-2.1.0.json")
    (run,) = document["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "trtn"
    rules = [rule["id"] for rule in driver["rules"]]
    assert rules == sorted(set(rules)) == sorted({d.code for d in ALL})
    assert len(run["results"]) == len(ALL)
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        assert result["level"] in ("none", "note", "warning", "error")
        assert result["message"]["text"]
        for location in result.get("locations", []) + result.get("relatedLocations", []):
            physical = location["physicalLocation"]
            region = physical["region"]
            assert physical["artifactLocation"]["uri"]
            assert region["startLine"] >= 1
            assert region["startColumn"] >= 1
            assert (region["startLine"], region["startColumn"]) <= (region["endLine"], region["endColumn"])
            assert region["charLength"] >= 0


def test_sarif_paths_are_uris() -> None:
    odd = Source("my specs/50%/é.trtn", "x")
    absolute = Source("/elsewhere/a b.trtn", "x")
    found = [Diagnostic("E0101", "m", source.span(0, 1)) for source in (odd, absolute)]
    results = json.loads(render(found, "sarif"))["runs"][0]["results"]
    uris = [r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in results]
    assert uris == ["my%20specs/50%25/%C3%A9.trtn", "file:///elsewhere/a%20b.trtn"]


def test_sarif_without_findings() -> None:
    (run,) = json.loads(render([], "sarif"))["runs"]
    assert run["results"] == []


def test_github_command() -> None:
    source = Source("a,b:c%.trtn", "network")
    found = Diagnostic(
        "E0302", "100% wrong:\nvery", source.span(0, 7), notes=("so, it is",), help="mend it", label="here"
    )
    assert render([found], "github") == (
        "::error file=a%2Cb%3Ac%25.trtn,line=1,col=1,endColumn=8,title=E0302%3A dtype does not fit"
        "::100%25 wrong:%0Avery%0Ahere%0Anote: so, it is%0Ahelp: mend it"
    )


def test_github_severities_and_lines() -> None:
    commands = [line.split(" ")[0] for line in render(CASES["no_place"], "github").splitlines()]
    assert commands == ["::error", "::warning", "::notice"]
    over_lines = render([CASES["several_lines"][0]], "github")
    assert "line=6,endLine=9,title" in over_lines
    assert "col" not in over_lines.split("::")[1]


def test_github_stays_one_line_each() -> None:
    assert len(render(ALL, "github").splitlines()) == len(ALL)


def test_file_names_with_odd_bytes() -> None:
    found = Diagnostic("E0106", "m", Source("caf\udce9.trtn", "x").span(0, 1))
    document = json.loads(render([found], "sarif"))
    location = document["runs"][0]["results"][0]["locations"][0]
    assert location["physicalLocation"]["artifactLocation"]["uri"] == "caf%E9.trtn"


def test_related_locations_are_numbered() -> None:
    labels = (Label(at("linear"), "one"), Label(at("network"), ""))
    (result,) = json.loads(render([Diagnostic("E0202", "m", labels=labels)], "sarif"))["runs"][0]["results"]
    assert [related["id"] for related in result["relatedLocations"]] == [0, 1]
    assert all(related["message"]["text"] for related in result["relatedLocations"])
    assert "locations" not in result


def test_rules_carry_the_page() -> None:
    rules = json.loads(render(CASES["design"], "sarif"))["runs"][0]["tool"]["driver"]["rules"]
    page = CODES["E0312"]
    assert rules == [
        {
            "id": "E0312",
            "shortDescription": {"text": page.title},
            "fullDescription": {"text": page.cause},
            "help": {"text": page.cure},
        }
    ]
