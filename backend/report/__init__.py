"""What a build would do, found out without its device: a plan as plain data, as text, and as a page to look around in."""

from trtn.backend.report.model import Plan
from trtn.backend.report.planning import plan_build

__all__ = ["Plan", "plan_build"]
