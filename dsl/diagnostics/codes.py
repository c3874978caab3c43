"""Every diagnostic code. A code is never reused. The pages for `trtn explain` are in `pages_*.py`.

Blocks: E01xx text, E02xx names, E03xx types and shapes, E04xx dims and profiles, E05xx weights,
E06xx plugins, E07xx builds and engines, E08xx foreign models, E09xx comparisons, L... lint, W... warnings.
"""

from __future__ import annotations

from trtn.dsl.diagnostics.pages_artifacts import PAGES as ARTIFACTS
from trtn.dsl.diagnostics.pages_dims import PAGES as DIMS
from trtn.dsl.diagnostics.pages_language import PAGES as LANGUAGE
from trtn.dsl.diagnostics.pages_lint import PAGES as LINT
from trtn.dsl.diagnostics.pages_types import PAGES as TYPES
from trtn.dsl.records import record

__all__ = ["CODES", "Code"]


@record()
class Code:
    """A code's page: what it means, an example that gives it, and the cure."""

    title: str
    cause: str = ""
    example: str = ""
    cure: str = ""


_PAGES = LANGUAGE | TYPES | DIMS | ARTIFACTS | LINT


def _with_pages(codes: dict[str, Code]) -> dict[str, Code]:
    return {code: Code(entry.title, *_PAGES[code]) if code in _PAGES else entry for code, entry in codes.items()}


CODES: dict[str, Code] = _with_pages(
    {
        # E01xx: text
        "E0101": Code("unexpected text"),
        "E0102": Code("bracket never closed"),
        "E0103": Code("first line is not the edition"),
        "E0104": Code("edition not known to this trtn"),
        "E0105": Code("character that no token starts with"),
        "E0106": Code("text is not UTF-8"),
        "E0107": Code("file, line or nesting over the limit"),
        "E0108": Code("file can't be read"),
        "E0109": Code("string never closed"),
        "E0110": Code("text not in the canonical format"),
        "E0111": Code("file can't be written"),
        # E02xx: names
        "E0201": Code("name not defined"),
        "E0202": Code("name defined twice"),
        "E0203": Code("no such op or block"),
        "E0204": Code("no such attribute or parameter"),
        "E0205": Code("import can't be resolved"),
        "E0206": Code("imports or blocks call each other in a circle"),
        "E0207": Code("wrong number of inputs"),
        "E0208": Code("wrong number of results"),
        "E0209": Code("path outside the spec's folder"),
        "E0210": Code("output never bound"),
        "E0211": Code("expansion over the limit"),
        "E0212": Code("required attribute missing"),
        "E0213": Code("bad use of a statement"),
        "E0214": Code("annotation not known"),
        "E0215": Code("no network in the file, or several and none named"),
        # E03xx: types and shapes
        "E0301": Code("dtype not known"),
        "E0302": Code("dtype does not fit"),
        "E0303": Code("rank does not fit"),
        "E0304": Code("attribute value does not fit"),
        "E0305": Code("stated type differs from the inferred one"),
        "E0306": Code("value is of the wrong kind"),
        "E0311": Code("shapes do not broadcast"),
        "E0312": Code("dims that must be equal differ"),
        "E0313": Code("shape relation does not hold"),
        "E0314": Code("data-dependent size without a name and a bound"),
        "E0315": Code("branches or carried values of different types"),
        # E04xx: dims and profiles
        "E0401": Code("dim range empty or out of bounds"),
        "E0402": Code("dim constrains nothing"),
        "E0403": Code("assert does not hold"),
        "E0404": Code("assert constrains nothing"),
        "E0411": Code("profile entry missing"),
        "E0412": Code("profile entry for an unknown dim or input"),
        "E0413": Code("profile order: min <= opt <= max does not hold"),
        "E0414": Code("profile outside the dim's range or step"),
        "E0415": Code("assert fails inside a profile"),
        "E0416": Code("layer invalid inside a profile"),
        "E0417": Code("profile for an unknown network"),
        "E0418": Code("dims multiply to more than 2^62"),
        "E0421": Code("target field not known, missing or of the wrong kind"),
        "E0422": Code("target names something unknown"),
        # E05xx: weights
        "E0501": Code("no such weight in the manifest"),
        "E0502": Code("weight hash differs"),
        "E0503": Code("stored dtype or shape differs from the manifest"),
        "E0504": Code("weight file missing or unreadable"),
        "E0505": Code("tensor missing from its weight file"),
        "E0506": Code("weight path outside the manifest's folder"),
        "E0507": Code("generator not known or wrongly used"),
        "E0508": Code("manifest file entry unknown or unused"),
        "E0509": Code("weight file differs in size or hash"),
        "E0510": Code("weight without a hash"),
        "E0511": Code("weight hash malformed"),
        # E06xx: plugins
        "E0601": Code("plugin declaration incomplete"),
        "E0602": Code("plugins can't be run by this version"),
        # E07xx: builds and engines
        "E0701": Code("layer can't be evaluated"),
        "E0702": Code("device not available"),
        "E0703": Code("engine file damaged"),
        "E0704": Code("engine of another format version"),
        "E0705": Code("feeds do not fit the engine"),
        "E0706": Code("shape outside every profile"),
        "E0707": Code("runtime guard failed"),
        "E0708": Code("lock file misses an entry"),
        "E0709": Code("out of memory"),
        "E0710": Code("engine file can't be written"),
        "E0711": Code("file differs from the lock"),
        # E08xx: foreign models
        "E0801": Code("file is not a valid ONNX model"),
        "E0802": Code("unsupported node"),
        "E0803": Code("model input or output can't be expressed"),
        "E0804": Code("outputs differ from the reference"),
        "E0805": Code("network can't be written as an ONNX model"),
        # E09xx: comparisons
        "E0901": Code("revision can't be read"),
        "E0911": Code("breaks specs that import this one"),
        "E0912": Code("breaks programs and builds that use its engines"),
        "E0913": Code("changes the numbers"),
        # L..: lint
        "L0101": Code("unused name"),
        "L0102": Code("unused parameter"),
        "L0103": Code("unused import"),
        "L0104": Code("unused block"),
        "L0105": Code("shadowing"),
        "L0106": Code("unused weight"),
        "L0111": Code("needless cast"),
        "L0112": Code("needless transpose"),
        "L0113": Code("needless reshape"),
        "L0121": Code("wide profile"),
        "L0122": Code("hard-coded size"),
        "L0131": Code("narrow sum"),
        "L0132": Code("narrow layer"),
        # warnings
        "W0401": Code("relation not proven; checked at run time"),
        "W0402": Code("assert over several dims constrains nothing"),
        "W0501": Code("weight without a hash"),
        "W0701": Code("lock of another version"),
        "W0702": Code("lock entry that nothing asks for"),
        "W0703": Code("engine that is not tuned"),
    }
)
