"""Clusters of thread blocks: blocks, along the grid's third axis, that run side by side, wait for each other, and write to each other's shared memory.
Compute capability 9.0 has them.
"""

from __future__ import annotations

from typing import Any

__all__ = ["LIBRARY", "PORTABLE", "SHARED", "allow"]

PORTABLE = 8
"""Blocks of a cluster that every GPU with clusters takes; larger ones must be allowed for each kernel."""
SHARED = 227 * 1024
"""Bytes of dynamic shared memory that a block may have."""
_NON_PORTABLE_CLUSTER_SIZE_ALLOWED = 14
"""A CUfunction_attribute of cuda.h that CuPy has no name for."""

LIBRARY = r"""
#define CLUSTER(blocks) __cluster_dims__(1, 1, blocks)
#define SHARED_MEMORY(name) extern __shared__ __align__(1024) u8 name[]
DEVICE u32 cluster_rank() { u32 rank; asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank)); return rank; }
// Blocks have begun once all threads of the cluster have done both. No memory is made visible but for `expect_bytes`.
DEVICE void cluster_arrive() {
  asm volatile("fence.mbarrier_init.release.cluster; barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
}
DEVICE void cluster_wait() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }
// One thread says how many bytes other blocks will send; all of them are there after `wait_for_bytes`.
DEVICE void expect_bytes(u64* barrier, u32 bytes) {
  const u32 at = (u32)__cvta_generic_to_shared(barrier);
  asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;\nmbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" :: "r"(at), "r"(bytes) : "memory");
}
DEVICE void wait_for_bytes(u64* barrier) {
  asm volatile("{\n.reg .pred p;\nWAIT:\nmbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%0], 0;\n@p bra DONE;\nbra WAIT;\nDONE:\n}"
               :: "r"((u32)__cvta_generic_to_shared(barrier)) : "memory");
}
// Sends 16 bytes to where block `rank` has what this one has at `own`, and tells its barrier.
DEVICE void send(float* own, u32 rank, const float (&x)[4], u64* barrier) {
  u32 to, there;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(to) : "r"((u32)__cvta_generic_to_shared(own)), "r"(rank));
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"((u32)__cvta_generic_to_shared(barrier)), "r"(rank));
  asm volatile("st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.f32 [%0], {%1, %2, %3, %4}, [%5];"
               :: "r"(to), "f"(x[0]), "f"(x[1]), "f"(x[2]), "f"(x[3]), "r"(there) : "memory");
}
// 16 bytes to shared memory, zeros where there are none; they are there after `copies_done`, for the thread that asked.
DEVICE void copy_16(void* to, const void* from, bool there) {
  const int bytes = there ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :: "r"((u32)__cvta_generic_to_shared(to)), "l"(from), "r"(bytes) : "memory");
}
DEVICE void copies_done() { asm volatile("cp.async.wait_all;" ::: "memory"); }
"""
"""What depends on the machine: the emulator of the tests has its own."""


def allow(function: Any, blocks: int) -> None:
    """Let a loaded kernel run in clusters of so many blocks. Raises CUDADriverError where the GPU has none so large."""
    if blocks > PORTABLE:
        from cupy.cuda import driver

        driver.funcSetAttribute(function.ptr, _NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1)
