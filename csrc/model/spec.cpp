#include "spec.h"

#include <cmath>
#include <cstring>

#include "../error.h"

namespace hearth {
namespace {

// Bounds that no model of the supported families passes and no arithmetic below overflows.
constexpr uint32_t kMaxWidth = 1u << 20;
constexpr uint32_t kMaxVocab = 1u << 22;
constexpr uint32_t kMaxLayers = 1024;
constexpr uint32_t kMaxHeads = 1024;
constexpr uint32_t kMaxHeadDim = 256;
constexpr uint32_t kMaxPosition = 1u << 24;

[[noreturn]] void reject(const char* field, const std::string& value, const std::string& allowed) {
  refuse("Cannot open model", field, "be " + allowed, value);
}

int32_t between(const char* field, uint32_t value, uint32_t low, uint32_t high) {
  if (value < low || value > high) {
    reject(field, std::to_string(value), format("between %u and %u", low, high));
  }
  return int32_t(value);
}

float finite(const char* field, float value, float low, float high) {
  if (!(value >= low && value <= high)) {
    reject(field, format("%g", value), format("between %g and %g", low, high));
  }
  return value;
}

RopeView parse_rope(const hearth_model_spec& spec, const uint8_t* flat, size_t flat_bytes) {
  RopeView rope;
  if (spec.rope_dim % 2 != 0) reject("rope_dim", std::to_string(spec.rope_dim), "even");
  between("rope_dim", spec.rope_dim, 2, spec.head_dim);
  between("rope_style", spec.rope_style, HEARTH_ROPE_HALF, HEARTH_ROPE_INTERLEAVED);
  if (spec.rope_inv_freq_count != spec.rope_dim / 2) {
    reject("rope_inv_freq_count", std::to_string(spec.rope_inv_freq_count),
           format("rope_dim / 2 = %u", spec.rope_dim / 2));
  }
  const uint64_t end = uint64_t(spec.rope_inv_freq_offset) + spec.rope_inv_freq_count * 4ull;
  if (spec.rope_inv_freq_offset % 4 != 0 || end > flat_bytes) {
    reject("rope_inv_freq_offset", std::to_string(spec.rope_inv_freq_offset),
           "a multiple of 4 inside the flat buffer");
  }
  rope.inv_freq.resize(spec.rope_inv_freq_count);
  std::memcpy(rope.inv_freq.data(), flat + spec.rope_inv_freq_offset,
              spec.rope_inv_freq_count * sizeof(float));
  for (const float frequency : rope.inv_freq) finite("rope_inv_freq", frequency, 0, 1e6f);
  rope.scale = finite("rope_scale", spec.rope_scale, 1e-6f, 1e6f);
  rope.interleaved = spec.rope_style == HEARTH_ROPE_INTERLEAVED;
  return rope;
}

}  // namespace

void check_layers(const ModelSpec& spec) {
  for (const LayerSpec& layer : spec.layers) {
    if (layer.attention_softcap == 0) continue;
    throw Error(
        HEARTH_UNSUPPORTED,
        format("Cannot open model: attention_softcap of layer %d must be 0, as no attention "
               "kernel caps scores: current value is %g",
               layer.attention.layer, layer.attention_softcap));
  }
}

ModelSpec parse_spec(const hearth_model_spec& spec, const uint8_t* flat, size_t flat_bytes) {
  ModelSpec model{};
  model.vocab_size = between("vocab_size", spec.vocab_size, 1, kMaxVocab);
  model.hidden_size = between("hidden_size", spec.hidden_size, 1, kMaxWidth);
  model.embedding_size = between("embedding_size", spec.embedding_size, 1, kMaxWidth);
  model.intermediate_size = between("intermediate_size", spec.intermediate_size, 1, kMaxWidth);
  const int32_t num_layers = between("num_layers", spec.num_layers, 1, kMaxLayers);
  model.num_heads = between("num_heads", spec.num_heads, 1, kMaxHeads);
  model.num_kv_heads = between("num_kv_heads", spec.num_kv_heads, 1, spec.num_heads);
  if (spec.num_heads % spec.num_kv_heads != 0) {
    reject("num_kv_heads", std::to_string(spec.num_kv_heads),
           format("a divisor of num_heads = %u", spec.num_heads));
  }
  model.head_dim = between("head_dim", spec.head_dim, 2, kMaxHeadDim);
  if (spec.head_dim % 2 != 0) reject("head_dim", std::to_string(spec.head_dim), "even");
  model.max_position = between("max_position", spec.max_position, 1, kMaxPosition);
  model.norm_kind =
      NormKind(between("norm_kind", spec.norm_kind, HEARTH_NORM_RMS, HEARTH_NORM_LAYER));
  LayerSpec layer;
  layer.norm_place =
      between("norm_after", spec.norm_after, 0, 1) != 0 ? NormPlace::kAfter : NormPlace::kBefore;
  model.final_norm = layer.norm_place == NormPlace::kBefore;
  layer.activation = Activation(
      between("activation", spec.activation, HEARTH_ACTIVATION_SILU, HEARTH_ACTIVATION_GELU));
  layer.gated = between("gated", spec.gated, 0, 1) != 0;
  model.learned_positions = between("position_kind", spec.position_kind, HEARTH_POSITION_ROPE,
                                    HEARTH_POSITION_LEARNED) == HEARTH_POSITION_LEARNED;
  model.position_offset = between("position_offset", spec.position_offset, 0, kMaxPosition);
  if (spec.position_kind == HEARTH_POSITION_ROPE) {
    model.ropes.push_back(parse_rope(spec, flat, flat_bytes));
    layer.attention.rope = 0;
  }
  const int32_t window = between("sliding_window", spec.sliding_window, 0, kMaxPosition);
  const int32_t first_windowed =
      between("sliding_window_first_layer", spec.sliding_window_first_layer, 0, kMaxLayers);
  model.norm_eps = finite("norm_eps", spec.norm_eps, 0, 1);
  layer.attention.num_heads = model.num_heads;
  layer.attention.scale = finite("attention_scale", spec.attention_scale, 1e-6f, 1e6f);
  for (int32_t i = 0; i < num_layers; ++i) {
    layer.attention.layer = i;
    layer.attention.window = i >= first_windowed ? window : 0;
    model.layers.push_back(layer);
  }
  model.tied_embeddings = between("tied_embeddings", spec.tied_embeddings, 0, 1) != 0;
  model.fingerprint = spec.fingerprint;
  return model;
}

}  // namespace hearth
