#include "transformer.h"

#include <algorithm>

namespace hearth {
namespace {

/// Rows of logits that exist at a time: a prompt's logprobs and large batches go in slices, so that
/// a vocabulary of 150,000 costs 77 MB and not gigabytes.
constexpr int32_t kLogitsSliceRows = 128;

constexpr NormView kNoNorm{};
constexpr Tensor kNoResidual{};

int32_t slice_rows(const TransformerLimits& limits) {
  return std::min(kLogitsSliceRows, std::max(limits.max_sequences, limits.max_tokens));
}

StepSizes step_sizes(const ModelSpec& spec, const TransformerLimits& limits) {
  return {limits.max_tokens, slice_rows(limits),
          std::max({spec.hidden_size, spec.num_heads * spec.head_dim, spec.intermediate_size,
                    spec.embedding_size}),
          spec.num_kv_heads * spec.head_dim};
}

}  // namespace

std::vector<Transformer::Shape> Transformer::shapes(const ModelSpec& spec,
                                                    const TransformerLimits& limits) {
  const int32_t tokens = limits.max_tokens, slice = slice_rows(limits);
  const int32_t q_size = spec.num_heads * spec.head_dim;
  std::vector<Shape> shapes = {
      {&Transformer::hidden_, tokens, spec.hidden_size},
      {&Transformer::q_, tokens, q_size},
      {&Transformer::attended_, tokens, q_size, true},
      {&Transformer::mlp_, tokens, spec.intermediate_size, true},
      {&Transformer::gathered_, slice, spec.hidden_size},
      {&Transformer::logits_, slice, spec.vocab_size},
  };
  if (spec.projects_embeddings()) {
    shapes.push_back({&Transformer::embedded_, tokens, spec.embedding_size});
    shapes.push_back({&Transformer::projected_, slice, spec.embedding_size});
  }
  return shapes;
}

size_t Transformer::workspace_bytes(const Backend& backend, const ModelSpec& spec,
                                    const TransformerLimits& limits) {
  size_t bytes = backend.scratch_bytes(step_sizes(spec, limits));
  for (const Shape& shape : shapes(spec, limits)) {
    bytes += backend.tensor_bytes(shape.rows, shape.cols);
  }
  return bytes;
}

Transformer::Transformer(Backend& backend, const ModelSpec& spec, const Weights& weights,
                         const KvCache& kv, const TransformerLimits& limits)
    : backend_(backend), spec_(spec), weights_(weights),
      lm_head_(spec.tied_embeddings ? LinearView{weights.token_embedding} : weights.lm_head),
      kv_(kv) {
  backend.reserve(step_sizes(spec, limits));
  try {
    for (const auto& [tensor, rows, cols, is_operand] : shapes(spec, limits)) {
      buffers_.push_back(backend.allocate(backend.tensor_bytes(rows, cols)));
      this->*tensor = {buffers_.back(), rows, cols, is_operand};
    }
  } catch (...) {
    for (std::byte* buffer : buffers_) backend_.free(buffer);
    throw;
  }
}

Transformer::~Transformer() {
  for (std::byte* buffer : buffers_) backend_.free(buffer);
}

void Transformer::run(const StepInput& input) {
  cost_ = cost(input);
  if (backend_.begin_step(input, spec_.rope, kv_, true)) {
    embed(input);
    for (int32_t i = 0; i < spec_.num_layers; ++i) layer(input, i);
    logits(input);
  }
  backend_.end_step();
}

Cost Transformer::cost(const StepInput& input) const {
  const int32_t tokens = input.num_tokens(), rows = int32_t(input.logits_tokens.size());
  Cost cost = embed_cost(weights_.token_embedding, tokens);
  if (spec_.projects_embeddings()) {
    cost += linear_cost(weights_.project_in, tokens);
    cost += linear_cost(weights_.project_out, rows);
  }
  if (spec_.learned_positions) cost += embed_cost(weights_.position_embedding, tokens);
  for (int32_t i = 0; i < spec_.num_layers; ++i) {
    const LayerWeights& layer = weights_.layers[i];
    for (const LinearView* linear :
         {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down}) {
      cost += linear_cost(*linear, tokens);
    }
    cost += attention_cost(input, kv_.spec, spec_.attention(i));
  }
  cost += linear_cost(lm_head_, rows);
  return cost;
}

void Transformer::embed(const StepInput& input) {
  const int32_t tokens = input.num_tokens();
  if (spec_.projects_embeddings()) {
    backend_.embed(weights_.token_embedding, embedded_);
    backend_.linear(embedded_, tokens, kNoNorm, weights_.project_in, kNoResidual, hidden_);
  } else {
    backend_.embed(weights_.token_embedding, hidden_);
  }
  if (spec_.learned_positions) {
    backend_.add_position(weights_.position_embedding, spec_.position_offset, hidden_);
  }
}

void Transformer::layer(const StepInput& input, int32_t index) {
  const LayerWeights& layer = weights_.layers[index];
  const int32_t tokens = input.num_tokens();
  const AttentionSpec attention = spec_.attention(index);
  const bool before = !spec_.norm_after;

  backend_.qkv(hidden_, before ? layer.attention_norm : kNoNorm, layer.q, layer.k, layer.v,
               layer.q_norm, layer.k_norm, attention, q_);
  backend_.attention(q_, attention, attended_);
  backend_.linear(attended_, tokens, kNoNorm, layer.o, hidden_, hidden_);
  if (spec_.norm_after) backend_.norm(hidden_, layer.attention_norm, hidden_);

  backend_.gate_up(hidden_, before ? layer.mlp_norm : kNoNorm, layer.gate, layer.up,
                   spec_.activation, mlp_);
  backend_.linear(mlp_, tokens, kNoNorm, layer.down, hidden_, hidden_);
  if (spec_.norm_after) backend_.norm(hidden_, layer.mlp_norm, hidden_);
}

void Transformer::logits(const StepInput& input) {
  const int32_t total = int32_t(input.logits_tokens.size());
  for (int32_t first = 0; first < total; first += logits_.rows) {
    const int32_t rows = std::min(logits_.rows, total - first);
    backend_.gather(hidden_, first, rows, gathered_);
    if (spec_.projects_embeddings()) {
      backend_.linear(gathered_, rows, weights_.final_norm, weights_.project_out, kNoResidual,
                      projected_);
      backend_.linear(projected_, rows, kNoNorm, lm_head_, kNoResidual, logits_);
    } else {
      backend_.linear(gathered_, rows, weights_.final_norm, lm_head_, kNoResidual, logits_);
    }
    backend_.sample(logits_, first, rows);
  }
}

}  // namespace hearth
