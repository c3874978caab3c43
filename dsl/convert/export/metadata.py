"""What ONNX has no field for, as text in the model's metadata: ranges of dims, asserts, profiles."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from trtn.dsl.network import Network, Profile, ProfileRange

__all__ = ["properties"]


def properties(network: Network) -> dict[str, str]:
    """The metadata_props, in a fixed order.

    `trtn.dim.<name>`: `1..64` or `8..512 step 8`; of a size that only the data decides `0..N`.
    `trtn.assert.<number>`: the relation, then, after ` # `, its message.
    `trtn.profile.<name>`: JSON, `{"dims": {name: {"min", "opt", "max"}}, "values": {input: [{..}, ..]}}`.
    """
    found = {f"trtn.dim.{name}": str(values) for name, values in network.dims.items()}
    found |= {f"trtn.dim.{name}": f"{d.low}..{d.high}" for name, d in network.data_dims.items()}
    for number, a in enumerate(network.asserts):
        found[f"trtn.assert.{number}"] = f"{a.relation} # {a.message}" if a.message else str(a.relation)
    found |= {f"trtn.profile.{p.name}": json.dumps(_profile(p), ensure_ascii=False) for p in network.profiles}
    return found


def _profile(profile: Profile) -> Mapping[str, Any]:
    document: dict[str, Any] = {"dims": {name: _range(r) for name, r in profile.dims.items()}}
    if profile.values:
        document["values"] = {name: [_range(r) for r in values] for name, values in profile.values.items()}
    return document


def _range(values: ProfileRange) -> Mapping[str, int]:
    return {"min": values.minimum, "opt": values.optimum, "max": values.maximum}
