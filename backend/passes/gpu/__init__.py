"""Passes that only pay on a GPU: fewer, fuller kernels. A module here that binds PASS is all that one takes."""
