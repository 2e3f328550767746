// The int8 linear kernel for AMX: many tokens by a tile's 16 rows in the matrix unit.
//
//   c[t, r] = Σ_k W[r, k] x[t, k]
//
// Shapes    c [num_tokens, 16 num_tiles] f32 · x int8 by groups of 32
// int8      A group unpacked, [8][16 rows][4 columns] unsigned, is tdpbsud's right operand as it
//           is; the activations of up to 16 tokens, [16][32] signed, are the left one. A group's
//           sums go through L1 to AVX-512, which scales and adds them as linear_avx512.cpp does:
//           integers are exact, so that both kernels give the same bits.
// Work      32 tokens: two left operands and two sums a group. Few tokens go to vpdpbusd, which
//           needs no round trip through L1.
// Bytes     the run's tiles once (cost.h: linear_cost)
// Checked   tests/kernels on a Xeon of family 6, model 207 (Sapphire or Emerald Rapids)
#include "quants_avx512.h"

namespace hearth {
namespace {

constexpr int kTileTokens = 16;  // rows of a tile register
constexpr int kFewTokens = 8;    // below this vpdpbusd does it

// Tile registers; g++'s intrinsics paste their numbers into assembly, so that they must be
// literals.
#define HEARTH_SUMS_0 0
#define HEARTH_SUMS_1 1
#define HEARTH_TOKENS_0 2
#define HEARTH_TOKENS_1 3
#define HEARTH_WEIGHTS 4

struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

// g++ 12 does not tell the compiler that tile instructions read memory: what was written must be
// there before them.
inline void finish_stores() { asm volatile("" : : : "memory"); }

void configure_tiles(int32_t num_tokens, int32_t cols) {
  const int32_t first = num_tokens < kTileTokens ? num_tokens : kTileTokens;
  const int32_t second = num_tokens - first > 0 ? num_tokens - first : 1;
  TileConfig config;
  const auto set = [&config](int tile, int32_t rows, int32_t row_bytes) {
    config.rows[tile] = uint8_t(rows);
    config.row_bytes[tile] = uint16_t(row_bytes);
  };
  set(HEARTH_SUMS_0, first, kRows * 4);
  set(HEARTH_SUMS_1, second, kRows * 4);
  set(HEARTH_TOKENS_0, first, cols);
  set(HEARTH_TOKENS_1, second, cols);
  set(HEARTH_WEIGHTS, cols / 4, kRows * 4);
  asm volatile("" : : "r"(&config) : "memory");
  _tile_loadconfig(&config);
}

template <uint32_t kDType>
void linear_int8_tile(const std::byte* tile, int32_t num_groups, const Int8Tokens& x, float* c,
                      int32_t c_stride) {
  const int32_t num_tokens = x.num_tokens;
  for (int32_t t = 0; t < num_tokens; ++t) {
    _mm512_storeu_ps(c + size_t(t) * c_stride, _mm512_setzero_ps());
  }
  alignas(64) int32_t dots[kTokenBlock][kRows];
  alignas(64) std::byte quants[8 * 64];
  for (int32_t g = 0; g < num_groups; ++g) {
    const std::byte* from = tile + g * group_bytes(kDType);
    prefetch_ahead(from, group_bytes(kDType));
    const Group<kDType> group(from);
    for (int i = 0; i < 8; ++i) _mm512_storeu_si512(quants + i * 64, group.quants[i]);
    finish_stores();

    const int8_t* values = x.values + size_t(g) * num_tokens * kGroupCols;
    _tile_loadd(HEARTH_WEIGHTS, quants, 64);
    _tile_loadd(HEARTH_TOKENS_0, values, kGroupCols);
    _tile_zero(HEARTH_SUMS_0);
    _tile_dpbsud(HEARTH_SUMS_0, HEARTH_TOKENS_0, HEARTH_WEIGHTS);
    _tile_stored(HEARTH_SUMS_0, dots, kRows * 4);
    if (num_tokens > kTileTokens) {
      _tile_loadd(HEARTH_TOKENS_1, values + kTileTokens * kGroupCols, kGroupCols);
      _tile_zero(HEARTH_SUMS_1);
      _tile_dpbsud(HEARTH_SUMS_1, HEARTH_TOKENS_1, HEARTH_WEIGHTS);
      _tile_stored(HEARTH_SUMS_1, dots + kTileTokens, kRows * 4);
    }
    finish_stores();

    const float* scales = x.scales + size_t(g) * num_tokens;
    const float* sums = x.sums + size_t(g) * num_tokens;
    float* out = c;
    for (int32_t t = 0; t < num_tokens; ++t, out += c_stride) {
      _mm512_storeu_ps(
          out, group.finish(_mm512_loadu_si512(dots[t]), scales[t], sums[t], _mm512_loadu_ps(out)));
    }
  }
}

template <uint32_t kDType>
void linear_int8_of(const TileRun& run, const Int8Tokens& x, float* c) {
  configure_tiles(x.num_tokens, kGroupCols);
  for (int32_t i = 0; i < run.num_tiles; ++i) {
    linear_int8_tile<kDType>(run.tiles + i * run.tile_bytes, run.cols / kGroupCols, x,
                             c + i * kRows, run.num_tiles * kRows);
  }
  _tile_release();  // so that the kernel need not save 8 KiB when it switches threads
}

void linear_int8(const TileRun& run, const Int8Tokens& x, float* c) {
  if (x.num_tokens < kFewTokens) return kKernelsAvx512.linear_int8(run, x, c);
  switch (run.dtype) {
    case kQ8_0: return linear_int8_of<kQ8_0>(run, x, c);
    case kQ4_0: return linear_int8_of<kQ4_0>(run, x, c);
    case kQ4_1: return linear_int8_of<kQ4_1>(run, x, c);
  }
}

double int8_peak(int32_t repeats) {
  configure_tiles(2 * kTileTokens, 64);
  alignas(64) const std::byte operand[16 * 64] = {};
  _tile_loadd(HEARTH_WEIGHTS, operand, 64);
  _tile_loadd(HEARTH_TOKENS_0, operand, 64);
  _tile_loadd(HEARTH_TOKENS_1, operand, 64);
  _tile_zero(HEARTH_SUMS_0);
  _tile_zero(HEARTH_SUMS_1);
  for (int32_t repeat = 0; repeat < repeats; ++repeat) {
    _tile_dpbsud(HEARTH_SUMS_0, HEARTH_TOKENS_0, HEARTH_WEIGHTS);
    _tile_dpbsud(HEARTH_SUMS_1, HEARTH_TOKENS_1, HEARTH_WEIGHTS);
  }
  _tile_release();
  return 2.0 * 2 * kTileTokens * kRows * 64 * repeats;
}

}  // namespace

Kernels amx_kernels() {
  Kernels kernels = kKernelsAvx512;
  kernels.linear_int8_name = "amx tdpbsud 16x16, avx512 vpdpbusd 16x4";
  kernels.linear_int8 = linear_int8;
  kernels.int8_peak = int8_peak;
  return kernels;
}

}  // namespace hearth
