"""Passes: network to network. A module here that binds PASS is all that one takes; `run_passes` repeats them
to a fixed point.
"""

from trtn.backend.passes.base import Pass, Progress, Trace, discover, run_passes
from trtn.backend.passes.precision import PrecisionPass
from trtn.backend.passes.rules import BrokenNetwork, verify

__all__ = ["BrokenNetwork", "Pass", "PrecisionPass", "Progress", "Trace", "discover", "run_passes", "verify"]
