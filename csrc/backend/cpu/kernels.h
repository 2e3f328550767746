// What an instruction path implements: plain functions on plain data, so that files compiled for
// AVX-512 share no inline code with files that must run without it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hearth {

/// Tokens that go through the weights together: their activations stay in L1 and L2 meanwhile.
inline constexpr int kTokenBlock = 32;

/// How far ahead of its reads a kernel prefetches weights: with 2 KiB one thread reads 8.0 bytes a
/// cycle, without 6.0 (Zen 3, Q4_1, one token, cold; 1 KiB 6.3, 4 KiB 7.8).
inline constexpr size_t kPrefetchBytes = 2048;

/// Packed tiles that lie behind one another (packing.h).
struct TileRun {
  const std::byte* tiles;
  size_t tile_bytes;
  int32_t num_tiles;
  int32_t cols;
  uint32_t dtype;  // HEARTH_DTYPE_*
};

/// Activations of one token block in int8, symmetric, one scale per 32 columns: x = scale * value.
struct Int8Tokens {
  const int8_t* values;  // [cols / 32][num_tokens][32], within [-127, 127]
  const float* scales;   // [cols / 32][num_tokens]
  const float* sums;     // [cols / 32][num_tokens] sum of the 32 values
  int32_t num_tokens;    // 1 to kTokenBlock
};

/// A NormView without its header.
struct NormRow {
  uint32_t kind;  // HEARTH_NORM_*
  const float* weight;
  const float* bias;  // may be null
  int32_t size;
  float eps;
};

struct Kernels {
  const char* linear_int8_name;
  const char* linear_f32_name;

  /// c[t, r] = sum over k of W[r, k] x[t, k] for the rows of a run; c is [num_tokens, 16
  /// num_tiles]. The 32 products of a group are added exactly, the groups in order, in fp32.
  void (*linear_int8)(const TileRun& run, const Int8Tokens& x, float* c);
  /// The same with fp32 activations [num_tokens, x_stride] over the dequantized weight: fp32 sums
  /// of 64 columns, added in order.
  void (*linear_f32)(const TileRun& run, const float* x, int32_t x_stride, int32_t num_tokens,
                     float* c);
  /// Quantizes a token's row. Values of its group g go to values + g * value_stride, scale and sum
  /// to [g * stride].
  void (*quantize)(const float* x, int32_t cols, int8_t* values, float* scales, float* sums,
                   int32_t stride);
  /// out = norm(x); out may be x.
  void (*norm)(const NormRow& norm, const float* x, float* out);
  /// gate = act(gate) * up, elementwise; up null: gate = act(gate).
  void (*activate)(uint32_t activation, float* gate, const float* up, int32_t count);
  /// Runs the int8 multiply-add of linear_int8 in registers alone; returns how many operations that
  /// were (2 per multiply-add).
  double (*int8_peak)(int32_t repeats);
  /// Loads every byte (a multiple of 256) and drops it.
  void (*read)(const std::byte* from, size_t bytes);
};

enum class Isa : uint32_t;

/// The kernels of an instruction path, which this CPU must have.
const Kernels& kernels_of(Isa isa);

extern const Kernels kKernelsGeneric;
#if defined(__x86_64__)
extern const Kernels kKernelsAvx2;
extern const Kernels kKernelsAvx512;
/// Those of AVX-512, with AMX for many tokens.
Kernels amx_kernels();
#endif

}  // namespace hearth
