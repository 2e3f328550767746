// Everything that works row by row: embeddings, norms, RoPE with the KV write, gathering.
#pragma once

#include "device.h"
#include "layout.h"
#include "step_view.h"

namespace hearth::cuda {

/// cos and sin of every token's angles, times scale: [T, half] each. As the CPU: the angle is
/// position times inv_freq in fp32, its cosine is rounded once. inv_freq: [half].
void rope_table(Stream& stream, const StepView& step, const float* inv_freq, int32_t half,
                float scale, float* cos, float* sin);

/// out[t] = table[id[t]] in fp32; an id ~r is what row r of the last step drew.
void embed(Stream& stream, const StepView& step, DType dtype, const WeightRef& table, int32_t cols,
           float* out);
/// x[t] += table[position[t] + offset]
void add_position(Stream& stream, const StepView& step, DType dtype, const WeightRef& table,
                  int32_t offset, int32_t cols, float* x);

/// out = norm(x), float[rows, cols]; out may be x.
void norm_rows(Stream& stream, const float* x, int32_t rows, int32_t cols, const NormView& norm,
               float* out);
/// The same as an operand of a 16-bit type, columns padded with zeros.
void norm_operand(Stream& stream, const float* x, int32_t rows, int32_t cols, const NormView& norm,
                  DType half, void* out);
/// float[rows, cols] of an operand.
void operand_to_floats(Stream& stream, const void* operand, int32_t rows, int32_t cols, DType half,
                       float* out);

/// q = rope(q_norm(q)) in place; rope(k_norm(k)) and v into the layer's KV cells at step.kv_slots.
/// q: [T, num_heads * head_dim]; k, v: [T, num_kv_heads * head_dim].
void rope_and_write_kv(Stream& stream, const StepView& step, const KvCache& kv,
                       const AttentionSpec& attention, const NormView& q_norm,
                       const NormView& k_norm, const RopeAngles& angles, float* q, const float* k,
                       const float* v);

/// out[r] = x[logits_tokens[first_row + r]]
void gather(Stream& stream, const StepView& step, const float* x, int32_t cols, int32_t first_row,
            int32_t num_rows, float* out);

}  // namespace hearth::cuda
