"""Providers offer tactics: problems come in, kernels that run them come out. `discover()` finds them by scanning."""

from trtn.backend.providers.base import (
    ForesightedProvider,
    Keepable,
    Launch,
    Prepared,
    Provider,
    Tactic,
    TacticError,
    discover,
    find_provider,
    prepare_all,
    reference_provider,
)

__all__ = [
    "ForesightedProvider",
    "Keepable",
    "Launch",
    "Prepared",
    "Provider",
    "Tactic",
    "TacticError",
    "discover",
    "find_provider",
    "prepare_all",
    "reference_provider",
]
