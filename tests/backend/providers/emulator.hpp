// CUDA's execution model for one block at a time: threads are fibers that take turns at barriers and shuffles.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
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
struct Fiber { ucontext_t context; dim3 place, block; int rank; bool done; std::unique_ptr<char[]> stack; unsigned long long given; u32 fragment[6]; unsigned seen; };
constexpr int STACK = 1 << 17;
static std::vector<Fiber*> fibers;
static std::vector<Barrier> warps, blocks;  // of the cluster whose turn it is
static Barrier turns[3];
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
static void __syncthreads() { wait_at(blocks[fibers[current]->rank]); }
static void __syncwarp(unsigned = 0) { wait_at(warps[current / 32]); }
template <typename T> static T exchange(T value, int lane) {
  static_assert(sizeof(T) <= 8, "a shuffle moves 8 bytes at most");
  Fiber* own = fibers[current];
  std::memcpy(&own->given, &value, sizeof(T));
  __syncwarp();
  const int base = current / 32 * 32, from = base + lane;
  T result = value;
  if (from < (int)fibers.size() && from < (int)(blockDim.x * blockDim.y * blockDim.z * blocks.size())) std::memcpy(&result, &fibers[from]->given, sizeof(T));
  __syncwarp();
  return result;
}
template <typename T> static T __shfl_xor_sync(unsigned, T value, int mask) { return exchange(value, (current % 32) ^ mask); }
template <typename T> static T __shfl_down_sync(unsigned, T value, unsigned delta) {
  const int lane = current % 32;
  return exchange(value, lane + (int)delta < 32 ? lane + (int)delta : lane);
}
static int __any_sync(unsigned, int some) {
  for (int mask = 16; mask; mask /= 2) some |= __shfl_xor_sync(~0u, some, mask);
  return some;
}
template <typename T> static T __shfl_sync(unsigned, T value, int lane) { return exchange(value, lane); }
template <typename T> static T atomicAdd(T* to, T value) { const T before = *to; *to += value; return before; }
static unsigned __ballot_sync(unsigned, int some) {
  unsigned all = (some != 0 ? 1u : 0u) << current % 32;
  for (int mask = 16; mask; mask /= 2) all |= __shfl_xor_sync(~0u, all, mask);
  return all;
}

static void enter_fiber() {
  body();
  Fiber* own = fibers[current];
  own->done = true;
  alive--;
  everybody.members--; everybody.release();
  blocks[own->rank].members--; blocks[own->rank].release();
  warps[current / 32].members--; warps[current / 32].release();
  yield_fiber();
}
// `cluster` blocks that follow each other along z run side by side.
template <typename F> static void run_blocks(const unsigned* grid, const unsigned* block, unsigned cluster, F kernel) {
  body = kernel;
  gridDim = {grid[0], grid[1], grid[2]}; blockDim = {block[0], block[1], block[2]};
  const int own = block[0] * block[1] * block[2], threads = own * cluster;
  while ((int)fibers.size() < threads) { fibers.push_back(new Fiber()); fibers.back()->stack.reset(new char[STACK]); }
  for (unsigned z = 0; z < grid[2]; z += cluster) for (unsigned y = 0; y < grid[1]; y++) for (unsigned x = 0; x < grid[0]; x++) {
    alive = threads; everybody = Barrier(); everybody.members = threads;
    warps.assign((threads + 31) / 32, Barrier());
    blocks.assign(cluster, Barrier());
    for (Barrier& turn : turns) turn = Barrier();
    for (int k = 0; k < threads; k++) {
      Fiber* f = fibers[k];
      const unsigned t = k % own;
      f->done = false;
      f->rank = k / own;
      f->block = {x, y, z + f->rank};
      f->place = {t % block[0], t / block[0] % block[1], t / (block[0] * block[1])};
      warps[k / 32].members++; blocks[f->rank].members++;
      getcontext(&f->context);
      f->context.uc_stack.ss_sp = f->stack.get(); f->context.uc_stack.ss_size = STACK; f->context.uc_link = &scheduler;
      makecontext(&f->context, enter_fiber, 0);
    }
    while (alive) for (int k = 0; k < threads; k++) {
      if (fibers[k]->done) continue;
      current = k; threadIdx = fibers[k]->place; blockIdx = fibers[k]->block;
      swapcontext(&scheduler, &fibers[k]->context);
    }
  }
}
template <typename... A, std::size_t... I> static void call_with(void (*f)(A...), void** arguments, std::index_sequence<I...>) {
  f(*(A*)arguments[I]...);
}
template <typename... A> static void call(void (*f)(A...), void** arguments) { call_with(f, arguments, std::index_sequence_for<A...>()); }

static float __uint_as_float(u32 bits) { float x; std::memcpy(&x, &bits, 4); return x; }
static u32 __byte_perm(u32 x, u32 y, u32 selector) {
  const u64 both = x | (u64)y << 32;
  u32 z = 0;
  for (int k = 0; k < 4; k++) z |= (u32)(both >> (8 * (selector >> (4 * k) & 7)) & 0xff) << (8 * k);
  return z;
}
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
template <typename T> static u32 maximum2(u32 x, u32 y, T) {
  T a, b; float high[2];
  for (int k = 0; k < 2; k++) { a.bits = x >> (16 * k); b.bits = y >> (16 * k); high[k] = maximum(widen(a), widen(b)); }
  return narrow2(high[0], high[1], T());
}
static float __fmul_rn(float x, float y) { return x * y; }
DEVICE float quick_exp(float x) { return std::exp(x); }
DEVICE float quick_exp2(float x) { return std::exp2(x); }
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
static float cut_tf32(u32 x) { return __uint_as_float(x & ~0x1fffu); }
static void multiply(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1, float) {
  Fiber* own = fibers[current];
  for (int k = 0; k < 4; k++) own->fragment[k] = a[k];
  own->fragment[4] = b0; own->fragment[5] = b1;
  __syncwarp();
  const int base = current / 32 * 32, g = current % 32 / 4, t = current % 4;
  for (int r = 0; r < 4; r++) for (int k = 0; k < 8; k++)
    d[r] += cut_tf32(fibers[base + g * 4 + k % 4]->fragment[k / 4 * 2 + r / 2])
          * cut_tf32(fibers[base + (2 * t + r % 2) * 4 + k % 4]->fragment[4 + k / 4]);
  __syncwarp();
}
template <typename T> static void multiply(float (&d)[4], const u32 (&a)[2], u32 b0, T kind) {
  const u32 b[1] = {b0};
  multiply_with(d, a, b, kind);
}

// Shared memory by block of a cluster, and what copies into it and reads of it do at once.
#define CLUSTER(blocks)
#define SHARED_MEMORY(name) u8* name = shared_memory[fibers[current]->rank]
alignas(1024) static u8 shared_memory[16][228 * 1024];
struct Arrivals { u16 count, left, phase; short bytes; };  // announced and not yet there, in sixteens
static void start_barrier(u64* barrier, u32 count) { *(Arrivals*)barrier = {(u16)count, (u16)count, 0, 0}; }
static void publish_barriers() {}
static void count_down(u64* barrier, int arrived, int bytes) {
  Arrivals* a = (Arrivals*)barrier;
  a->left -= arrived; a->bytes -= bytes / 16;
  if (a->left == 0 && a->bytes == 0) { a->left = a->count; a->phase ^= 1; }
}
static void arrive_at(u64* barrier) { count_down(barrier, 1, 0); }
static void arrive_copied(u64* barrier) { arrive_at(barrier); }
static void announce(u64* barrier, u32 bytes) { ((Arrivals*)barrier)->bytes += bytes / 16; count_down(barrier, 1, 0); }
static void wait_at(u64* barrier, u32 parity) { while (((volatile Arrivals*)barrier)->phase == parity) yield_fiber(); }
static void copy_bytes(void* to, const void* from, u32 bytes, u64* barrier) { std::memcpy(to, from, bytes); arrive_copied(barrier); }
static void copy_16(void* to, const void* from, bool there) {
  if (there) std::memcpy(to, from, 16); else std::memset(to, 0, 16);
}
static void read_fragments(u32 (&to)[4], const void* row) {
  fibers[current]->given = (unsigned long long)row;
  __syncwarp();
  const int base = current / 32 * 32, lane = current % 32;
  for (int k = 0; k < 4; k++) to[k] = ((const u32*)fibers[base + 8 * k + lane / 4]->given)[lane % 4];
  __syncwarp();
}
static void read_other(const float* from, u32 rank, float (&to)[4]) {
  std::memcpy(to, shared_memory[rank] + ((const u8*)from - shared_memory[fibers[current]->rank]), 16);
}
static u32 cluster_rank() { return fibers[current]->rank; }
static void cluster_arrive() {
  fibers[current]->seen = everybody.generation;
  everybody.waiting++;
  everybody.release();
}
static void cluster_wait() { while (everybody.generation == fibers[current]->seen) yield_fiber(); }
template <typename T> static T* at_block(T* own, u32 rank) {
  return (T*)(shared_memory[rank] + ((u8*)own - shared_memory[fibers[current]->rank]));
}
static void arrive_at_block(u64* barrier, u32 rank) { arrive_at(at_block(barrier, rank)); }
template <int BLOCKS> static void copy_to_blocks(void* to, const void* from, u32 bytes, u64* barrier) {
  const int first = BLOCKS == 1 ? fibers[current]->rank : 0;
  for (int rank = first; rank < first + BLOCKS; rank++) {
    std::memcpy(at_block((u8*)to, rank), from, bytes);
    count_down(at_block(barrier, rank), 0, bytes);
  }
}
// A map holds the matrix's address, columns, rows, the distance of rows in elements, and the rows and columns of a tile.
#define CONSTANT_ARGUMENT const
struct TensorMap { u64 at[16]; };
static void fetch_map(const TensorMap*) {}
template <typename T> static void copy_elements(T* to, const TensorMap* map, int column, int row, u64* barrier, T (*made)(T)) {
  const T* from = (const T*)map->at[0];
  const int columns = map->at[1], rows = map->at[2], box = map->at[4], width = map->at[5], each = 16 / sizeof(T);
  for (int r = 0; r < box; r++) for (int k = 0; k < width; k++) {
    const int place = width == 8 * each ? (k / each ^ r % 8) * each | k % each : k;
    to[r * width + place] = row + r < rows && column + k < columns ? made(from[(row + r) * map->at[3] + column + k]) : 0;
  }
  count_down(barrier, 0, box * width * sizeof(T));
}
static void copy_tile(void* to, const TensorMap* map, int column, int row, u64* barrier) {
  if (map->at[6] == 2) copy_elements<u16>((u16*)to, map, column, row, barrier, [](u16 x) { return x; });
  else copy_elements<u32>((u32*)to, map, column, row, barrier, [](u32 x) { return x + 0x1000 & ~0x1fffu; });
}
static void expect_bytes(u64* barrier, u32 bytes) { *barrier = bytes; }
static void wait_for_bytes(u64* barrier) { while (*(volatile u64*)barrier) yield_fiber(); }
static void send(float* own, u32 rank, const float (&x)[4], u64* barrier) {
  std::memcpy(at_block(own, rank), x, 16);
  *at_block(barrier, rank) -= 16;
}
// Phases that end with as many bytes as are announced, once in each.
struct Phases { int bytes; u16 announced, phase; };
static void start_phases(u64* barrier) { *(Phases*)barrier = {0, 0, 0}; }
static void publish_phases() { cluster_arrive(); cluster_wait(); }
static void count_words(u64* barrier, int bytes, int announced) {
  Phases* p = (Phases*)barrier;
  p->bytes += bytes; p->announced |= announced;
  if (p->announced && p->bytes == 0) { p->announced = 0; p->phase ^= 1; }
}
static void announce_words(u64* barrier, u32 bytes) { count_words(barrier, bytes, 1); }
static void await_words(u64* barrier, u32 parity) { while (((volatile Phases*)barrier)->phase == parity) yield_fiber(); }
static void send_word(float* own, u32 rank, float x, u64* barrier) {
  *at_block(own, rank) = x;
  count_words(at_block(barrier, rank), -4, 0);
}
static void pin(float&) {}
// Four products of bytes.
template <bool A, bool B> static int dot4(u32 a, u32 b, int c) {
  for (int k = 0; k < 32; k += 8) c += (A ? (int)(i8)(a >> k) : (int)(u8)(a >> k)) * (B ? (int)(i8)(b >> k) : (int)(u8)(b >> k));
  return c;
}
static void copies_done() {}
static void close_copies() {}
template <int N> static void await_copies() {}
static void read_columns(u32 (&to)[4], const void* row) {
  fibers[current]->given = (unsigned long long)row;
  __syncwarp();
  const int base = current / 32 * 32, g = current % 32 / 4, t = current % 4;
  for (int k = 0; k < 4; k++) {
    const auto element = [&](int r) { return (u32)((const u16*)fibers[base + 8 * k + r]->given)[g]; };
    to[k] = element(2 * t) | element(2 * t + 1) << 16;
  }
  __syncwarp();
}
static void begin_products() {}
static void end_products() {}
template <int N> static void wait_products() {}
// wgmma, from shared memory: a warp has 16 of the 64 rows.
template <typename T> static float factor(T x) { return widen(x); }
static float factor(float x) { return cut_tf32(__float_as_uint(x)); }
template <typename T, int N> static void multiply_rows(float (&d)[N][4], const void* a, const void* b, int step, T) {
  constexpr int each = 16 / sizeof(T);
  const auto at = [step](const void* tile, int row, int k) {
    return factor(((const T*)tile)[row * 8 * each + ((step * 2 + k / each) ^ row % 8) * each + k % each]);
  };
  const int lane = current % 32, first = current / 32 % 4 * 16;
  for (int n = 0; n < N; n++) for (int r = 0; r < 4; r++) for (int k = 0; k < 2 * each; k++)
    d[n][r] += at(a, first + lane / 4 + r / 2 * 8, k) * at(b, n * 8 + lane % 4 * 2 + r % 2, k);
}
template <typename T, int N> static void multiply_rows(float (&d)[N][4], const void* a, const void* b, int step, bool add, T kind) {
  if (!add) for (auto& row : d) for (float& x : row) x = 0;
  multiply_rows(d, a, b, step, kind);
}
// The same with a in registers, and b as 16 rows of planes of 64 columns, KEYS rows apart.
template <int KEYS, typename T, int N> static void multiply_weights(float (&d)[N][4], const u32 (&a)[4], const void* v, int step, T) {
  Fiber* own = fibers[current];
  for (int k = 0; k < 4; k++) own->fragment[k] = a[k];
  __syncwarp();
  const int base = current / 32 * 32, g = current % 32 / 4, t = current % 4;
  for (int n = 0; n < N; n++) for (int r = 0; r < 4; r++) for (int k = 0; k < 16; k++) {
    const int row = step * 16 + k, column = n * 8 + t * 2 + r % 2;
    T x, y = ((const T*)v)[column / 64 * (KEYS * 64) + row * 64 + (column % 64 / 8 ^ row % 8) * 8 + column % 8];
    x.bits = fibers[base + g * 4 + k % 8 / 2]->fragment[k / 8 * 2 + r / 2] >> (k % 2 * 16);
    d[n][r] += widen(x) * widen(y);
  }
  __syncwarp();
}
template <int N> static void lower_registers() {}
template <int N> static void raise_registers() {}
template <typename T> static void pin(T&) {}
// Groups of warps take turns at barriers of 256 threads.
static void give_turn(int group) {
  Barrier& barrier = turns[group];
  barrier.members = 256; barrier.waiting++; barrier.release();
}
static void await_turn(int group) {
  const unsigned seen = turns[group].generation;
  give_turn(group);
  while (turns[group].generation == seen) yield_fiber();
}
