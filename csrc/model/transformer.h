// The forward pass of every supported family, written once over the backend's ops: it reads what a
// layer is (LayerSpec) and names no family.
#pragma once

#include "../backend/backend.h"
#include "../backend/cost.h"
#include "spec.h"
#include "weights.h"

namespace hearth {

struct TransformerLimits {
  int32_t max_tokens;     // input tokens of a step
  int32_t max_sequences;  // of a step
  int32_t max_context;    // tokens of a sequence
};

class Transformer {
 public:
  /// Takes loaded weights, which must outlive it, and a KV cache in its backend's memory. Reserves
  /// everything that steps need. Throws Error(HEARTH_OUT_OF_MEMORY).
  Transformer(Backend& backend, const ModelSpec& spec, const Weights& weights, const KvCache& kv,
              const TransformerLimits& limits);
  Transformer(const Transformer&) = delete;
  Transformer& operator=(const Transformer&) = delete;

  /// Runs the steps that ready the device, behind the constructor: no live step is the first of its
  /// kind. Throws Error.
  void warm_up();
  /// Enqueue a whole step: forward pass, logits, samples. input stays valid until its finish().
  void run(const StepInput& input) { run(input, StepUse::kModel); }
  /// Wait for the oldest step that is not finished; see Ops::finish_step().
  const StepResult& finish() { return ops_.finish_step(); }

  /// Device bytes of the activations and of what ops reserve. Throws Error(HEARTH_UNSUPPORTED) for
  /// limits that the backend cannot keep.
  static size_t workspace_bytes(const Backend& backend, const ModelSpec& spec,
                                const Weights& weights, const KvSpec& kv,
                                const TransformerLimits& limits);
  /// Bytes and flops of the last run(), by the ops' cost functions.
  const Cost& last_cost() const { return cost_; }

 private:
  struct Shape {
    Tensor Transformer::*tensor;
    int32_t rows, cols;
    bool is_operand = false;
  };

  static std::vector<Shape> shapes(const ModelSpec& spec, const TransformerLimits& limits);
  void run(const StepInput& input, StepUse use);
  Cost cost(const StepInput& input) const;
  void embed();
  void layer(const LayerSpec& spec, const LayerWeights& weights);
  void logits(const StepInput& input);

  Backend& backend_;
  Ops& ops_;
  const ModelSpec& spec_;
  const Weights& weights_;
  const LinearView lm_head_;
  const KvCache kv_;
  const TransformerLimits limits_;
  std::vector<Memory> buffers_;
  Cost cost_;

  // Activations; T: tokens of a step, R: rows of a logits slice.
  Tensor embedded_;   // [T, embedding_size], only where the model projects
  Tensor hidden_;     // [T, hidden_size], the residual stream
  Tensor q_;          // [T, num_heads * head_dim]
  Tensor attended_;   // [T, num_heads * head_dim]
  Tensor mlp_;        // [T, intermediate_size]
  Tensor gathered_;   // [R, hidden_size]
  Tensor projected_;  // [R, embedding_size], only where the model projects
  Tensor logits_;     // [R, vocab_size]
};

}  // namespace hearth
