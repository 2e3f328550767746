#include "dispatch.h"

#include <algorithm>
#include <iterator>

#include "../../error.h"
#include "layout.h"

namespace hearth::cuda {
namespace {

constexpr int32_t kHeadDims[] = {64, 80, 96, 128, 256};

bool has_tensor_cores(const DeviceTraits& traits) { return traits.compute_capability >= 80; }
// wgmma exists on this architecture alone.
bool is_hopper(const DeviceTraits& traits) { return traits.compute_capability == 90; }

}  // namespace

bool is_exact(const DeviceTraits& traits, DType weight) {
  return traits.exact || weight == DType::kF32 || !has_tensor_cores(traits);
}

LinearKernel choose_linear(const DeviceTraits& traits, DType weight, int32_t num_tokens,
                           int32_t rows) {
  if (is_exact(traits, weight)) return LinearKernel::kExact;
  const bool streams = num_tokens <= (rows >= kWideRows ? kMaxWideStreamTokens : kMaxStreamTokens);
  if (is_hopper(traits)) return streams ? LinearKernel::kStreamSm90 : LinearKernel::kGemmSm90;
  return streams ? LinearKernel::kStreamSm80 : LinearKernel::kGemmSm80;
}

AttentionKernel choose_prefill(const DeviceTraits& traits, const KvSpec& kv) {
  const bool has_kernel =
      std::find(std::begin(kHeadDims), std::end(kHeadDims), kv.head_dim) != std::end(kHeadDims);
  if (traits.exact || !has_tensor_cores(traits) || !has_core_matrices(kv) || !has_kernel) {
    return AttentionKernel::kExact;
  }
  return is_hopper(traits) ? AttentionKernel::kSm90 : AttentionKernel::kSm80;
}

std::string describe_choices(const DeviceTraits& traits) {
  if (traits.exact || !has_tensor_cores(traits)) {
    return "activation_dtype: fp32\nlinear: exact\nattention: exact\n";
  }
  const char* family = is_hopper(traits) ? "sm90" : "sm80";
  return format(
      "activation_dtype: 16-bit\n"
      "linear: stream_%s to %d tokens, then gemm_%s (fp32 weights: exact)\n"
      "attention: decode_%s, prefill_%s (head_dim 64, 80, 96, 128, 256; others: exact)\n",
      family, kMaxStreamTokens, family, family, family);
}

}  // namespace hearth::cuda
