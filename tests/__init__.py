"""Tests run beside one another: OpenMP's threads, which spin while they wait for each other, are one a process."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
