// Which kernel takes an op: by the code that was loaded, dtype, shape and number of tokens. Host
// code without CUDA, so that the choice is tested where there is no GPU.
#pragma once

#include <string>

#include "../backend.h"
#include "loaded_code.h"

namespace hearth::cuda {

enum class LinearKernel { kExact, kStreamSm80, kStreamSm90, kGemmSm80, kGemmSm90 };
enum class AttentionKernel { kExact, kSm80, kSm90 };

/// Tokens up to which streaming the weights beats tiles: the tensor cores wait for memory. Weights
/// of many rows fill the device with tiles sooner.
inline constexpr int32_t kMaxStreamTokens = 64, kMaxWideStreamTokens = 16, kWideRows = 8192;

/// Warps up to which q, K and V are rotated where they are made, two strips of 16 rows and up to 16
/// tokens each: as many as an H100 runs at a time, one CTA a multiprocessor.
inline constexpr int32_t kMaxFusedWarps = 132 * 7;

struct DeviceTraits {
  LoadedCode code;     // not the device: kernels that it has no body for are not chosen
  bool exact = false;  // fp32 activations
};

/// What an op makes q, K and V of, and what it does with them.
struct QkvShape {
  DType q = DType::kF16, k = DType::kF16, v = DType::kF16;  // of the weights
  int32_t num_heads = 0;
  bool has_head_norms = false;
  int32_t rope_half = 0;  // 0: no RoPE
  bool rope_interleaved = false;
};

/// Whether a weight's products are made in fp32.
bool is_exact(const DeviceTraits& traits, DType weight);
/// rows: out features, of all weights of the launch.
LinearKernel choose_linear(const DeviceTraits& traits, DType weight, int32_t num_tokens,
                           int32_t rows);
/// Whether the linear kernel also rotates q and K and writes K and V (LinearArgs::qkv), a kernel
/// less where latency is all; else rope_and_write_kv() does.
bool fuses_rope(const DeviceTraits& traits, const KvSpec& kv, const QkvShape& shape,
                int32_t num_tokens);
/// For queries of sequences that have several in the step; kExact: for all others too.
AttentionKernel choose_prefill(const DeviceTraits& traits, const KvSpec& kv);

/// `code: ...`, `linear: ...` and `attention: ...` lines.
std::string describe_choices(const DeviceTraits& traits);

}  // namespace hearth::cuda
