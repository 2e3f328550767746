// A model in numbers, checked: what hearth_model_spec says once every field is known to make sense.
#pragma once

#include "../backend/backend.h"
#include "../hearth.h"

namespace hearth {

struct ModelSpec {
  int32_t vocab_size;
  int32_t hidden_size;
  int32_t embedding_size;
  int32_t intermediate_size;
  int32_t num_layers;
  int32_t num_heads;
  int32_t num_kv_heads;
  int32_t head_dim;
  int32_t max_position;
  NormKind norm_kind;
  bool norm_after;
  Activation activation;
  bool gated;
  bool learned_positions;
  int32_t position_offset;
  RopeView rope;  // inv_freq empty without RoPE
  int32_t sliding_window;
  int32_t sliding_window_first_layer;
  float norm_eps;
  float attention_scale;
  bool tied_embeddings;
  uint64_t fingerprint;

  bool projects_embeddings() const { return embedding_size != hidden_size; }
  AttentionSpec attention(int32_t layer) const {
    const int32_t window = layer >= sliding_window_first_layer ? sliding_window : 0;
    return {layer, num_heads, attention_scale, window};
  }
};

/// Throws Error(HEARTH_INVALID_ARGUMENT) that names the field, its value and what is allowed.
/// flat: the buffer of hearth_engine_open, of flat_bytes bytes.
ModelSpec parse_spec(const hearth_model_spec& spec, const uint8_t* flat, size_t flat_bytes);

}  // namespace hearth
