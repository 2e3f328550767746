#include "dispatch.h"

#include "../../error.h"
#include "layout.h"

namespace hearth::cuda {
namespace {

bool has_tensor_cores(const DeviceTraits& traits) { return traits.code.has_tensor_cores(); }
bool is_hopper(const DeviceTraits& traits) { return traits.code.has_hopper_bodies; }

const char* kernel_name(LinearKernel kernel) {
  switch (kernel) {
    case LinearKernel::kExact: return "exact";
    case LinearKernel::kStreamSm80: return "stream_sm80";
    case LinearKernel::kStreamSm90: return "stream_sm90";
    case LinearKernel::kGemmSm80: return "gemm_sm80";
    case LinearKernel::kGemmSm90: return "gemm_sm90";
  }
  return "none";
}

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

bool fuses_rope(LinearKernel kernel, const KvSpec& kv, const QkvShape& shape, int32_t num_tokens) {
  const int32_t pair_rows = 2 * kStripRows;
  const int32_t rows = (shape.num_heads + 2 * kv.num_kv_heads) * kv.head_dim;
  const int32_t warps = rows / pair_rows * ((num_tokens + 15) / 16);
  const bool one_dtype = shape.q == shape.k && shape.k == shape.v;
  const bool turns_halves =
      shape.rope_half == 0 || (2 * shape.rope_half == kv.head_dim && !shape.rope_interleaved);
  return kernel == LinearKernel::kStreamSm90 && warps <= kMaxFusedWarps && one_dtype &&
         !shape.has_head_norms && turns_halves && kv.head_dim % pair_rows == 0 &&
         has_core_matrices(kv);
}

AttentionKernel choose_attention(const DeviceTraits& traits, const KvSpec& kv) {
  if (traits.exact || !has_tensor_cores(traits) || !has_core_matrices(kv) ||
      !is_head_dim(kv.head_dim)) {
    return AttentionKernel::kExact;
  }
  return is_hopper(traits) ? AttentionKernel::kSm90 : AttentionKernel::kSm80;
}

int32_t token_bucket(int32_t num_tokens) {
  int32_t bucket = 1;
  while (bucket < num_tokens) bucket *= 2;
  return bucket;
}

void DispatchTable::set(const LinearKey& key, const LinearChoice& choice) {
  const bool is_sm90 =
      choice.kernel == LinearKernel::kStreamSm90 || choice.kernel == LinearKernel::kGemmSm90;
  const bool streams =
      choice.kernel == LinearKernel::kStreamSm90 || choice.kernel == LinearKernel::kStreamSm80;
  if ((choice.kernel == LinearKernel::kExact) != is_exact(traits_, key.dtype) ||
      (is_sm90 && !is_hopper(traits_)) || (streams && key.token_bucket > kMaxStreamTokens)) {
    throw Error(
        HEARTH_INVALID_ARGUMENT,
        format("Cannot tune a linear op: kernel must take %s weights for %d tokens with the "
               "code that was loaded: current value is %s",
               dtype_name(key.dtype), key.token_bucket, kernel_name(choice.kernel)));
  }
  const std::lock_guard lock(mutex_);
  choices_.insert_or_assign(key, choice);
}

const LinearChoice& DispatchTable::choose(DType dtype, int32_t num_tokens, int32_t rows,
                                          int32_t cols) {
  const LinearKey key{dtype, rows, cols, token_bucket(num_tokens)};
  const auto known = choices_.find(key);
  if (known != choices_.end()) return known->second;
  LinearChoice choice;
  choice.kernel = choose_linear(traits_, dtype, num_tokens, rows);
  const std::lock_guard lock(mutex_);
  return choices_.emplace(key, choice).first->second;
}

std::string DispatchTable::describe() const {
  std::string text = format("code: for compute capability %s, launches %s\n",
                            capability_name(traits_.code.compute_capability).c_str(),
                            traits_.code.waits_for_previous ? "overlap" : "do not overlap");
  if (traits_.exact || !has_tensor_cores(traits_)) {
    text += "activation_dtype: fp32\nlinear: exact\nattention: exact\n";
  } else {
    const char* family = is_hopper(traits_) ? "sm90" : "sm80";
    text += format(
        "activation_dtype: 16-bit\n"
        "linear: stream_%s to %d tokens, then gemm_%s (fp32 weights: exact)\n"
        "attention: decode_%s, prefill_%s (head_dim 64, 80, 96, 128, 256; others: exact)\n",
        family, kMaxStreamTokens, family, family, family);
  }
  // linear_5120x13824_fp16: to 16 tokens stream_sm90, to 64 gemm_sm90
  const std::lock_guard lock(mutex_);
  const LinearKey* last = nullptr;
  for (const auto& [key, choice] : choices_) {
    const bool same = last != nullptr && last->dtype == key.dtype && last->rows == key.rows &&
                      last->cols == key.cols;
    if (same) {
      text += ",";
    } else {
      if (last != nullptr) text += "\n";
      text += format("linear_%dx%d_%s:", key.rows, key.cols, dtype_name(key.dtype));
    }
    text += format(" to %d tokens %s", key.token_bucket, kernel_name(choice.kernel));
    last = &key;
  }
  return last == nullptr ? text : text + "\n";
}

}  // namespace hearth::cuda
