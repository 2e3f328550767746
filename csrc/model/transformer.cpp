#include "transformer.h"

#include <algorithm>

#include "../error.h"
#include "warm_up.h"

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

StepSizes step_sizes(const ModelSpec& spec, const Weights& weights, const KvSpec& kv,
                     const TransformerLimits& limits) {
  StepSizes sizes;
  sizes.tokens = limits.max_tokens;
  sizes.sequences = limits.max_sequences;
  sizes.logits_rows = slice_rows(limits);
  // A row of each token (a prompt's logprobs) and one of each sequence that draws.
  sizes.sample_rows = limits.max_tokens + limits.max_sequences;
  sizes.cols = std::max({spec.hidden_size, spec.num_heads * spec.head_dim, spec.intermediate_size,
                         spec.embedding_size});
  sizes.num_heads = spec.num_heads;
  sizes.kv = kv;
  sizes.max_context = limits.max_context;
  sizes.max_output = limits.max_context;
  sizes.vocab_size = spec.vocab_size;
  for (const RopeView& rope : spec.ropes) sizes.rope_half += rope.dim() / 2;
  sizes.weight_dtypes = weights.linear_dtypes();
  return sizes;
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
                                    const Weights& weights, const KvSpec& kv,
                                    const TransformerLimits& limits) {
  size_t bytes = backend.ops->reserved_bytes(step_sizes(spec, weights, kv, limits));
  for (const Shape& shape : shapes(spec, limits)) {
    bytes += backend.ops->tensor_bytes(shape.rows, shape.cols);
  }
  return bytes;
}

Transformer::Transformer(Backend& backend, const ModelSpec& spec, const Weights& weights,
                         const KvCache& kv, const TransformerLimits& limits)
    : backend_(backend), ops_(*backend.ops), spec_(spec), weights_(weights),
      lm_head_(spec.tied_embeddings ? LinearView{weights.token_embedding} : weights.lm_head),
      kv_(kv), limits_(limits) {
  ops_.reserve(step_sizes(spec, weights, kv.spec, limits));
  for (const auto& [tensor, rows, cols, is_operand] : shapes(spec, limits)) {
    buffers_.push_back(backend.device->allocate(ops_.tensor_bytes(rows, cols)));
    this->*tensor = {buffers_.back().data(), rows, cols, is_operand};
  }
}

void Transformer::warm_up() {
  for (const WarmUpStep& step : ops_.warm_ups()) {
    WarmUpInput input(*backend_.samplers, step, kv_, limits_.max_context);
    try {
      run(input.step(), step.use);
    } catch (const DeviceLost&) {
      throw;
    } catch (const Error&) {
      // A shape that cannot be recorded is launched op by op.
      if (step.use != StepUse::kRecord) throw;
    }
    finish();
  }
}

void Transformer::run(const StepInput& input, StepUse use) {
  cost_ = cost(input);
  if (ops_.begin_step(input, spec_.ropes, kv_, use)) {
    embed();
    for (size_t i = 0; i < spec_.layers.size(); ++i) layer(spec_.layers[i], weights_.layers[i]);
    logits(input);
  }
  ops_.end_step();
}

Cost Transformer::cost(const StepInput& input) const {
  const int32_t tokens = input.num_tokens(), rows = int32_t(input.logits_tokens.size());
  Cost cost = embed_cost(weights_.token_embedding, tokens);
  if (spec_.projects_embeddings()) {
    cost += linear_cost(weights_.project_in, tokens);
    cost += linear_cost(weights_.project_out, rows);
  }
  if (spec_.learned_positions) cost += embed_cost(weights_.position_embedding, tokens);
  for (size_t i = 0; i < spec_.layers.size(); ++i) {
    const LayerWeights& layer = weights_.layers[i];
    for (const LinearView* linear :
         {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down}) {
      cost += linear_cost(*linear, tokens);
    }
    cost += attention_cost(input, kv_.spec, spec_.layers[i].attention);
  }
  cost += linear_cost(lm_head_, rows);
  return cost;
}

void Transformer::embed() {
  if (spec_.projects_embeddings()) {
    ops_.embed(weights_.token_embedding, embedded_);
    ops_.linear(embedded_, kNoNorm, weights_.project_in, kNoResidual, hidden_);
  } else {
    ops_.embed(weights_.token_embedding, hidden_);
  }
  if (spec_.learned_positions) {
    ops_.add_position(weights_.position_embedding, spec_.position_offset, hidden_);
  }
}

void Transformer::layer(const LayerSpec& spec, const LayerWeights& weights) {
  const bool before = spec.norm_place == NormPlace::kBefore;
  const bool parallel = spec.residual == ResidualKind::kParallel;
  const auto gate_up = [&] {
    return ops_.gate_up(hidden_, before ? weights.mlp_norm : kNoNorm, weights.gate, weights.up,
                        spec.activation, mlp_);
  };

  ops_.qkv(hidden_, before ? weights.attention_norm : kNoNorm, weights.q, weights.k, weights.v,
           weights.q_norm, weights.k_norm, spec.attention, q_);
  const Tensor attended = ops_.attention(q_, spec.attention, attended_);
  Tensor mlp;
  if (parallel) mlp = gate_up();  // of the layer's input, which o adds to
  ops_.linear(attended, kNoNorm, weights.o, hidden_, hidden_);
  if (!before) ops_.norm(hidden_, weights.attention_norm, hidden_);

  if (!parallel) mlp = gate_up();
  ops_.linear(mlp, kNoNorm, weights.down, hidden_, hidden_);
  if (!before) ops_.norm(hidden_, weights.mlp_norm, hidden_);
}

void Transformer::logits(const StepInput& input) {
  const int32_t total = int32_t(input.logits_tokens.size());
  for (int32_t first = 0; first < total; first += logits_.rows) {
    const int32_t rows = std::min(logits_.rows, total - first);
    ops_.gather(hidden_, first, rows, gathered_);
    if (spec_.projects_embeddings()) {
      ops_.linear_rows(gathered_, rows, weights_.final_norm, weights_.project_out, projected_);
      ops_.linear_rows(projected_, rows, kNoNorm, lm_head_, logits_);
    } else {
      ops_.linear_rows(gathered_, rows, weights_.final_norm, lm_head_, logits_);
    }
    ops_.sample(logits_, first, rows);
  }
}

}  // namespace hearth
