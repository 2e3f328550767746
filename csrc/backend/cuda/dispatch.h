// Which kernel takes an op, and how it is cut: by the code that was loaded, dtype, shape and number
// of tokens. Host code without CUDA, so that the choice is tested where there is no GPU.
//
// No choice changes a bit of any result (docs/decisions/0007-cuda-numerics.md), so that a tuner
// only has to write the table.
#pragma once

#include <compare>
#include <map>
#include <mutex>
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

/// How a linear op runs. A kernel looks at its own figures alone.
struct LinearChoice {
  LinearKernel kernel = LinearKernel::kExact;
  // kStreamSm90
  int32_t ring_bytes = 200 << 10;   // of a multiprocessor's stages
  int32_t range_bytes = 384 << 10;  // of weights that a CTA takes at a time, at least
  int32_t range_strips = 3;         // and as few: fewer warps multiply slower than memory reads
  int32_t max_ctas_each = 2;        // on a multiprocessor, where tokens leave room for few strips
  int32_t bet_bytes = 200 << 10;    // of weights a multiprocessor, above which a launch bets
  // kStreamSm80
  int32_t strip_warps = 8;  // that share a CTA's operand, at most
  // kGemmSm90
  int32_t tile_tokens = 0;  // 64, 128 or 256; 0: by an estimate of rounds

  bool operator==(const LinearChoice&) const = default;
};

/// What a choice is made for. rows: out features of all weights of the launch.
struct LinearKey {
  DType dtype;
  int32_t rows;
  int32_t cols;
  int32_t token_bucket;

  auto operator<=>(const LinearKey&) const = default;
};
/// Numbers of tokens with one choice: up to the next power of two, which is what it returns.
int32_t token_bucket(int32_t num_tokens);

/// The choices of one device. The engine's thread chooses; describe() may come from any.
class DispatchTable {
 public:
  explicit DispatchTable(const DeviceTraits& traits) : traits_(traits) {}

  const DeviceTraits& traits() const { return traits_; }
  /// What a tuner found; by the engine's thread, before the first choose() of that key. Throws
  /// Error(HEARTH_INVALID_ARGUMENT) for a kernel that the key's weights or the loaded code do not
  /// have.
  void set(const LinearKey& key, const LinearChoice& choice);
  /// The entry of the table; else choose_linear()'s kernel with the figures above.
  const LinearChoice& choose(DType dtype, int32_t num_tokens, int32_t rows, int32_t cols);
  /// `code: ...`, `linear: ...` and `attention: ...` lines, and one for each linear shape that was
  /// chosen for.
  std::string describe() const;

 private:
  const DeviceTraits traits_;
  mutable std::mutex mutex_;
  std::map<LinearKey, LinearChoice> choices_;
};
/// Whether this kernel also rotates q and K and writes K and V (LinearArgs::qkv), a kernel less
/// where latency is all; else rope_and_write_kv() does.
bool fuses_rope(LinearKernel kernel, const KvSpec& kv, const QkvShape& shape, int32_t num_tokens);
/// For decodes and prefills alike.
AttentionKernel choose_attention(const DeviceTraits& traits, const KvSpec& kv);

}  // namespace hearth::cuda
