"""What kernels over rows share: some axes are reduced, the others count rows; a team of threads takes a row.

A team is from one thread (neighbouring threads then take neighbouring rows, for reduced axes that are not the
fastest in memory)
to a block of 1024. Short rows are held in registers, longer ones are read again in each pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trtn.backend.providers.codegen.family import Extent, Operand
from trtn.backend.providers.codegen.walk import FREE, SAME, Geometry, Walk, broadcast_strides, join, vector_width

__all__ = ["ACCUMULATORS", "Rows", "Team", "choose_team", "element_offset", "rows_of"]

ACCUMULATORS = r"""
template <typename T> struct Sum {
  T v; DEVICE void merge(const Sum& o) { v += o.v; }
  DEVICE Sum other(int lanes) const { return {(T)__shfl_xor_sync(~0u, v, lanes)}; }
};
template <typename T> struct Max {
  T v; DEVICE void merge(const Max& o) { v = maximum(v, o.v); }
  DEVICE Max other(int lanes) const { return {(T)__shfl_xor_sync(~0u, v, lanes)}; }
};
// Merges over the threads of a team, in an order that does not depend on timing; every thread gets the result.
template <int TEAM, typename A> DEVICE A over_team(A a, A* shared) {
  #pragma unroll
  for (int lanes = (TEAM < 32 ? TEAM : 32) / 2; lanes; lanes /= 2) a.merge(a.other(lanes));
  if (TEAM > 32) {
    const int team = threadIdx.x / TEAM * (TEAM / 32), warp = threadIdx.x % TEAM / 32;
    if (threadIdx.x % 32 == 0) shared[team + warp] = a;
    __syncthreads();
    a = shared[team];
    #pragma unroll
    for (int k = 1; k < TEAM / 32; k++) a.merge(shared[team + k]);
    __syncthreads();
  }
  return a;
}
"""
"""An accumulator merges with another one and can be had from another lane of the warp."""

MULTIPROCESSORS = 132
"""Of the GPUs that the choices below are made for; others run the same kernels."""
HELD = 64
"""Elements that a thread holds in registers at most."""


@dataclass(frozen=True, slots=True)
class Team:
    """How threads share rows: `threads` a row, `rows` a block, each thread `items` vectors of `vector` elements that
    it holds
    in registers (0: it reads them again in each pass)."""

    threads: int
    rows: int
    items: int
    vector: int

    @property
    def block(self) -> int:
        return self.threads * self.rows

    def grid(self, rows: int) -> Extent:
        return (-(-rows // self.rows), 1, 1)

    def prologue(self, rows: Walk) -> list[str]:
        """Statements that give `lane`, `inside` and the place of the row. All threads go on, for the shuffles' sake."""
        return [
            f"const u32 lane = threadIdx.x % {self.threads}u;",
            f"const u32 number = blockIdx.x * {self.rows}u + threadIdx.x / {self.threads}u;",
            "const bool inside = number < rows;",
            "const u32 row = inside ? number : rows - 1;",
            *rows.decode("row"),
        ]

    def each(self, body: str) -> list[str]:
        """A loop over the thread's vectors: `o` is the first element, `k` the number of a held vector."""
        step = f"{self.threads * self.vector}u"
        if not self.items:
            return [f"for (u32 o = lane * {self.vector}u; o < n; o += {step}) {{ {body} }}"]
        return [
            "#pragma unroll",
            f"for (int k = 0; k < {self.items}; k++) {{",
            f"  const u32 o = k * {step} + lane * {self.vector}u;",
            f"  if (o < n) {{ {body} }}",
            "}",
        ]

    @property
    def shared(self) -> int:
        """Accumulators in shared memory that `over_team` needs."""
        return max(1, self.block // 32)


@dataclass(frozen=True, slots=True)
class Rows:
    """The walks of a kernel over rows, for all of its operands in one order."""

    rows: Geometry
    elements: Geometry
    dense: bool
    """Every operand has its elements side by side, or one for all."""


def rows_of(shape: Sequence[int], reduced: Sequence[int], operands: Sequence[Operand], leader: int = 0) -> Rows:
    """The rows of operands that broadcast to `shape`, with axes in the memory order of operand `leader`."""
    strides = [broadcast_strides(o.shape, o.strides, shape) for o in operands]
    kept = [a for a in range(len(shape)) if a not in reduced]

    def part(axes: Sequence[int]) -> Geometry:
        return join([shape[a] for a in axes], [[own[a] for a in axes] for own in strides], leader)

    elements = part(list(reduced))
    dense = len(elements.sizes) == 1 and all(own[0] in (0, 1) for own in elements.strides)
    return Rows(part(kept), elements, dense)


def choose_team(rows: Rows, operands: Sequence[Operand], wish: int = 0, most: int = 1024) -> Team:
    """Threads for rows like these. `wish` asks for a number of threads a row, where that is possible."""
    n, count = rows.elements.count, rows.rows.count
    if not rows.dense:
        across = rows.elements.strides[0][-1] != 1 and rows.rows.strides[0][-1] == 1 and count >= 2 * MULTIPROCESSORS
        return Team(1, 128, 0, 1) if across else Team(min(256, most), 1, 0, 1)
    vector = _vector(rows, operands)
    vectors = -(-n // vector)
    threads = wish or _threads(vectors, count)
    threads = min(threads, most)
    items = -(-vectors // threads)
    if items * vector > HELD and not wish:
        threads = min(most, 1024)
        items = -(-vectors // threads)
    items = items if items * vector <= HELD else 0
    together = 1 if threads > 32 else max(1, (128 if count * threads >= 128 * MULTIPROCESSORS else 32) // threads)
    return Team(threads, together, items, vector)


def _threads(vectors: int, rows: int) -> int:
    """One vector a thread where rows are few, up to four where they fill the GPU anyway; whole warps from 32 on."""
    each = 1 if rows < 4 * MULTIPROCESSORS else 2 if rows < 16 * MULTIPROCESSORS else 4
    wanted = -(-vectors // each)
    if wanted <= 32:
        return 1 << max(0, (wanted - 1).bit_length())
    return min(1024, -(-wanted // 32) * 32)


def _vector(rows: Rows, operands: Sequence[Operand]) -> int:
    """Vectors run along elements; what rows add to an address must keep them aligned."""
    both = Geometry(
        (*rows.rows.sizes, *rows.elements.sizes),
        tuple((*r, *e) for r, e in zip(rows.rows.strides, rows.elements.strides, strict=True)),
    )
    widest = max(o.dtype.itemsize for o in operands)
    return vector_width(both, [o.dtype.itemsize for o in operands], [o.align for o in operands], max(1, 32 // widest))


def element_offset(walk: Walk, operand: int) -> str:
    """An operand's offset at element `o` of a dense walk, or at the decoded place."""
    if walk.rank == 1:
        return {SAME: "0", FREE: f"({walk.offset_type})o * {walk.name}s{operand}_0"}.get(walk.patterns[operand], "o")
    return walk.offset(operand)
