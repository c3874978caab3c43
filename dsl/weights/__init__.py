"""Weights: the manifest that names every tensor, the files that hold their bytes, generators, and hashes.

In: a manifest's text and the storages it points to (safetensors, npy, npz, ONNX, raw). Out: a `WeightTable`
of `Weight`s that read nothing until somebody needs their bytes. `load_manifest` (manifest.py) is the way in,
`save_weights` (writer.py) the way out, `verify.py` compares hashes.
"""
