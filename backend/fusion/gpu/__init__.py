"""Fusions that only pay on a GPU, where each step is a launch. A module here that binds FUSION is all that one takes."""
