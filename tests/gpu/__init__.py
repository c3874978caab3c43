"""What needs a CUDA device; skipped without one. The ops' own tests run on it with TRTN_TEST_XP=cupy."""
