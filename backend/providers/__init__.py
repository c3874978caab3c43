"""Providers offer tactics: problems come in, kernels that run them come out. `discover()` finds them by scanning."""

from trtn.backend.providers.base import (
    AssistedProvider,
    BulkProvider,
    ElasticProvider,
    ForesightedProvider,
    ImageProvider,
    Launch,
    NarrowProvider,
    Prepared,
    Provider,
    Tactic,
    TacticError,
    binaries_of,
    discover,
    find_provider,
    prepare_all,
    reference_provider,
)

__all__ = [
    "AssistedProvider",
    "BulkProvider",
    "ElasticProvider",
    "ForesightedProvider",
    "ImageProvider",
    "Launch",
    "NarrowProvider",
    "Prepared",
    "Provider",
    "Tactic",
    "TacticError",
    "binaries_of",
    "discover",
    "find_provider",
    "prepare_all",
    "reference_provider",
]
