"""The CUDA C++ that every generated kernel starts with: storage types, vector loads and stores, reductions over
threads.

It needs no header, so that NVRTC alone compiles it, anywhere. Values are computed in `Compute<T>::type`: f32 for the
16-bit
floats, T itself for everything else.
"""

from __future__ import annotations

__all__ = ["COMPUTE_TYPES", "C_TYPES", "LIBRARY", "PRELUDE", "PRIMITIVES", "SUPPORTED"]

C_TYPES = {
    "f64": "double", "f32": "float", "f16": "f16", "bf16": "bf16", "i64": "i64", "i32": "int", "i16": "short", "i8": "i8",
    "u64": "u64", "u32": "u32", "u16": "u16", "u8": "u8", "bool": "bool",
}  # fmt: skip
"""How elements lie in memory, by dtype name."""
COMPUTE_TYPES = {**C_TYPES, "f16": "float", "bf16": "float"}
"""What they are computed in."""
SUPPORTED = frozenset(C_TYPES)
"""The dtypes that generated kernels take. 8-bit floats and 4-bit integers are left to others."""

PRIMITIVES = r"""
typedef signed char i8; typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32;
typedef long long i64; typedef unsigned long long u64;
struct f16 { u16 bits; };
struct bf16 { u16 bits; };
struct pair { u32 bits; };
#define DEVICE __device__ __forceinline__
DEVICE float widen(f16 x) { float y; asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits)); return y; }
DEVICE float widen(bf16 x) { return __uint_as_float((u32)x.bits << 16); }
DEVICE void narrow(float x, f16& y) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x)); }
DEVICE void narrow(float x, bf16& y) { asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x)); }
DEVICE u32 narrow2(float x, float y, f16) { u32 z; asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(z) : "f"(y), "f"(x)); return z; }
DEVICE u32 narrow2(float x, float y, bf16) { u32 z; asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(z) : "f"(y), "f"(x)); return z; }
DEVICE float maximum(float x, float y) { float z; asm("max.NaN.f32 %0, %1, %2;" : "=f"(z) : "f"(x), "f"(y)); return z; }
DEVICE float minimum(float x, float y) { float z; asm("min.NaN.f32 %0, %1, %2;" : "=f"(z) : "f"(x), "f"(y)); return z; }
DEVICE u32 minimum2(u32 x, u32 y, f16) { u32 z; asm("min.NaN.f16x2 %0, %1, %2;" : "=r"(z) : "r"(x), "r"(y)); return z; }
DEVICE u32 minimum2(u32 x, u32 y, bf16) { u32 z; asm("min.NaN.bf16x2 %0, %1, %2;" : "=r"(z) : "r"(x), "r"(y)); return z; }
DEVICE float quick_exp(float x) { return __expf(x); }
DEVICE float quick_exp2(float x) { float y; asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x)); return y; }
DEVICE float quick_div(float x, float y) { return __fdividef(x, y); }
// Reads that stay where they are written: constants of a loop that are read again in each turn leave registers free for more work
// at a time. They come from the first-level cache.
DEVICE void read_here(const float* from, float (&to)[1]) { asm volatile("ld.global.nc.f32 %0, [%1];" : "=f"(to[0]) : "l"(from)); }
DEVICE void read_here(const float* from, float (&to)[2]) {
  asm volatile("ld.global.nc.v2.f32 {%0, %1}, [%2];" : "=f"(to[0]), "=f"(to[1]) : "l"(from));
}
DEVICE void read_here(const float* from, float (&to)[4]) {
  asm volatile("ld.global.nc.v4.f32 {%0, %1, %2, %3}, [%4];" : "=f"(to[0]), "=f"(to[1]), "=f"(to[2]), "=f"(to[3]) : "l"(from));
}
// Programmatic dependent launch: the next kernel may start as soon as every block of this one has said so, and must not touch what
// kernels before it read or write until all of them are done. Every thread waits, so that who waits for it waits for them, too.
#if __CUDA_ARCH__ >= 900
#define LET_NEXT_START() asm volatile("griddepcontrol.launch_dependents;" ::: "memory")
#define WAIT_FOR_INPUTS() asm volatile("griddepcontrol.wait;" ::: "memory")
#else
#define LET_NEXT_START()
#define WAIT_FOR_INPUTS()
#endif
DEVICE float infinity() { return __uint_as_float(0x7f800000u); }
DEVICE float not_a_number() { return __uint_as_float(0x7fffffffu); }
"""
"""What depends on the machine: the emulator of the tests has its own."""

LIBRARY = r"""
template <typename T> struct Compute { typedef T type; };
template <> struct Compute<f16> { typedef float type; };
template <> struct Compute<bf16> { typedef float type; };
template <typename T> DEVICE T widen(T x) { return x; }
template <typename T> DEVICE void narrow(T x, T& y) { y = x; }
template <typename T> DEVICE T maximum(T x, T y) { return x > y || x != x ? x : y; }
template <typename T> DEVICE T minimum(T x, T y) { return x < y || x != x ? x : y; }
template <typename T> DEVICE T lower(T x, T y) { return x < y ? x : y; }
template <typename T> DEVICE typename Compute<T>::type rounded(typename Compute<T>::type x) {
  T y; narrow(x, y); return widen(y);
}

template <int N> struct Chunk;
template <> struct Chunk<1> { typedef u8 type; };
template <> struct Chunk<2> { typedef u16 type; };
template <> struct Chunk<4> { typedef u32 type; };
template <> struct Chunk<8> { typedef uint2 type; };
template <> struct Chunk<16> { typedef uint4 type; };
template <typename T, int V> union Lanes {
  static constexpr int bytes = sizeof(T) * V, step = bytes < 16 ? bytes : 16;
  typename Chunk<step>::type chunk[bytes / step];
  T at[V];
  u32 word[bytes < 4 ? 1 : bytes / 4];
};

// V neighbours in memory, in as few instructions as 16 bytes each allow. The address is a multiple of that.
template <int V, typename T> DEVICE void fetch_lanes(const T* __restrict__ from, Lanes<T, V>& lanes) {
  #pragma unroll
  for (int k = 0; k < lanes.bytes / lanes.step; k++) lanes.chunk[k] = ((const typename Chunk<Lanes<T, V>::step>::type*)from)[k];
}
template <int V, typename T> DEVICE void load(const T* __restrict__ from, typename Compute<T>::type (&to)[V]) {
  Lanes<T, V> lanes;
  fetch_lanes<V>(from, lanes);
  #pragma unroll
  for (int k = 0; k < V; k++) to[k] = widen(lanes.at[k]);
}
template <int V, typename T> DEVICE void put_lanes(const T (&from)[V], Lanes<T, V>& lanes, T) {
  #pragma unroll
  for (int k = 0; k < V; k++) lanes.at[k] = from[k];
}
template <int V, typename T> DEVICE void put_lanes(const float (&from)[V], Lanes<T, V>& lanes, T) {
  #pragma unroll
  for (int k = 0; k + 1 < V; k += 2) lanes.word[k / 2] = narrow2(from[k], from[k + 1], T());
  if (V % 2) narrow(from[V - 1], lanes.at[V - 1]);
}
template <int V> DEVICE void put_lanes(const float (&from)[V], Lanes<float, V>& lanes, float) {
  #pragma unroll
  for (int k = 0; k < V; k++) lanes.at[k] = from[k];
}
template <int V, typename T> DEVICE void put_chunks(T* __restrict__ to, const Lanes<T, V>& lanes) {
  #pragma unroll
  for (int k = 0; k < lanes.bytes / lanes.step; k++) ((typename Chunk<Lanes<T, V>::step>::type*)to)[k] = lanes.chunk[k];
}
template <int V, typename T> DEVICE void store(T* __restrict__ to, const typename Compute<T>::type (&from)[V]) {
  Lanes<T, V> lanes;
  put_lanes(from, lanes, T());
  put_chunks<V>(to, lanes);
}
template <typename T> DEVICE typename Compute<T>::type load(const T* from) { return widen(*from); }
template <typename T> DEVICE void store(T* to, typename Compute<T>::type x) { T y; narrow(x, y); *to = y; }
"""

PRELUDE = PRIMITIVES + LIBRARY
