"""One-layer networks, at least one for each op of the catalogue."""

from __future__ import annotations

from tests.dsl.convert import export_cases_elements, export_cases_layers, export_cases_shapes
from tests.dsl.convert.export_case import Case

__all__ = ["CASES"]

CASES: tuple[Case, ...] = (
    *export_cases_elements.cases(),
    *export_cases_shapes.cases(),
    *export_cases_layers.cases(),
)
