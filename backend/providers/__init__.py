"""Providers offer tactics: fusion groups come in, kernels that run them come out. `discover()` finds them by
scanning."""

from trtn.backend.providers.base import Kernel, Launch, Provider, Tactic, discover, find_provider

__all__ = ["Kernel", "Launch", "Provider", "Tactic", "discover", "find_provider"]
