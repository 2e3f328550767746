// Ops that write or read the KV cache.
#include <cstring>
#include <limits>

#include "../backend/half.h"
#include "op_device.h"

using namespace hearth;

static_assert(sizeof(hearth_op_attention_shape) == 80);

namespace {

// The op's layer lies between two that must not be touched.
constexpr int32_t kNumLayers = 3, kLayer = 1;

/// The caller's cache on the device. Cells of other layers hold NaN.
class DeviceKv {
 public:
  DeviceKv(OpDevice& device, const hearth_op_context& context,
           const hearth_op_attention_shape& shape, const float* k, const float* v)
      : device_(device), row_(size_t(shape.num_kv_heads) * shape.head_dim) {
    const bool is_cuda = context.device_kind == HEARTH_DEVICE_CUDA;
    require_within("kv_cache_dtype", context.kv_cache_dtype, HEARTH_DTYPE_F32,
                   is_cuda ? HEARTH_DTYPE_BF16 : HEARTH_DTYPE_F16);
    if (context.block_size != 32 && context.block_size != 64) {
      require_within("block_size", context.block_size, 16, 16);
    }
    cache.spec = {kNumLayers, int32_t(shape.num_kv_heads), int32_t(shape.head_dim),
                  int32_t(context.block_size), DType(context.kv_cache_dtype)};
    cache.num_blocks = int32_t(shape.num_blocks);
    host_.assign(size_t(cache.num_blocks) * cache.spec.block_bytes(), std::byte{0xff});
    for_each([&](size_t slot_element, std::byte* at, bool is_value) {
      const float value = (is_value ? v : k)[slot_element];
      if (cache.spec.dtype == DType::kF32) {
        std::memcpy(at, &value, sizeof value);
      } else {
        const uint16_t half = is_bf16() ? bf16_from_float(value) : half_from_float(value);
        std::memcpy(at, &half, sizeof half);
      }
    });
    cache.data = device.bytes(host_.size());
    device_.device().copy_now(cache.data, host_.data(), host_.size());
  }

  void download(float* k, float* v) {
    device_.device().copy_now(host_.data(), cache.data, host_.size());
    for_each([&](size_t slot_element, const std::byte* at, bool is_value) {
      float& value = (is_value ? v : k)[slot_element];
      if (cache.spec.dtype == DType::kF32) {
        std::memcpy(&value, at, sizeof value);
      } else {
        uint16_t half;
        std::memcpy(&half, at, sizeof half);
        value = is_bf16() ? float_from_bf16(half) : float_from_half(half);
      }
    });
  }

  KvCache cache;

 private:
  bool is_bf16() const { return cache.spec.dtype == DType::kBF16; }

  /// visit(index into the caller's K or V, address of the element on the host, whether it is V's)
  template <class Visit>
  void for_each(Visit&& visit) {
    const KvSpec& spec = cache.spec;
    const size_t element_bytes = spec.dtype == DType::kF32 ? 4 : 2;
    for (int32_t block = 0; block < cache.num_blocks; ++block) {
      for (int32_t part = 0; part < 2; ++part) {
        for (int32_t head = 0; head < spec.num_kv_heads; ++head) {
          const size_t cell =
              ((size_t(block) * spec.num_layers + kLayer) * 2 + part) * spec.num_kv_heads + head;
          for (int32_t token = 0; token < spec.block_tokens; ++token) {
            const size_t slot = size_t(block) * spec.block_tokens + token;
            for (int32_t dim = 0; dim < spec.head_dim; ++dim) {
              const size_t element =
                  device_.backend.packer->kv_element(spec, part == 1, token, dim);
              visit(slot * row_ + head * spec.head_dim + dim,
                    host_.data() + cell * spec.cell_bytes() + element * element_bytes, part == 1);
            }
          }
        }
      }
    }
  }

  OpDevice& device_;
  const size_t row_;  // elements of a slot
  std::vector<std::byte> host_;
};

void require_shape(const hearth_op_attention_shape& shape) {
  require_within("num_tokens", shape.num_tokens, 1, kMaxOpSize);
  require_within("num_blocks", shape.num_blocks, 1, kMaxOpSize);
  require_within("num_heads", shape.num_heads, 1, 4096);
  require_within("num_kv_heads", shape.num_kv_heads, 1, shape.num_heads);
  require_within("num_heads % num_kv_heads", shape.num_heads % shape.num_kv_heads, 0, 0);
  require_within("head_dim", shape.head_dim, 2, 256);
  require_within("head_dim % 2", shape.head_dim % 2, 0, 0);
}

AttentionSpec attention_spec(const hearth_op_attention_shape& shape) {
  return {kLayer, int32_t(shape.num_heads), shape.scale, int32_t(shape.window),
          shape.rope_dim > 0 ? 0 : -1};
}

/// What a context and its block table promise, checked before a kernel trusts them.
void require_contexts(const hearth_op_context& context, const hearth_op_attention_shape& shape,
                      const int32_t* query_start, const int32_t* context_len,
                      const int32_t* block_table) {
  require_within("num_sequences", shape.num_sequences, 1, kMaxOpSize);
  require_within("query_start[0]", query_start[0], 0, 0);
  for (uint32_t s = 0; s < shape.num_sequences; ++s) {
    const int64_t queries = int64_t(query_start[s + 1]) - query_start[s];
    require_within("query_start", queries, 0, shape.num_tokens);
    const int64_t room = int64_t(shape.max_blocks) * context.block_size;
    require_within("context_len", context_len[s], std::max<int64_t>(queries, 1), room);
    const int64_t blocks = (context_len[s] + context.block_size - 1) / context.block_size;
    for (int64_t i = 0; i < blocks; ++i) {
      require_within("block_table", block_table[s * shape.max_blocks + i], 0,
                     int64_t(shape.num_blocks) - 1);
    }
  }
  require_within("query_start", query_start[shape.num_sequences], shape.num_tokens,
                 shape.num_tokens);
}

}  // namespace

extern "C" {

hearth_status hearth_op_qkv(hearth_op_context* context, const hearth_op_attention_shape* shape,
                            const uint8_t* wq, const uint8_t* wk, const uint8_t* wv,
                            const float* biases, const float* norm_weight, const float* norm_bias,
                            const float* head_norms, const float* inv_freq,
                            const int32_t* positions, const int32_t* slots, const float* x,
                            float* q, float* k, float* v, hearth_error* error) {
  return guarded(error, [&] {
    require_size(context, "context");
    require_size(shape, "shape");
    require_shape(*shape);
    require_within("hidden_size", shape->hidden_size, 1, kMaxOpSize);
    require_within("rope_dim", shape->rope_dim, 0, shape->head_dim);
    require_within("rope_dim % 2", shape->rope_dim % 2, 0, 0);
    OpDevice device(*context);
    DeviceKv kv(device, *context, *shape, k, v);
    for (uint32_t t = 0; t < shape->num_tokens; ++t) {
      require_within("positions", positions[t], 0, std::numeric_limits<int32_t>::max());
      require_within("slots", slots[t], 0, int64_t(shape->num_blocks) * context->block_size - 1);
    }
    const uint32_t q_size = shape->num_heads * shape->head_dim;
    const uint32_t kv_size = shape->num_kv_heads * shape->head_dim;
    auto linear = [&](uint32_t rows, const uint8_t* weight, uint32_t first_bias) {
      return LinearView{device.weight(shape->weight_dtype, rows, shape->hidden_size, weight),
                        device.vector(rows, biases == nullptr ? nullptr : biases + first_bias)};
    };
    const LinearView q_view = linear(q_size, wq, 0);
    const LinearView k_view = linear(kv_size, wk, q_size);
    const LinearView v_view = linear(kv_size, wv, q_size + kv_size);
    const NormView norm =
        device.norm(shape->norm_kind, shape->hidden_size, shape->norm_eps, norm_weight, norm_bias);
    auto head_norm = [&](uint32_t index) {
      return device.norm(shape->head_norm_kind, shape->head_dim, shape->head_norm_eps,
                         head_norms == nullptr ? nullptr : head_norms + index * shape->head_dim,
                         nullptr);
    };
    const NormView q_norm = head_norm(0), k_norm = head_norm(1);
    RopeView rope;
    rope.inv_freq.assign(inv_freq, inv_freq + shape->rope_dim / 2);
    rope.scale = shape->rope_scale;
    rope.interleaved = shape->rope_style == HEARTH_ROPE_INTERLEAVED;

    const Tensor input_rows = device.tensor(shape->num_tokens, shape->hidden_size, x);
    const Tensor result = device.tensor(shape->num_tokens, q_size, nullptr);
    StepSizes sizes;
    sizes.tokens = int32_t(shape->num_tokens);
    sizes.cols = int32_t(std::max(shape->hidden_size, q_size));
    sizes.num_heads = int32_t(shape->num_heads);
    sizes.kv = kv.cache.spec;
    sizes.rope_half = rope.dim() / 2;
    sizes.weight_dtypes = 1u << shape->weight_dtype;
    device.ops().reserve(sizes);
    const std::vector<int32_t> ids(shape->num_tokens, 0);
    StepInput input;
    input.token_ids = ids;
    input.positions = {positions, shape->num_tokens};
    input.kv_slots = {slots, shape->num_tokens};
    run_steps(*context, device.ops(), input, {&rope, 1}, kv.cache, [&] {
      device.ops().qkv(input_rows, norm, q_view, k_view, v_view, q_norm, k_norm,
                       attention_spec(*shape), result);
    });
    device.download(result, q);
    kv.download(k, v);
  });
}

hearth_status hearth_op_attention(hearth_op_context* context,
                                  const hearth_op_attention_shape* shape,
                                  const int32_t* query_start, const int32_t* context_len,
                                  const int32_t* block_table, const int32_t* copies,
                                  uint32_t num_copies, const float* q, const float* k,
                                  const float* v, float* out, hearth_error* error) {
  return guarded(error, [&] {
    require_size(context, "context");
    require_size(shape, "shape");
    require_shape(*shape);
    OpDevice device(*context);
    DeviceKv kv(device, *context, *shape, k, v);
    require_contexts(*context, *shape, query_start, context_len, block_table);
    std::vector<BlockCopy> block_copies;
    for (uint32_t i = 0; i < num_copies; ++i) {
      const BlockCopy copy{copies[2 * i], copies[2 * i + 1]};
      require_within("copies", std::min(copy.from, copy.to), 0, int64_t(shape->num_blocks) - 1);
      require_within("copies", std::max(copy.from, copy.to), 0, int64_t(shape->num_blocks) - 1);
      block_copies.push_back(copy);
    }
    const uint32_t q_size = shape->num_heads * shape->head_dim;
    const Tensor queries = device.tensor(shape->num_tokens, q_size, q);
    const OpOutput output(device, *context, context->kv_cache_dtype, shape->num_tokens, q_size);
    StepSizes sizes;
    sizes.tokens = int32_t(shape->num_tokens);
    sizes.sequences = int32_t(shape->num_sequences);
    sizes.cols = int32_t(q_size);
    sizes.num_heads = int32_t(shape->num_heads);
    sizes.kv = kv.cache.spec;
    sizes.max_context = int32_t(shape->max_blocks * context->block_size);
    sizes.weight_dtypes = 1u << context->kv_cache_dtype;
    device.ops().reserve(sizes);

    std::vector<int32_t> ids(shape->num_tokens, 0), positions;
    for (uint32_t s = 0; s < shape->num_sequences; ++s) {
      const int32_t queries_of = query_start[s + 1] - query_start[s];
      for (int32_t i = 0; i < queries_of; ++i) {
        positions.push_back(context_len[s] - queries_of + i);
      }
    }
    StepInput input;
    input.token_ids = ids;
    input.positions = positions;
    input.query_start = {query_start, shape->num_sequences + 1};
    input.context_len = {context_len, shape->num_sequences};
    input.block_table = {block_table, size_t(shape->num_sequences) * shape->max_blocks};
    input.max_blocks = int32_t(shape->max_blocks);
    input.block_copies = block_copies;
    run_steps(*context, device.ops(), input, {}, kv.cache, [&] {
      output.finish(device.ops(),
                    device.ops().attention(queries, attention_spec(*shape), output.tensor()));
    });
    output.download(out);
  });
}

}  // extern "C"
