"""Matrix products of f32 by generated kernels: rows in place, a packed constant matrix, an epilogue, several threads."""
