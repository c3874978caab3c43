"""The benchmarks of docs/benchmarks.md: `python -m bench`."""
