"""Comparisons as a JUnit report, which CI systems show as a list of tests."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from trtn.cli.compare import Difference
from trtn.cli.corners import Corner

__all__ = ["junit_report"]


def junit_report(suite: str, results: Sequence[tuple[Corner, Sequence[Difference]]]) -> str:
    """A test for each output at each corner; its name is the output's, its class the corner."""
    root = Element("testsuites")
    tests = SubElement(root, "testsuite", name=suite)
    failed = 0
    for corner, differences in results:
        for difference in differences:
            case = SubElement(tests, "testcase", classname=f"{suite}.{corner}", name=difference.tensor.name)
            if not difference.ok:
                failed += 1
                SubElement(case, "failure", message=difference.reason(), type="E0804")
    tests.set("tests", str(len(tests)))
    tests.set("failures", str(failed))
    indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + tostring(root, encoding="unicode") + "\n"
