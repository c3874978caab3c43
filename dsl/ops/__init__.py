"""The op catalogue, one module a family: signatures, dtype and shape rules, reference evaluation, documentation."""

from trtn.dsl.ops.base import Op, catalogue, find_op

__all__ = ["Op", "catalogue", "find_op"]
