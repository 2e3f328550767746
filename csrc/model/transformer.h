// The forward pass of every supported family, written once over the backend's ops.
#pragma once

#include "../backend/backend.h"
#include "../backend/cost.h"
#include "spec.h"
#include "weights.h"

namespace hearth {

struct TransformerLimits {
  int32_t max_tokens;     // input tokens of a step
  int32_t max_sequences;  // of a step
};

class Transformer {
 public:
  /// Takes loaded weights, which must outlive it, and a KV cache in its backend's memory. Allocates
  /// the activations of one step. Throws Error(HEARTH_OUT_OF_MEMORY).
  Transformer(Backend& backend, const ModelSpec& spec, const Weights& weights, const KvCache& kv,
              const TransformerLimits& limits);
  ~Transformer();
  Transformer(const Transformer&) = delete;
  Transformer& operator=(const Transformer&) = delete;

  /// Enqueue a whole step: forward pass, logits, samples. input stays valid until its finish().
  void run(const StepInput& input);
  /// Wait for the oldest step that is not finished; see Backend::finish_step().
  const StepResult& finish() { return backend_.finish_step(); }

  /// Device bytes of the activations and the backend's scratch that a Transformer takes.
  static size_t workspace_bytes(const Backend& backend, const ModelSpec& spec,
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
  Cost cost(const StepInput& input) const;
  void embed(const StepInput& input);
  void layer(const StepInput& input, int32_t index);
  void logits(const StepInput& input);

  Backend& backend_;
  const ModelSpec& spec_;
  const Weights& weights_;
  const LinearView lm_head_;
  const KvCache kv_;
  std::vector<std::byte*> buffers_;
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
