"""Attention for many queries on the tensor cores of compute capability 9.0 (`wgmma`), after Shah et al., FlashAttention-3: some warps of a
block fetch, groups of four others have 64 queries each. Scores and sums stay in registers; the scores of a block of keys are on their way
while those before them enter the sums, and become weights while the tensor cores go on.

Blocks stay and take one tile of queries after the other, so that the fetching warps are ahead by then. In shared memory, rows of 64
elements have their 16-byte chunks permuted by the row's number, as `wgmma` reads them without conflicts. Each 16 keys lie in an order in
which a thread's scores are those of four neighbours, which is how it reads a mask: key 4 t + 2 j + c is row 8 j + 2 t + c.
"""

from __future__ import annotations

from dataclasses import dataclass

from trtn.backend.providers.codegen import cluster, gemm_wgmma
from trtn.backend.providers.codegen.attention_wgmma_tile import (
    BOOKKEEPING,
    COPIES,
    FETCHING,
    LIBRARY,
    REGISTERS,
    AttentionTile,
    products,
)
from trtn.backend.providers.codegen.flash_attention import MaskRead
from trtn.backend.providers.codegen.prelude import C_TYPES, PRELUDE

__all__ = ["WarpGroupAttentionSpec"]


@dataclass(frozen=True, slots=True)
class WarpGroupAttentionSpec:
    """Tiles of queries are numbered by sample, head and place; block n takes every so many-th of them, from the n-th on."""

    dtype: str
    width: int
    out_width: int
    tile: AttentionTile
    causal: bool
    mask: MaskRead | None
    shared: bool
    """Whether heads of k and v serve several of q."""

    accelerated = True

    @property
    def machine(self) -> str:
        """What of the source depends on the machine: the emulator of the tests has its own."""
        return gemm_wgmma.LIBRARY + LIBRARY + products(self.tile.keys, self.out_width, self.dtype)

    @property
    def stages(self) -> int:
        return self.tile.stages(self.width, self.out_width)

    @property
    def held(self) -> int:
        """Bytes of shared memory that hold two tiles of queries, and the stages."""
        return 4 * self.tile.queries * self.width + 2 * self.stages * self.tile.keys * (self.width + self.out_width)

    @property
    def dynamic_shared(self) -> int:
        """Bytes of shared memory that a launch asks for: also the barriers, and which keys of each stage are not hidden."""
        return self.held + 32 + BOOKKEEPING * self.stages

    @property
    def by_bits(self) -> bool:
        """Whether a word of a thread has which of its keys are not hidden by the mask."""
        return self.mask is not None and self.mask.dtype == "bool" and not self.mask.by_query

    def parameters(self) -> str:
        mask = [f"const {C_TYPES[self.mask.dtype]}* __restrict__ mask"] if self.mask else []
        pointers = [*(f"const u8* __restrict__ {n}" for n in "qkv"), *mask, "u8* __restrict__ y"]
        sizes = ["samples", "heads", "queries", "keys", *["sharing"] * self.shared]
        strides = [
            f"const {kind} {n}{axis}" for n in "qkvy" for kind, axis in (("i64", "n"), ("i64", "h"), ("u32", "s"))
        ]
        strides += (
            ["const float unscale", "const i64 mn", "const i64 mh", "const i64 ms", "const int ml"] if mask else []
        )
        return ", ".join([*pointers, *(f"const int {n}" for n in sizes), "const float scale", *strides])

    def source(self) -> str:
        t = self.tile
        fewer, more = REGISTERS[t.groups]
        return "\n".join(
            [
                PRELUDE,
                cluster.LIBRARY,
                self.machine,
                COPIES,
                f'extern "C" __global__ void __launch_bounds__({t.threads}, {t.resident}) kernel({self.parameters()}) {{',
                f"  constexpr int D = {self.width}, E = {self.out_width}, KEYS = {t.keys}, GROUPS = {t.groups}, STAGES = {self.stages};",
                f"  constexpr int QUERIES = 64 * GROUPS, MULTIPLYING = 128 * GROUPS, FETCHING = {FETCHING};",
                "  constexpr int SHEET = 2 * QUERIES * D, STAGE = 2 * KEYS * (D + E);",
                "  SHARED_MEMORY(memory);",
                "  u8* const stages = memory + 2 * SHEET;",
                "  u64 *asked = (u64*)(stages + STAGES * STAGE), *answered = asked + 2;",
                "  u64 *keyed = answered + 2, *valued = keyed + STAGES, *empty = valued + STAGES;",
                *["  u32* const bits = (u32*)(empty + STAGES);"] * self.by_bits,
                "  const int tid = threadIdx.x, lane = tid % 32, warp = __shfl_sync(~0u, tid / 32, 0);",
                "  if (tid < 2) { start_barrier(asked + tid, FETCHING); start_barrier(answered + tid, MULTIPLYING / 32); }",
                "  if (tid < STAGES) {",
                f"    start_barrier(keyed + tid, FETCHING{' + 4' if self.by_bits else ''}); start_barrier(valued + tid, FETCHING);",
                "    start_barrier(empty + tid, MULTIPLYING / 32);",
                "  }",
                "  publish_barriers();",
                "  __syncthreads();",
                "  const int tiles = (queries + QUERIES - 1) / QUERIES, pairs = samples * heads, items = tiles * pairs;",
                *["  const int ahead = keys - queries;"] * self.causal,
                "  int sample, head, start;",
                "  auto locate = [&](int item) {",
                # With a causal mask the tiles with the most keys come first.
                f"    const int pair = {'item % pairs' if self.causal else 'item / tiles'};",
                f"    start = ({'tiles - 1 - item / pairs' if self.causal else 'item % tiles'}) * QUERIES;",
                "    sample = pair / heads; head = pair % heads;",
                "  };",
                "  auto blocks_before = [&](int query) {",
                f"    const int seen = {'lower(keys, lower(query, queries) + ahead)' if self.causal else 'keys'};",
                "    return seen <= 0 ? 0 : (seen + KEYS - 1) / KEYS;",
                "  };",
                "  int slot = 0, phase = 0;",
                "  if (tid >= MULTIPLYING) {",
                f"    lower_registers<{fewer}>();",
                *self._fetch(),
                "  } else {",
                f"    raise_registers<{more}>();",
                *self._multiply(),
                "  }",
                "}",
                "",
            ]
        )

    def _fetch(self) -> list[str]:
        """What the fetching warps do."""
        other = "head / sharing" if self.shared else "head"
        return [
            "    WAIT_FOR_INPUTS();",
            "    LET_NEXT_START();",
            "    const int id = tid - MULTIPLYING, chunk = id % 8, line = id / 8, place = line / 2 % 2 * 8 + line / 4 * 2 + line % 2;",
            "    const int to_query = line * 128 + (chunk ^ line % 8) * 16, to_key = place * 128 + (chunk ^ place % 8) * 16;",
            "    #pragma unroll 1",
            "    for (int item = blockIdx.x, turn = 0; item < items; item += gridDim.x, turn++) {",
            "      locate(item);",
            "      wait_at(answered + turn % 2, turn / 2 % 2 ^ 1);",
            "      const u8* from = q + sample * qn + head * qh + (i64)lower(start + line, queries - 1) * qs + chunk * 16;",
            "      copy_rows<QUERIES, D / 64>(memory + turn % 2 * SHEET + to_query, from, qs, queries - start - line);",
            "      arrive_copied(asked + turn % 2);",
            "      const int blocks = blocks_before(start + QUERIES);",
            f"      const u8* keys_at = k + sample * kn + {other} * kh + chunk * 16;",
            f"      const u8* values_at = v + sample * vn + {other} * vh + chunk * 16;",
            "      #pragma unroll 1",
            "      for (int block = 0; block < blocks; block++) {",
            "        const int row = block * KEYS + line, left = keys - row;",
            "        const i64 near = lower(row, keys - 1);",
            "        wait_at(empty + slot, phase ^ 1);",
            "        u8* const to = stages + slot * STAGE + to_key;",
            "        copy_rows<KEYS, D / 64>(to, keys_at + near * ks, ks, left);",
            "        arrive_copied(keyed + slot);",
            "        copy_rows<KEYS, E / 64>(to + 2 * KEYS * D, values_at + near * vs, vs, left);",
            "        arrive_copied(valued + slot);",
            *self._bits(),
            "        if (++slot == STAGES) slot = 0, phase ^= 1;",
            "      }",
            "    }",
        ]

    def _bits(self) -> list[str]:
        """Each fetching warp reads a mask by key for one of each four threads: lane n what the n-th key of that thread is to be."""
        if not self.by_bits:
            return []
        return [
            "        const int key = block * KEYS + lane / 4 * 16 + id / 32 * 4 + lane % 4;",
            "        const bool kept = lane >= KEYS / 4 || key < keys && mask[sample * mn + head * mh + (i64)key * ml];",
            "        const u32 word = __ballot_sync(~0u, kept);",
            "        if (lane == 0) { bits[4 * slot + id / 32] = word; arrive_at(keyed + slot); }",
        ]

    def _multiply(self) -> list[str]:
        """What a group of multiplying warps does."""
        stored = C_TYPES[self.dtype]
        turns = self.tile.groups > 1
        return [
            "    WAIT_FOR_INPUTS();",
            "    LET_NEXT_START();",
            *["    const int after = warp / 4 + 1 == GROUPS ? 0 : warp / 4 + 1;", "    if (after == 0) give_turn(0);"]
            * turns,
            "    const int g = lane / 4, t = lane % 4, group = warp / 4;",
            "    float score[KEYS / 8][4], fade[2], top[2], total[2];",
            "    u32 weight[KEYS / 16][4];",
            "    int first, row;",
            *self._mask_reads(),
            *self._weigh(),
            "    auto pack = [&]() {",
            "      #pragma unroll",
            "      for (int j = 0; j < KEYS / 8; j++)",
            "        #pragma unroll",
            "        for (int h = 0; h < 2; h++) weight[j / 2][j % 2 * 2 + h] = "
            f"narrow2(score[j][2 * h], score[j][2 * h + 1], {stored}());",
            "    };",
            "    #pragma unroll 1",
            "    for (int item = blockIdx.x, turn = 0; item < items; item += gridDim.x, turn++) {",
            "      locate(item);",
            "      first = start + warp * 16; row = first + g;",
            *self._mask_place(),
            "      const int blocks = blocks_before(start + QUERIES);",
            "      const int own = start + group * 64 < queries ? blocks_before(start + group * 64 + 64) : 0;",
            "      const u8* at = memory + turn % 2 * SHEET + group * 8192;",
            "      float sums[E / 8][4] = {};",
            "      top[0] = top[1] = -infinity(); total[0] = total[1] = 0.0f;",
            "      auto begin_scores = [&](int slot, int phase) {",
            "        wait_at(keyed + slot, phase);",
            "        begin_products();",
            "        #pragma unroll",
            "        for (int s = 0; s < D / 16; s++)",
            "          multiply_rows(score, at + s / 4 * (QUERIES * 128), stages + slot * STAGE + s / 4 * (KEYS * 128), s % 4, s > 0, "
            f"{stored}());",
            "        end_products();",
            "      };",
            "      auto begin_sums = [&]() {",
            "        wait_at(valued + slot, phase);",
            "        begin_products();",
            "        #pragma unroll",
            "        for (int s = 0; s < KEYS / 16; s++)",
            f"          multiply_weights<KEYS>(sums, weight[s], stages + slot * STAGE + 2 * KEYS * D, s, {stored}());",
            "        end_products();",
            "      };",
            "      wait_at(asked + turn % 2, turn / 2 % 2);",
            "      if (own > 0) {",
            *["        await_turn(group);"] * turns,
            "        begin_scores(slot, phase);",
            *["        give_turn(after);"] * turns,
            *["        fetch_mask(0, slot);"] * (self.mask is not None),
            "        wait_products<0>();",
            "        weigh(0);",
            "        pack();",
            "        #pragma unroll 1",
            "        for (int block = 1; block < own; block++) {",
            "          const int next = slot + 1 == STAGES ? 0 : slot + 1, later = next ? phase : phase ^ 1;",
            *["          await_turn(group);"] * turns,
            "          begin_scores(next, later);",
            "          begin_sums();",
            *["          give_turn(after);"] * turns,
            *["          fetch_mask(block, next);"] * (self.mask is not None),
            "          wait_products<1>();",
            "          weigh(block);",
            "          wait_products<0>();",
            "          pin(sums);",
            "          if (lane == 0) arrive_at(empty + slot);",
            "          if (__any_sync(~0u, fade[0] != 1.0f || fade[1] != 1.0f))",
            "            #pragma unroll",
            "            for (int i = 0; i < E / 8; i++)",
            "              #pragma unroll",
            "              for (int c = 0; c < 4; c++) sums[i][c] *= fade[c / 2];",
            "          pack();",
            "          slot = next; phase = later;",
            "        }",
            "        begin_sums();",
            "        if (lane == 0) arrive_at(answered + turn % 2);",
            "        wait_products<0>();",
            "        pin(sums);",
            "        if (lane == 0) arrive_at(empty + slot);",
            "        if (++slot == STAGES) slot = 0, phase ^= 1;",
            "      } else if (lane == 0) {",
            "        arrive_at(answered + turn % 2);",
            "      }",
            # Keys that only other groups look at.
            "      for (int block = own; block < blocks; block++) {",
            *["        await_turn(group);", "        give_turn(after);"] * turns,
            "        wait_at(keyed + slot, phase);",
            "        if (lane == 0) arrive_at(empty + slot);",
            "        if (++slot == STAGES) slot = 0, phase ^= 1;",
            "      }",
            *self._finish(stored),
            "    }",
        ]

    def _mask_reads(self) -> list[str]:
        """`fetch_mask`: what a thread needs of a block's part of the mask, into registers."""
        if not self.mask:
            return []
        if self.by_bits:
            return ["    u32 seen;", "    auto fetch_mask = [&](int, int slot) { seen = bits[4 * slot + t]; };"]
        kind, rows = C_TYPES[self.mask.dtype], 2 if self.mask.by_query else 1
        single = "for (int c = 0; c < 4; c++) if (key + c < keys) own_mask[h][i].at[c] = from[(i64)(key + c) * ml];"
        return [
            f"    const {kind}* mask_at[{rows}]; Lanes<{kind}, 4> own_mask[{rows}][KEYS / 16];",
            "    auto fetch_mask = [&](int block, int) {",
            "      #pragma unroll",
            f"      for (int h = 0; h < {rows}; h++)",
            "        #pragma unroll",
            "        for (int i = 0; i < KEYS / 16; i++) {",
            f"          const int key = block * KEYS + 16 * i + 4 * t; const {kind}* from = mask_at[h];",
            "          for (int n = 0; n < own_mask[h][i].bytes / 4; n++) own_mask[h][i].word[n] = 0;",
            f"          {'if (key < keys) fetch_lanes<4>(from + key, own_mask[h][i]);' if self.mask.in_vectors else single}",
            "        }",
            "    };",
            "    auto pin_mask = [&]() {",
            "      #pragma unroll",
            f"      for (int h = 0; h < {rows}; h++)",
            "        #pragma unroll",
            "        for (int i = 0; i < KEYS / 16; i++) pin(own_mask[h][i].word);",
            "    };",
        ]

    def _mask_place(self) -> list[str]:
        """Where the mask of an item begins."""
        if not self.mask or self.by_bits:
            return []
        rows = range(2 if self.mask.by_query else 1)
        return [
            f"      mask_at[{h}] = mask + (sample * mn + head * mh + lower(row + {8 * h}, queries - 1) * ms);"
            for h in rows
        ]

    def _weigh(self) -> list[str]:
        """`weigh`: scores of a block become weights relative to the greatest so far; `fade` is what the sums so far are to lose."""
        every = ["for (int j = 0; j < KEYS / 8; j++)", "  #pragma unroll", "  for (int c = 0; c < 4; c++)"]
        hidden = "key >= keys" + (" || key > row + c / 2 * 8 + ahead" if self.causal else "")
        partial = "(block + 1) * KEYS > keys" + (" || (block + 1) * KEYS - 1 > first + ahead" if self.causal else "")
        return [
            "    auto weigh = [&](int block) {",
            "      pin(score);",
            *self._apply_mask(every),
            f"      if ({partial}) {{",
            "        #pragma unroll",
            *(f"        {line}" for line in every[:-1]),
            f"          {every[-1]} {{",
            "            const int key = block * KEYS + j / 2 * 16 + 4 * t + j % 2 * 2 + c % 2;",
            f"            if ({hidden}) score[j][c] = -infinity();",
            "          }",
            "      }",
            "      #pragma unroll",
            "      for (int h = 0; h < 2; h++) {",
            # Two runs of dependent instructions are half as long as one.
            "        float most = top[h], other = score[0][2 * h];",
            "        #pragma unroll",
            "        for (int j = 0; j < KEYS / 8; j++) { most = maximum(most, score[j][2 * h]); other = maximum(other, score[j][2 * h + 1]); }",
            "        most = maximum(most, other);",
            "        most = maximum(most, __shfl_xor_sync(~0u, most, 1));",
            "        most = maximum(most, __shfl_xor_sync(~0u, most, 2));",
            # Where a query has seen no key yet, weights are 2^(-inf - 0) = 0.
            "        const float zero = most == -infinity() ? 0.0f : most * scale;",
            "        fade[h] = quick_exp2(top[h] * scale - zero);",
            "        top[h] = most;",
            "        float all = total[h] * fade[h], rest = 0.0f;",
            "        #pragma unroll",
            "        for (int j = 0; j < KEYS / 8; j++) {",
            "          #pragma unroll",
            "          for (int c = 2 * h; c < 2 * h + 2; c++) score[j][c] = quick_exp2(score[j][c] * scale - zero);",
            "          all += score[j][2 * h]; rest += score[j][2 * h + 1];",
            "        }",
            "        total[h] = all + rest;",
            "      }",
            "      pin(score);",
            "    };",
        ]

    def _apply_mask(self, every: list[str]) -> list[str]:
        """The mask meets the scores, where it has anything to say."""
        if not self.mask:
            return []
        value = f"own_mask[{'c / 2' if self.mask.by_query else '0'}][j / 2].at[j % 2 * 2 + c % 2]"
        if self.by_bits:
            reads: list[str] = []
            says, masked = "seen != ~0u", "if (!(seen >> (2 * j + c % 2) & 1)) score[j][c] = -infinity();"
        elif self.mask.dtype == "bool":
            reads, says, masked = ["      pin_mask();"], "true", f"if (!{value}) score[j][c] = -infinity();"
        else:
            rows = 2 if self.mask.by_query else 1
            reads = [
                "      pin_mask();",
                "      u32 some = 0;",
                "      #pragma unroll",
                f"      for (int h = 0; h < {rows}; h++)",
                "        #pragma unroll",
                "        for (int i = 0; i < KEYS / 16; i++) some |= own_mask[h][i].word[0] | own_mask[h][i].word[1];",
            ]
            says, masked = "some & 0x7fff7fffu", f"score[j][c] += widen({value}) * unscale;"
        return [
            *reads,
            f"      if ({says}) {{",
            "        #pragma unroll",
            *(f"        {line}" for line in every),
            f"            {masked}",
            "      }",
        ]

    def _finish(self, stored: str) -> list[str]:
        """The sums of a tile become rows of y, 16 bytes a thread."""
        return [
            "      #pragma unroll",
            "      for (int h = 0; h < 2; h++) {",
            "        total[h] += __shfl_xor_sync(~0u, total[h], 1);",
            "        total[h] += __shfl_xor_sync(~0u, total[h], 2);",
            "        const float factor = total[h] == 0.0f ? 0.0f : quick_div(1.0f, total[h]);",
            "        u8* to = y + sample * yn + head * yh + (i64)(row + 8 * h) * ys + 16 * t;",
            "        #pragma unroll",
            "        for (int i = 0; i < E / 32; i++) {",
            "          Lanes<u32, 4> words;",
            "          #pragma unroll",
            "          for (int j = 0; j < 4; j++)",
            f"            words.word[j] = narrow2(sums[4 * i + j][2 * h] * factor, sums[4 * i + j][2 * h + 1] * factor, {stored}());",
            "          gather_words(words.word, t);",
            "          if (row + 8 * h < queries) put_chunks<4>((u32*)(to + 64 * i), words);",
            "        }",
            "      }",
        ]
