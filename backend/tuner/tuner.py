"""Decides the tactic of each group: from the lock where there is one, else the best of what the providers
offer.

Identical groups are decided once. With one provider nothing needs to be timed; where several offer tactics,
those of the provider that the others come after win until a timing says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trtn.backend.group import Group
from trtn.backend.providers import Provider
from trtn.backend.runtime.engine import Choice
from trtn.backend.tuner.lock import Entry, Lock, describe, group_key
from trtn.dsl.diagnostics import Diagnostic
from trtn.dsl.errors import BuildError

__all__ = ["Tuner"]


class Tuner:
    """Chooses among the tactics of the providers that a device has. `locked` forbids every choice that the
    lock doesn't hold.
    """

    def __init__(
        self, providers: Sequence[Provider], device: str, lock: Lock | None = None, *, locked: bool = False
    ) -> None:
        self.providers = [p for p in providers if p.unavailable(device) is None]
        self.lock = lock or {}
        self.locked = locked
        self.entries: dict[str, Entry] = {}
        """What was decided, by group key: the lines of the lock to be written."""

    def choose(self, groups: Sequence[Group], progress: Callable[[int, int], None] | None = None) -> list[Choice]:
        """A choice for each group. Raises BuildError listing every group that the lock misses, where
        `locked`.
        """
        choices: list[Choice] = []
        origins: dict[str, str] = {}
        missing: list[str] = []
        for number, group in enumerate(groups):
            key = group_key(group)
            entry = self.entries.get(key)
            if entry is None:
                entry = self._from_lock(key, group)
                origins[key] = "lock"
            if entry is None:
                if self.locked:
                    missing.append(f"`{group.name}` ({describe(group)}), key {key}")
                    continue
                entry = self._best(key, group)
                origins[key] = "only"
            self.entries[key] = entry
            choices.append(Choice(entry.provider, entry.tactic, origins[key]))
            if progress is not None:
                progress(number + 1, len(groups))
        if missing:
            message = f"the lock file has no valid entry for {len(missing)} of {len(groups)} groups"
            raise BuildError(
                message,
                [
                    Diagnostic(
                        "E0708",
                        message,
                        notes=tuple(missing[:20]),
                        help="build without `--locked` and commit the lock",
                    )
                ],
            )
        return choices

    def _from_lock(self, key: str, group: Group) -> Entry | None:
        """The lock's entry, where its provider is here, has the locked version and still offers the tactic."""
        entry = self.lock.get(key)
        if entry is None:
            return None
        for p in self.providers:
            if (
                p.name == entry.provider
                and p.version() == entry.version
                and any(t.name == entry.tactic for t in p.tactics(group))
            ):
                return entry
        return None

    def _best(self, key: str, group: Group) -> Entry:
        for provider in reversed(self.providers):
            for tactic in provider.tactics(group):
                return Entry(group.kind, key, provider.name, provider.version(), tactic.name, describe(group))
        raise AssertionError(f"no provider takes {group!r}, not even the reference")
