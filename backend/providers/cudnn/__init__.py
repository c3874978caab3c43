"""cuDNN's graph API: convolutions and matrix products with their epilogues, one cuDNN graph a group."""

from trtn.backend.providers.cudnn.provider import PROVIDER

__all__ = ["PROVIDER"]
