"""Findings about specs that are correct: what nobody uses, what does nothing, what will be slow or imprecise."""

from __future__ import annotations

from trtn.dsl.lint.base import RULES, Edit, Finding, Rule, Subject
from trtn.dsl.lint.fixing import fixed
from trtn.dsl.lint.linter import lint

__all__ = ["RULES", "Edit", "Finding", "Rule", "Subject", "fixed", "lint"]
