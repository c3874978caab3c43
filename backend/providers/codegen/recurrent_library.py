"""What kernels of recurrent layers call: numbers sent between blocks of a cluster, sums over lanes, activations."""

from __future__ import annotations

from trtn.backend.providers.codegen.expressions import literal

__all__ = ["LIBRARY", "MACHINE", "Activation", "activated"]

Activation = tuple[str, float, float]
"""A name of dsl.ops.gates, its alpha and its beta."""

MACHINE = r"""
DEVICE void pin(float& x) { asm volatile("" : "+f"(x)); }
// A barrier whose phases end with as many bytes as are announced, once in each.
DEVICE void start_phases(u64* barrier) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" :: "r"((u32)__cvta_generic_to_shared(barrier)) : "memory");
}
// Once all threads of the cluster have come here, each sees the barriers and the memory of all.
DEVICE void publish_phases() {
  asm volatile("fence.mbarrier_init.release.cluster;\nbarrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}
DEVICE void announce_words(u64* barrier, u32 bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;"
               :: "r"((u32)__cvta_generic_to_shared(barrier)), "r"(bytes) : "memory");
}
DEVICE void await_words(u64* barrier, u32 parity) {
  asm volatile("{\n.reg .pred p;\nWAIT:\nmbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%0], %1;\n@p bra DONE;\nbra WAIT;\nDONE:\n}"
               :: "r"((u32)__cvta_generic_to_shared(barrier)), "r"(parity) : "memory");
}
// Sends a number to where block `rank` has what this one has at `own`, and tells its barrier.
DEVICE void send_word(float* own, u32 rank, float x, u64* barrier) {
  u32 to, there;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(to) : "r"((u32)__cvta_generic_to_shared(own)), "r"(rank));
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"((u32)__cvta_generic_to_shared(barrier)), "r"(rank));
  asm volatile("st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.f32 [%0], %1, [%2];"
               :: "r"(to), "f"(x), "r"(there) : "memory");
}
"""
"""What depends on the machine: the emulator of the tests has its own."""

LIBRARY = r"""
DEVICE float logistic(float x) { return 1.0f / (1.0f + exp(-x)); }
struct alignas(16) Four { float at[4]; };
// The sums of N values over LANES neighbours. While there are sequences to choose from, a lane goes on with half of them.
template <int LANES, int M, int G, typename T> DEVICE void fold(T (&x)[M][G]) {
  #pragma unroll
  for (int width = LANES / 2, left = M / 2; width; width /= 2, left /= 2) {
    const bool high = threadIdx.x & width;
    if (left) {
      #pragma unroll
      for (int m = 0; m < left; m++)
        #pragma unroll
        for (int g = 0; g < G; g++) {
          const T given = high ? x[m][g] : x[m + left][g], kept = high ? x[m + left][g] : x[m][g];
          x[m][g] = kept + __shfl_xor_sync(~0u, given, width);
        }
    } else {
      #pragma unroll
      for (int g = 0; g < G; g++) x[0][g] += __shfl_xor_sync(~0u, x[0][g], width);
    }
  }
}
"""


def activated(activation: Activation, x: str) -> str:
    """An activation of dsl.ops.gates of the variable `x`."""
    name, alpha, beta = activation[0], *(literal(v, "f32") for v in activation[1:])
    return {
        "sigmoid": f"logistic({x})",
        "tanh": f"tanh({x})",
        "relu": f"maximum({x}, 0.0f)",
        "affine": f"{x} * {alpha} + {beta}",
        "leaky_relu": f"({x} < 0.0f ? {alpha} * {x} : {x})",
        "thresholded_relu": f"({x} > {alpha} ? {x} : 0.0f)",
        "scaled_tanh": f"{alpha} * tanh({x} * {beta})",
        "hard_sigmoid": f"minimum(maximum({x} * {alpha} + {beta}, 0.0f), 1.0f)",
        "elu": f"({x} < 0.0f ? {alpha} * expm1({x}) : {x})",
        "softsign": f"{x} / (1.0f + fabsf({x}))",
        "softplus": f"softplus({x})",
    }[name]
