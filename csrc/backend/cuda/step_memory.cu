#include "step_memory.h"

#include <algorithm>

#include "device.h"

namespace hearth::cuda {
namespace {

/// Of partial results: more items than this holds are attended to in several launches.
constexpr size_t kPartialBytes = 64 << 20;
constexpr size_t kAlignment = 256;

size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

size_t item_bytes(const StepSizes& sizes) {
  return partials_floats(1, sizes.num_heads, sizes.kv.head_dim) * sizeof(float);
}

/// The largest step's.
size_t largest_input(const StepSizes& sizes) {
  StepLayout layout;
  layout.num_tokens = sizes.tokens;
  layout.num_sequences = sizes.sequences;
  layout.num_logits = std::max(sizes.tokens, sizes.logits_rows);
  layout.num_samples = sizes.sample_rows;
  layout.max_decodes = int32_t(
      std::min<int64_t>(int64_t(sizes.sequences) * num_chunks(sizes.max_context), INT32_MAX));
  layout.num_batches = sizes.sequences;
  layout.num_prefills = sizes.tokens / kPrefillTile + sizes.sequences;
  layout.rope_half = sizes.rope_half;
  layout.num_blocks = size_t(sizes.sequences) *
                      ((sizes.max_context + sizes.kv.block_tokens - 1) / sizes.kv.block_tokens);
  StepView view;
  return layout.place(nullptr, view);
}

}  // namespace

/// Bytes of each part; take() lays them out behind one another.
struct StepMemory::Parts {
  size_t input, angles, drawn, results, operand, floats, unpacked, k, v, partials, arrivals;

  Parts(const StepSizes& sizes, bool exact) {
    const size_t rows = size_t(std::max(sizes.tokens, sizes.logits_rows));
    const size_t kv_cols = size_t(sizes.kv.num_kv_heads) * sizes.kv.head_dim;
    const size_t samples = size_t(std::max(sizes.sample_rows, 1));
    const bool has_floats = exact || sizes.has_weights_of(DType::kF32);
    // A kernel's operand is of its weights' type, attention's of the KV cache's.
    const bool has_bf16 = sizes.has_weights_of(DType::kBF16) || sizes.kv.dtype == DType::kBF16;
    const bool has_fp16 = (sizes.weight_dtypes & ~(1u << uint32_t(DType::kBF16)) &
                           ~(1u << uint32_t(DType::kF32))) != 0 ||
                          sizes.kv.dtype == DType::kF16;
    const bool converts = !exact && (has_bf16 + has_fp16 + sizes.has_weights_of(DType::kF32) > 1);
    input = largest_input(sizes);
    angles = 2 * size_t(sizes.tokens) * sizes.rope_half * sizeof(float);
    drawn = samples * sizeof(int32_t);
    results = samples * sizeof(DeviceSample);
    operand = exact ? 0 : operand_bytes(int32_t(rows), sizes.cols);
    floats = has_floats ? rows * sizes.cols * sizeof(float) : 0;
    unpacked = converts ? rows * sizes.cols * sizeof(float) : 0;
    k = v = size_t(sizes.tokens) * kv_cols * sizeof(float);
    partials = size_t(max_decode_items(sizes)) * item_bytes(sizes);
    arrivals = size_t(sizes.sequences) * sizes.num_heads * sizeof(int32_t);
  }

  size_t total() const {
    size_t bytes = 0;
    for (const size_t part :
         {input, angles, drawn, results, operand, floats, unpacked, k, v, partials, arrivals}) {
      bytes += aligned(part);
    }
    return bytes;
  }
};

size_t StepMemory::bytes(const StepSizes& sizes, bool exact) { return Parts(sizes, exact).total(); }

int32_t StepMemory::max_decode_items(const StepSizes& sizes) {
  const int64_t longest = num_chunks(sizes.max_context);
  const int64_t all = sizes.sequences * longest;
  if (all == 0 || sizes.num_heads == 0) return 0;
  return int32_t(std::min(all, std::max<int64_t>(longest, kPartialBytes / item_bytes(sizes))));
}

StepMemory::StepMemory(Device& device, const StepSizes& sizes, bool exact) {
  const Parts parts(sizes, exact);
  device_memory_ = device.allocate(parts.total());
  std::byte* at = device_memory_.data();
  const auto take = [&](auto*& part, size_t bytes) {
    part = reinterpret_cast<std::remove_reference_t<decltype(part)>>(at);
    at += aligned(bytes);
  };
  take(input, parts.input);
  take(angles, parts.angles);
  take(drawn, parts.drawn);
  take(results, parts.results);
  take(operand, parts.operand);
  take(floats, parts.floats);
  take(unpacked, parts.unpacked);
  take(k, parts.k);
  take(v, parts.v);
  take(partials, parts.partials);
  take(arrivals, parts.arrivals);
  input_bytes = parts.input;
  fill_with_zeros(arrivals, parts.arrivals);

  const size_t host_slot = aligned(parts.input) + aligned(parts.results);
  host_memory_ = device.allocate(kSlots * host_slot, Tier::kHost);
  for (uint64_t i = 0; i < kSlots; ++i) {
    host_inputs[i] = host_memory_.data() + i * host_slot;
    host_results[i] = reinterpret_cast<DeviceSample*>(host_inputs[i] + aligned(parts.input));
  }
}

}  // namespace hearth::cuda
