"""Kernels written as LLVM IR for one problem each and compiled for this CPU. The extra `cpu` installs llvmlite."""

from trtn.backend.providers.llvm.provider import PROVIDER, LlvmProvider

__all__ = ["PROVIDER", "LlvmProvider"]
