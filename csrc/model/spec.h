// A model in numbers, checked: what hearth_model_spec says once every field is known to make sense.
#pragma once

#include <vector>

#include "../backend/ops.h"
#include "../hearth.h"

namespace hearth {

/// Where a sublayer (attention, MLP) is normed: its input, or the sum of its output and the
/// residual.
enum class NormPlace { kBefore, kAfter };

/// kParallel: both sublayers read the layer's input, and their outputs are added to it.
enum class ResidualKind { kSequential, kParallel };

/// A layer as data: the forward pass reads it, and names no family.
struct LayerSpec {
  AttentionSpec attention;      // window, scale, RoPE table
  float attention_softcap = 0;  // scores become cap * tanh(score / cap); 0: as they are
  NormPlace norm_place = NormPlace::kBefore;
  ResidualKind residual = ResidualKind::kSequential;
  Activation activation = Activation::kSilu;
  bool gated = true;  // down(act(gate x) * up x), else down(act(up x))
};

struct ModelSpec {
  int32_t vocab_size;
  int32_t hidden_size;
  int32_t embedding_size;
  int32_t intermediate_size;
  int32_t num_heads;
  int32_t num_kv_heads;
  int32_t head_dim;
  int32_t max_position;
  NormKind norm_kind;
  float norm_eps;
  bool final_norm;
  bool learned_positions;
  int32_t position_offset;
  std::vector<RopeView> ropes;  // layers name theirs by index
  std::vector<LayerSpec> layers;
  bool tied_embeddings;
  uint64_t fingerprint;

  int32_t num_layers() const { return int32_t(layers.size()); }
  bool projects_embeddings() const { return embedding_size != hidden_size; }
};

/// Throws Error(HEARTH_UNSUPPORTED) for a layer that the forward pass cannot compute.
void check_layers(const ModelSpec& spec);

/// Throws Error(HEARTH_INVALID_ARGUMENT) that names the field, its value and what is allowed.
/// flat: the buffer of hearth_engine_open, of flat_bytes bytes.
ModelSpec parse_spec(const hearth_model_spec& spec, const uint8_t* flat, size_t flat_bytes);

}  // namespace hearth
