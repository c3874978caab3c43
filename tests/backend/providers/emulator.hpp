// CUDA's execution model for one block at a time: threads are fibers that take turns at barriers and shuffles.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <ucontext.h>
#include <utility>
#include <vector>
using std::abs; using std::acos; using std::acosh; using std::asin; using std::asinh; using std::atan; using std::atan2;
using std::atanh; using std::ceil; using std::copysign; using std::cos; using std::cosh; using std::erf; using std::exp;
using std::expm1; using std::floor; using std::fmod; using std::log; using std::log1p; using std::pow; using std::rint;
using std::sin; using std::sinh; using std::sqrt; using std::tan; using std::tanh; using std::fma;
typedef signed char i8; typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32;
typedef long long i64; typedef unsigned long long u64;
struct f16 { u16 bits; };
struct bf16 { u16 bits; };
struct dim3 { unsigned x, y, z; };
struct alignas(8) uint2 { u32 x, y; };
struct alignas(16) uint4 { u32 x, y, z, w; };
#define DEVICE inline
#define __shared__ static
#define __launch_bounds__(...)
#define __restrict__ __restrict
#define LET_NEXT_START()
#define WAIT_FOR_INPUTS()

struct Barrier {
  int waiting = 0, members = 0;
  unsigned generation = 0;
  void release() { if (waiting && waiting >= members) { waiting = 0; generation++; } }
};
struct Fiber { ucontext_t context; dim3 place; bool done; std::vector<char> stack; unsigned long long given; u32 fragment[6]; };
static std::vector<Fiber*> fibers;
static std::vector<Barrier> warps;
static Barrier everybody;
static ucontext_t scheduler;
static int current = 0, alive = 0;
static std::function<void()> body;
static dim3 threadIdx, blockIdx, blockDim, gridDim;

static void yield_fiber() { swapcontext(&fibers[current]->context, &scheduler); }
static void wait_at(Barrier& barrier) {
  const unsigned seen = barrier.generation;
  barrier.waiting++;
  barrier.release();
  while (barrier.generation == seen) yield_fiber();
}
static void __syncthreads() { wait_at(everybody); }
static void __syncwarp(unsigned = 0) { wait_at(warps[current / 32]); }
template <typename T> static T exchange(T value, int lane) {
  static_assert(sizeof(T) <= 8, "a shuffle moves 8 bytes at most");
  Fiber* own = fibers[current];
  std::memcpy(&own->given, &value, sizeof(T));
  __syncwarp();
  const int base = current / 32 * 32, from = base + lane;
  T result = value;
  if (from < (int)fibers.size() && from < (int)(blockDim.x * blockDim.y * blockDim.z)) std::memcpy(&result, &fibers[from]->given, sizeof(T));
  __syncwarp();
  return result;
}
template <typename T> static T __shfl_xor_sync(unsigned, T value, int mask) { return exchange(value, (current % 32) ^ mask); }
template <typename T> static T __shfl_down_sync(unsigned, T value, unsigned delta) {
  const int lane = current % 32;
  return exchange(value, lane + (int)delta < 32 ? lane + (int)delta : lane);
}
template <typename T> static T __shfl_sync(unsigned, T value, int lane) { return exchange(value, lane); }

static void enter_fiber() {
  body();
  Fiber* own = fibers[current];
  own->done = true;
  alive--;
  everybody.members--; everybody.release();
  warps[current / 32].members--; warps[current / 32].release();
  yield_fiber();
}
template <typename F> static void run_blocks(const unsigned* grid, const unsigned* block, F kernel) {
  body = kernel;
  gridDim = {grid[0], grid[1], grid[2]}; blockDim = {block[0], block[1], block[2]};
  const int threads = block[0] * block[1] * block[2];
  while ((int)fibers.size() < threads) { fibers.push_back(new Fiber()); fibers.back()->stack.resize(1 << 17); }
  for (unsigned z = 0; z < grid[2]; z++) for (unsigned y = 0; y < grid[1]; y++) for (unsigned x = 0; x < grid[0]; x++) {
    blockIdx = {x, y, z};
    alive = threads; everybody = Barrier(); everybody.members = threads;
    warps.assign((threads + 31) / 32, Barrier());
    for (int t = 0; t < threads; t++) {
      Fiber* f = fibers[t];
      f->done = false;
      f->place = {t % block[0], t / block[0] % block[1], t / (block[0] * block[1])};
      warps[t / 32].members++;
      getcontext(&f->context);
      f->context.uc_stack.ss_sp = f->stack.data(); f->context.uc_stack.ss_size = f->stack.size(); f->context.uc_link = &scheduler;
      makecontext(&f->context, enter_fiber, 0);
    }
    while (alive) for (int t = 0; t < threads; t++) {
      if (fibers[t]->done) continue;
      current = t; threadIdx = fibers[t]->place;
      swapcontext(&scheduler, &fibers[t]->context);
    }
  }
}
template <typename... A, std::size_t... I> static void call_with(void (*f)(A...), void** arguments, std::index_sequence<I...>) {
  f(*(A*)arguments[I]...);
}
template <typename... A> static void call(void (*f)(A...), void** arguments) { call_with(f, arguments, std::index_sequence_for<A...>()); }

static float __uint_as_float(u32 bits) { float x; std::memcpy(&x, &bits, 4); return x; }
static u32 __float_as_uint(float x) { u32 bits; std::memcpy(&bits, &x, 4); return bits; }
DEVICE float widen(f16 x) { _Float16 y; std::memcpy(&y, &x.bits, 2); return (float)y; }
DEVICE float widen(bf16 x) { return __uint_as_float((u32)x.bits << 16); }
DEVICE void narrow(float x, f16& y) { _Float16 z = (_Float16)x; std::memcpy(&y.bits, &z, 2); }
DEVICE void narrow(float x, bf16& y) {
  const u32 bits = __float_as_uint(x);
  y.bits = x != x ? 0x7fff : (u16)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
template <typename T> static u32 narrow2(float x, float y, T) { T a, b; narrow(x, a); narrow(y, b); return a.bits | (u32)b.bits << 16; }
DEVICE float maximum(float x, float y) { return x > y || x != x ? x : y; }
DEVICE float minimum(float x, float y) { return x < y || x != x ? x : y; }
template <typename T> static u32 minimum2(u32 x, u32 y, T) {
  T a, b; float low[2];
  for (int k = 0; k < 2; k++) { a.bits = x >> (16 * k); b.bits = y >> (16 * k); low[k] = minimum(widen(a), widen(b)); }
  return narrow2(low[0], low[1], T());
}
DEVICE float quick_exp(float x) { return std::exp(x); }
DEVICE float quick_div(float x, float y) { return x / y; }
DEVICE float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
template <int N> static void read_here(const float* from, float (&to)[N]) { for (int k = 0; k < N; k++) to[k] = from[k]; }
DEVICE float infinity() { return __uint_as_float(0x7f800000u); }
DEVICE float not_a_number() { return __uint_as_float(0x7fffffffu); }

// mma.sync, from the fragments of all lanes: a[row, k], b[k, column], as the PTX manual lays them out.
template <typename T, int A, int B> static void multiply_with(float (&d)[4], const u32 (&a)[A], const u32 (&b)[B], T) {
  Fiber* own = fibers[current];
  for (int k = 0; k < A; k++) own->fragment[k] = a[k];
  for (int k = 0; k < B; k++) own->fragment[4 + k] = b[k];
  __syncwarp();
  const int base = current / 32 * 32, g = current % 32 / 4, t = current % 4;
  for (int r = 0; r < 4; r++) for (int octet = 0; octet < B; octet++) for (int k = 0; k < 8; k++) {
    T x, y;
    x.bits = fibers[base + g * 4 + k / 2]->fragment[2 * octet + r / 2] >> (k % 2 * 16);
    y.bits = fibers[base + (2 * t + r % 2) * 4 + k / 2]->fragment[4 + octet] >> (k % 2 * 16);
    d[r] += widen(x) * widen(y);
  }
  __syncwarp();
}
template <typename T> static void multiply(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1, T kind) {
  const u32 b[2] = {b0, b1};
  multiply_with(d, a, b, kind);
}
template <typename T> static void multiply(float (&d)[4], const u32 (&a)[2], u32 b0, T kind) {
  const u32 b[1] = {b0};
  multiply_with(d, a, b, kind);
}
