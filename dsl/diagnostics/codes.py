"""Every diagnostic code. A code is never reused. The pages for `trtn explain` are in `pages_*.py`.

Blocks: E01xx text, E02xx names, E03xx types and shapes, E04xx dims and profiles, E05xx weights,
E06xx plugins, E07xx builds and engines, E08xx foreign models, E09xx comparisons, L... lint, W... warnings.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from trtn.dsl.records import record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trtn.dsl.diagnostics.page import Page

__all__ = ["CODES", "Code"]


@record()
class Code:
    """A code's page: what it means, an example that gives it, and the cure."""

    name: str
    title: str

    @property
    def cause(self) -> str:
        return self._page.cause

    @property
    def example(self) -> str:
        return self._page.example

    @property
    def cure(self) -> str:
        return self._page.cure

    @property
    def _page(self) -> Page:
        return _pages()[self.name]


@cache
def _pages() -> Mapping[str, Page]:
    """The long texts, which few processes show."""
    from trtn.dsl.diagnostics import pages_artifacts, pages_dims, pages_language, pages_lint, pages_types

    modules = (pages_language, pages_types, pages_dims, pages_artifacts, pages_lint)
    return {name: page for module in modules for name, page in module.PAGES.items()}


_TITLES = {
    # E01xx: text
    "E0101": "unexpected text",
    "E0102": "bracket never closed",
    "E0103": "first line is not the edition",
    "E0104": "edition not known to this trtn",
    "E0105": "character that no token starts with",
    "E0106": "text is not UTF-8",
    "E0107": "file, line or nesting over the limit",
    "E0108": "file can't be read",
    "E0109": "string never closed",
    "E0110": "text not in the canonical format",
    "E0111": "file can't be written",
    # E02xx: names
    "E0201": "name not defined",
    "E0202": "name defined twice",
    "E0203": "no such op or block",
    "E0204": "no such attribute or parameter",
    "E0205": "import can't be resolved",
    "E0206": "imports or blocks call each other in a circle",
    "E0207": "wrong number of inputs",
    "E0208": "wrong number of results",
    "E0209": "path outside the spec's folder",
    "E0210": "output never bound",
    "E0211": "expansion over the limit",
    "E0212": "required attribute missing",
    "E0213": "bad use of a statement",
    "E0214": "annotation not known",
    "E0215": "no network in the file, or several and none named",
    # E03xx: types and shapes
    "E0301": "dtype not known",
    "E0302": "dtype does not fit",
    "E0303": "rank does not fit",
    "E0304": "attribute value does not fit",
    "E0305": "stated type differs from the inferred one",
    "E0306": "value is of the wrong kind",
    "E0311": "shapes do not broadcast",
    "E0312": "dims that must be equal differ",
    "E0313": "shape relation does not hold",
    "E0314": "data-dependent size without a name and a bound",
    "E0315": "branches or carried values of different types",
    # E04xx: dims and profiles
    "E0401": "dim range empty or out of bounds",
    "E0402": "dim constrains nothing",
    "E0403": "assert does not hold",
    "E0404": "assert constrains nothing",
    "E0411": "profile entry missing",
    "E0412": "profile entry for an unknown dim or input",
    "E0413": "profile order: min <= opt <= max does not hold",
    "E0414": "profile outside the dim's range or step",
    "E0415": "assert fails inside a profile",
    "E0416": "layer invalid inside a profile",
    "E0417": "profile for an unknown network",
    "E0418": "dims multiply to more than 2^62",
    "E0421": "target field not known, missing or of the wrong kind",
    "E0422": "target names something unknown",
    # E05xx: weights
    "E0501": "no such weight in the manifest",
    "E0502": "weight hash differs",
    "E0503": "stored dtype or shape differs from the manifest",
    "E0504": "weight file missing or unreadable",
    "E0505": "tensor missing from its weight file",
    "E0506": "weight path outside the manifest's folder",
    "E0507": "generator not known or wrongly used",
    "E0508": "manifest file entry unknown or unused",
    "E0509": "weight file differs in size or hash",
    "E0510": "weight without a hash",
    "E0511": "weight hash malformed",
    # E06xx: plugins
    "E0601": "plugin declaration incomplete",
    "E0602": "plugins can't be run by this version",
    # E07xx: builds and engines
    "E0701": "layer can't be evaluated",
    "E0702": "device not available",
    "E0703": "engine file damaged",
    "E0704": "engine of another format version",
    "E0705": "feeds do not fit the engine",
    "E0706": "shape outside every profile",
    "E0707": "runtime guard failed",
    "E0708": "lock file misses an entry",
    "E0709": "out of memory",
    "E0710": "engine file can't be written",
    "E0711": "file differs from the lock",
    # E08xx: foreign models
    "E0801": "file is not a valid ONNX model",
    "E0802": "unsupported node",
    "E0803": "model input or output can't be expressed",
    "E0804": "outputs differ from the reference",
    "E0805": "network can't be written as an ONNX model",
    # E09xx: comparisons
    "E0901": "revision can't be read",
    "E0911": "breaks specs that import this one",
    "E0912": "breaks programs and builds that use its engines",
    "E0913": "changes the numbers",
    # L..: lint
    "L0101": "unused name",
    "L0102": "unused parameter",
    "L0103": "unused import",
    "L0104": "unused block",
    "L0105": "shadowing",
    "L0106": "unused weight",
    "L0111": "needless cast",
    "L0112": "needless transpose",
    "L0113": "needless reshape",
    "L0121": "wide profile",
    "L0122": "hard-coded size",
    "L0131": "narrow sum",
    "L0132": "narrow layer",
    # warnings
    "W0401": "relation not proven; checked at run time",
    "W0402": "assert over several dims constrains nothing",
    "W0501": "weight without a hash",
    "W0701": "lock of another version",
    "W0702": "lock entry that nothing asks for",
    "W0703": "engine that is not tuned",
}

CODES: dict[str, Code] = {name: Code(name, title) for name, title in _TITLES.items()}
