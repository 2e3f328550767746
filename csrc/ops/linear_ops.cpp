// Ops over rows of activations: embedding, norms, linear.
#include "op_device.h"

using namespace hearth;

static_assert(sizeof(hearth_op_context) == 56);
static_assert(sizeof(hearth_op_linear_shape) == 40);

namespace {

/// Of an op over rows: tokens, columns, what its weights are made of.
StepSizes row_sizes(uint32_t tokens, uint32_t cols, uint32_t weight_dtype) {
  StepSizes sizes;
  sizes.tokens = int32_t(tokens);
  sizes.cols = int32_t(cols);
  // What an operand output is turned into floats by may be of another type.
  sizes.weight_dtypes = 1u << weight_dtype | 1u << HEARTH_DTYPE_F16;
  return sizes;
}

/// A step of tokens without a KV cache.
template <class Op>
void run_rows(hearth_op_context& context, Ops& ops, uint32_t num_tokens, Op&& op) {
  const std::vector<int32_t> zeros(num_tokens, 0);
  StepInput input;
  input.token_ids = input.positions = input.kv_slots = zeros;
  run_steps(context, ops, input, {}, {}, op);
}

void require_shape(const hearth_op_linear_shape& shape) {
  require_within("rows", shape.rows, 1, kMaxOpSize);
  require_within("cols", shape.cols, 1, kMaxOpSize);
  require_within("num_tokens", shape.num_tokens, 1, kMaxOpSize);
}

}  // namespace

extern "C" {

hearth_status hearth_op_embed(hearth_op_context* context, const hearth_op_linear_shape* shape,
                              const uint8_t* weight, const uint8_t* position_weight,
                              uint32_t position_rows, uint32_t position_offset, const int32_t* ids,
                              const int32_t* positions, float* out, hearth_error* error) {
  return guarded(error, [&] {
    require_size(context, "context");
    require_size(shape, "shape");
    require_shape(*shape);
    OpDevice device(*context);
    for (uint32_t t = 0; t < shape->num_tokens; ++t) {
      require_within("ids", ids[t], 0, int64_t(shape->rows) - 1);
      if (position_weight == nullptr) continue;
      require_within("positions", int64_t(positions[t]) + position_offset, position_offset,
                     int64_t(position_rows) - 1);
    }
    const WeightView embedding =
        device.weight(shape->weight_dtype, shape->rows, shape->cols, weight);
    WeightView position_embedding;
    if (position_weight != nullptr) {
      position_embedding =
          device.weight(shape->weight_dtype, position_rows, shape->cols, position_weight);
    }
    const Tensor result = device.tensor(shape->num_tokens, shape->cols, nullptr);
    device.ops().reserve(row_sizes(shape->num_tokens, shape->cols, shape->weight_dtype));

    StepInput input;
    input.token_ids = {ids, shape->num_tokens};
    if (positions != nullptr) input.positions = {positions, shape->num_tokens};
    run_steps(*context, device.ops(), input, {}, {}, [&] {
      device.ops().embed(embedding, result);
      if (position_weight != nullptr) {
        device.ops().add_position(position_embedding, int32_t(position_offset), result);
      }
    });
    device.download(result, out);
  });
}

hearth_status hearth_op_gather(hearth_op_context* context, const hearth_op_linear_shape* shape,
                               const int32_t* indices, const float* x, float* out,
                               hearth_error* error) {
  return guarded(error, [&] {
    require_size(context, "context");
    require_size(shape, "shape");
    require_shape(*shape);
    for (uint32_t r = 0; r < shape->rows; ++r) {
      require_within("indices", indices[r], r > 0 ? indices[r - 1] : 0,
                     int64_t(shape->num_tokens) - 1);
    }
    OpDevice device(*context);
    const Tensor input = device.tensor(shape->num_tokens, shape->cols, x);
    const Tensor result = device.tensor(shape->rows, shape->cols, nullptr);
    StepSizes sizes = row_sizes(shape->num_tokens, shape->cols, shape->weight_dtype);
    sizes.logits_rows = int32_t(shape->rows);
    device.ops().reserve(sizes);
    const std::vector<int32_t> ids(shape->num_tokens, 0);
    StepInput step;
    step.token_ids = ids;
    step.logits_tokens = {indices, shape->rows};
    // In two slices, as a step with many rows of logits has them.
    const int32_t rows = int32_t(shape->rows), first = rows / 2;
    Tensor rest = result;
    rest.data += size_t(first) * shape->cols * sizeof(float);
    run_steps(*context, device.ops(), step, {}, {}, [&] {
      if (first > 0) device.ops().gather(input, 0, first, result);
      device.ops().gather(input, first, rows - first, rest);
    });
    device.download(result, out);
  });
}

hearth_status hearth_op_norm(hearth_op_context* context, const hearth_op_linear_shape* shape,
                             const float* weight, const float* bias, const float* x, float* out,
                             hearth_error* error) {
  return guarded(error, [&] {
    require_size(context, "context");
    require_size(shape, "shape");
    require_within("cols", shape->cols, 1, kMaxOpSize);
    require_within("num_tokens", shape->num_tokens, 1, kMaxOpSize);
    OpDevice device(*context);
    const NormView norm = device.norm(shape->norm_kind, shape->cols, shape->norm_eps, weight, bias);
    const Tensor input = device.tensor(shape->num_tokens, shape->cols, x);
    const Tensor result = device.tensor(shape->num_tokens, shape->cols, nullptr);
    device.ops().reserve(row_sizes(shape->num_tokens, shape->cols, shape->weight_dtype));
    run_rows(*context, device.ops(), shape->num_tokens,
             [&] { device.ops().norm(input, norm, result); });
    device.download(result, out);
  });
}

hearth_status hearth_op_linear(hearth_op_context* context, const hearth_op_linear_shape* shape,
                               const uint8_t* weight, const float* bias, const float* norm_weight,
                               const float* norm_bias, const float* x, const float* residual,
                               float* out, hearth_error* error) {
  return guarded(error, [&] {
    require_size(context, "context");
    require_size(shape, "shape");
    require_shape(*shape);
    OpDevice device(*context);
    const LinearView linear{device.weight(shape->weight_dtype, shape->rows, shape->cols, weight),
                            device.vector(shape->rows, bias)};
    const NormView norm =
        device.norm(shape->norm_kind, shape->cols, shape->norm_eps, norm_weight, norm_bias);
    const Tensor input = device.tensor(shape->num_tokens, shape->cols, x);
    Tensor added{};
    if (residual != nullptr) added = device.tensor(shape->num_tokens, shape->rows, residual);
    const Tensor result = device.tensor(shape->num_tokens, shape->rows, nullptr);
    device.ops().reserve(
        row_sizes(shape->num_tokens, std::max(shape->cols, shape->rows), shape->weight_dtype));
    run_rows(*context, device.ops(), shape->num_tokens,
             [&] { device.ops().linear(input, norm, linear, added, result); });
    device.download(result, out);
  });
}

hearth_status hearth_op_gate_up(hearth_op_context* context, const hearth_op_linear_shape* shape,
                                const uint8_t* gate, const float* gate_bias, const uint8_t* up,
                                const float* up_bias, const float* norm_weight,
                                const float* norm_bias, const float* x, float* out,
                                hearth_error* error) {
  return guarded(error, [&] {
    require_size(context, "context");
    require_size(shape, "shape");
    require_shape(*shape);
    require_within("activation", shape->activation, HEARTH_ACTIVATION_SILU, HEARTH_ACTIVATION_GELU);
    OpDevice device(*context);
    LinearView gate_view;
    if (shape->gated != 0) {
      gate_view = {device.weight(shape->weight_dtype, shape->rows, shape->cols, gate),
                   device.vector(shape->rows, gate_bias)};
    }
    const LinearView up_view{device.weight(shape->weight_dtype, shape->rows, shape->cols, up),
                             device.vector(shape->rows, up_bias)};
    const NormView norm =
        device.norm(shape->norm_kind, shape->cols, shape->norm_eps, norm_weight, norm_bias);
    const Tensor input = device.tensor(shape->num_tokens, shape->cols, x);
    const OpOutput output(device, *context, shape->weight_dtype, shape->num_tokens, shape->rows);
    device.ops().reserve(
        row_sizes(shape->num_tokens, std::max(shape->cols, shape->rows), shape->weight_dtype));
    run_rows(*context, device.ops(), shape->num_tokens, [&] {
      output.finish(device.ops(),
                    device.ops().gate_up(input, norm, gate_view, up_view,
                                         Activation(shape->activation), output.tensor()));
    });
    output.download(out);
  });
}

}  // extern "C"
