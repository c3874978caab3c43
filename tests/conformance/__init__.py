"""ONNX's backend suite, with trtn and with ONNX Runtime."""
