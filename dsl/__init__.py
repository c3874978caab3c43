"""Text to network and back, and everything that needs no device: syntax, names, types, dims, weights, conversion.

In: `.trtn` specs, weight manifests, ONNX models. Out: a checked `Network`, or diagnostics. Never imports the backend.
"""
