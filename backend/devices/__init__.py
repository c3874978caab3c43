"""Devices: a name comes in (`cpu`, `cuda`, `cuda:sm_90`), memory and an array namespace go out. Nothing else knows
CuPy by name."""

from trtn.backend.devices.base import Device, find_device

__all__ = ["Device", "find_device"]
