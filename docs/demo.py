"""A real model on a real file: magika's file-type classifier, from ONNX to a spec to an engine, run on README.md.

Run by `make demo`. The model (Apache-2.0) comes with the PyPI package `magika`; features are made as that package
makes them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime

ROOT = Path(__file__).resolve().parent.parent
TOLERANCE = 1e-5  # of a probability: float32 sums in another order


def main() -> int:
    spec = find_spec("magika")
    if spec is None or spec.origin is None:
        sys.exit("the package `magika` is not installed: run `make demo`")
    folder = next((Path(spec.origin).parent / "models").glob("standard_*"))
    config = json.loads((folder / "config.min.json").read_text())
    with tempfile.TemporaryDirectory() as work:
        label, difference = run(folder / "model.onnx", config, Path(work))
    print(f"\nREADME.md is: {label}")
    print(f"largest difference to ONNX Runtime: {difference:.1e}")
    return 0 if difference <= TOLERANCE and label == "markdown" else 1


def run(model: Path, config: dict[str, object], work: Path) -> tuple[str, float]:
    """The label that the engine finds, and its largest difference to ONNX Runtime's probabilities."""
    text = work / "magika.trtn"
    trtn("import", "onnx", model, "-o", text, "--name", "magika")
    trtn("fmt", "--check", text)
    trtn("check", text)
    head(text, 24)
    trtn("build", text, "-o", work / "magika.engine")
    ids = features((ROOT / "README.md").read_bytes(), config)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    np.savez(work / "features.npz", features=ids)
    trtn("run", work / "magika.engine", "--input", f"{name}={work / 'features.npz'}:features", "-o", work / "out.npz")
    ours = np.load(work / "out.npz")[session.get_outputs()[0].name]
    theirs = session.run(None, {name: ids})[0]
    labels = config["target_labels_space"]
    assert isinstance(labels, list)
    return labels[int(np.argmax(ours[0]))], float(np.max(np.abs(ours - theirs)))


def features(content: bytes, config: dict[str, object]) -> np.ndarray:
    """A file's first and last bytes without surrounding white space, padded: i32[1, beg + end] (magika's version 2)."""
    beg, end, block, padding = (int(str(config[k])) for k in ("beg_size", "end_size", "block_size", "padding_token"))
    first = content[:block].lstrip()[:beg]
    last = content[-block:].rstrip()[-end:]
    ids = [*first, *[padding] * (beg - len(first)), *[padding] * (end - len(last)), *last]
    return np.asarray([ids], dtype=np.int32)


def trtn(*args: object) -> None:
    """Run the command line as a person would, and show what was run."""
    words = [str(a) for a in args]
    print("$ trtn " + " ".join(re.sub(r"/\S*/", "", w) for w in words))
    subprocess.run([sys.executable, "-m", "trtn", *words], check=True)


def head(path: Path, lines: int) -> None:
    """The first lines of a spec."""
    listing = path.read_text().splitlines()
    for line in listing[:lines]:
        print("  | " + line)
    if len(listing) > lines:
        print(f"  | .. {len(listing) - lines} more lines")


if __name__ == "__main__":
    sys.exit(main())
