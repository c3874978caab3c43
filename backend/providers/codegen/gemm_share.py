"""How the blocks of a cluster that each summed over a part of K finish a tile together: by halves of each 32 columns, `units`, of which the
n-th is finished by block n modulo the number of blocks. The others send it their sums, so that nobody waits for nobody but for what it gets.
"""

from __future__ import annotations

from trtn.backend.providers.codegen.gemm_tile import PersistentTile

__all__ = ["LIBRARY", "expected", "received"]

LIBRARY = r"""
// Half of a thread's sums of 32 columns: of the rows `unit` % 2, eights of columns 2 * `half` and the next one.
template <int N> DEVICE float& sum_of(float (&sums)[N][4], int unit, int half, int n) {
  return sums[unit / 2 * 4 + 2 * half + n / 2][unit % 2 * 2 + n % 2];
}
// Each block sends the sums that others finish, to where the same threads find them, and adds those that it gets.
template <int PARTS, int N> DEVICE void share_sums(float (&sums)[N][4], float* sheet, int part, int tid, int threads, u64* met) {
  #pragma unroll
  for (int unit = 0; unit < N / 2; unit++) {
    const int to = unit % PARTS;
    if (to == part) continue;
    #pragma unroll
    for (int half = 0; half < 2; half++) {
      float four[4];
      #pragma unroll
      for (int n = 0; n < 4; n++) four[n] = sum_of(sums, unit, half, n);
      send(sheet + ((unit / PARTS * (PARTS - 1) + (part + PARTS - 1 - to) % PARTS) * 2 + half) * (threads * 4) + tid * 4, to, four, met);
    }
  }
  wait_for_bytes(met);
  #pragma unroll
  for (int unit = 0; unit < N / 2; unit++) {
    if (unit % PARTS != part) continue;
    #pragma unroll
    for (int p = 0; p < PARTS - 1; p++)
      #pragma unroll
      for (int half = 0; half < 2; half++) {
        float four[4];
        load<4>(sheet + ((unit / PARTS * (PARTS - 1) + p) * 2 + half) * (threads * 4) + tid * 4, four);
        #pragma unroll
        for (int n = 0; n < 4; n++) sum_of(sums, unit, half, n) += four[n];
      }
  }
}
"""


def _unit(tile: PersistentTile) -> int:
    """Bytes of the sums of a unit."""
    return 64 * tile.rows


def received(tile: PersistentTile) -> int:
    """Bytes of shared memory for what a block gets, at most."""
    return -(-tile.columns // 16 // tile.parts) * (tile.parts - 1) * _unit(tile)


def expected(tile: PersistentTile) -> str:
    """How many bytes block `part` gets."""
    return f"({tile.columns // 16} - part + PARTS - 1) / PARTS * (PARTS - 1) * {_unit(tile)}"
