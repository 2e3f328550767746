// The ops that a forward pass is made of: one interface, a CPU and a CUDA implementation, the same
// tests for both. Granularity is fused, so that each backend fuses further as it likes.
//
// DESIGN
//   Order      Ops run in the order of the calls. They may return before they are done;
//              finish_step() waits. The CPU backend runs them at once on its thread pool, the
//              caller being worker 0. Copies beside them are the Device's.
//   Thread     One thread (the engine's) calls everything.
//   Memory     Everything that a step needs is taken by reserve(), before the first step. Pointers
//              held in views are device memory: only ops and copies touch it. Activations are
//              float, row by row; a backend may keep those marked is_operand in another form.
//   Same bits  A row's result depends only on that row's inputs, the weights and the device: not on
//              the number of rows, their order, chunk borders or threads. Every weight shape has
//              one order over k; attention reduces over KV in fixed-length chunks counted from
//              position 0 and merges them in index order. Whoever adds a kernel keeps this, and the
//              tests compare bits.
//   Errors     Shapes are checked when the model is opened. An op that fails at run time throws
//              Error, and the engine fails the step's requests; DeviceLost ends the engine.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "step.h"
#include "weight.h"

namespace hearth {

enum class Activation : uint32_t {
  kSilu = HEARTH_ACTIVATION_SILU,
  kGeluTanh = HEARTH_ACTIVATION_GELU_TANH,
  kRelu = HEARTH_ACTIVATION_RELU,
  kGelu = HEARTH_ACTIVATION_GELU
};

/// Activations of a batch: [rows, cols], row-major, device.
struct Tensor {
  std::byte* data = nullptr;
  int32_t rows = 0;  // capacity
  int32_t cols = 0;
  /// Nothing but attention or gate_up writes it and nothing but linear reads it: the backend may
  /// keep it in the form that its linear kernels want. Else float[rows, cols].
  bool is_operand = false;
  /// Of its elements: what the op that wrote it has returned. kF32 but for operands.
  DType form = DType::kF32;
};

/// The elements of one that is no operand.
inline float* floats(const Tensor& tensor) { return reinterpret_cast<float*>(tensor.data); }

/// What the attention of one layer needs to know.
struct AttentionSpec {
  int32_t layer = 0;
  int32_t num_heads = 0;
  float scale = 1;
  int32_t window = 0;  // a token sees itself and the window - 1 before it; 0: all
  int32_t rope = -1;   // index into the step's RoPE tables; -1: no RoPE
};

/// What becomes of a step's ops.
enum class StepUse {
  kOnce,    // they run
  kModel,   // they run; the same for every step of the same sizes, so one that was recorded will do
  kRecord,  // they are recorded, where the backend records, and do not run
};

/// A step that readies the device before the first live one: sequences of so many tokens each, the
/// last of their contexts.
struct WarmUpStep {
  int32_t num_sequences;
  int32_t tokens_each;
  int32_t context_len;
  StepUse use;
};

class Ops {
 public:
  virtual ~Ops() = default;

  /// `key: value` lines: threads, kernels chosen.
  virtual std::string describe() const = 0;

  /// Bytes to allocate for a Tensor, operand or not.
  virtual size_t tensor_bytes(int32_t rows, int32_t cols) const = 0;
  /// Takes all that steps of at most these sizes need. Once, before the first step. Throws Error:
  /// OUT_OF_MEMORY; UNSUPPORTED for sizes beyond what kernels and samplers can do.
  virtual void reserve(const StepSizes& sizes) = 0;
  /// Bytes that reserve() takes, and of what else comes with the first steps (modules, recorded
  /// steps). Throws as reserve().
  virtual size_t reserved_bytes(const StepSizes& sizes) const = 0;
  /// The steps to run behind reserve(), so that no live one is the first of its kind.
  virtual std::vector<WarmUpStep> warm_ups() const = 0;

  // A step: begin, ops, end, finish. The input stays the caller's.
  //
  /// Returns whether the ops must be called: where such a step was recorded, it is enqueued as a
  /// whole, and the answer is false. ropes: the model's tables.
  virtual bool begin_step(const StepInput& input, std::span<const RopeView> ropes,
                          const KvCache& kv, StepUse use) = 0;
  /// All ops of the step were called, or none had to be.
  virtual void end_step() = 0;

  /// out[t] = token_embedding[id[t]]
  virtual void embed(const WeightView& token_embedding, Tensor out) = 0;
  /// x[t] += position_embedding[position[t] + position_offset]
  virtual void add_position(const WeightView& position_embedding, int32_t position_offset,
                            Tensor x) = 0;
  /// out[t] = norm(x[t]) for the step's T tokens; out may be x.
  virtual void norm(Tensor x, const NormView& norm, Tensor out) = 0;
  /// out[t] = norm(x[t]) Wᵀ + bias (+ residual[t]) for the step's T tokens. residual may be out;
  /// data null: none.
  virtual void linear(Tensor x, const NormView& norm, const LinearView& linear, Tensor residual,
                      Tensor out) = 0;
  /// q = rope(q_norm(norm(x) Wqᵀ + bq)); K and V likewise (V without norm and RoPE) into the KV
  /// cache.
  virtual void qkv(Tensor x, const NormView& norm, const LinearView& q, const LinearView& k,
                   const LinearView& v, const NormView& q_norm, const NormView& k_norm,
                   const AttentionSpec& attention, Tensor q_out) = 0;
  /// out[t, h] = softmax(scale q[t, h] · K) V over the token's context, causal, within the window.
  /// Returns out with its form, for the op that reads it.
  virtual Tensor attention(Tensor q, const AttentionSpec& attention, Tensor out) = 0;
  /// out = act(norm(x) Wgateᵀ + bg) * (norm(x) Wupᵀ + bu); gate.rows 0: out = act(norm(x) Wupᵀ +
  /// bu). Returns out with its form.
  virtual Tensor gate_up(Tensor x, const NormView& norm, const LinearView& gate,
                         const LinearView& up, Activation activation, Tensor out) = 0;

  // Ops over a slice of the rows of logits: [first_row, + num_rows) of logits_tokens.
  //
  /// out[r] = x[logits_tokens[first_row + r]]
  virtual void gather(Tensor x, int32_t first_row, int32_t num_rows, Tensor out) = 0;
  /// As linear(), over gathered rows and without a residual.
  virtual void linear_rows(Tensor x, int32_t num_rows, const NormView& norm,
                           const LinearView& linear, Tensor out) = 0;
  /// Draw or score the SampleRows whose logits_row lies in the slice. logits: [num_rows, vocab];
  /// may be changed. Appends to the step's results.
  virtual void sample(Tensor logits, int32_t first_row, int32_t num_rows) = 0;

  /// Wait for the oldest step that is not finished and return its results, valid until the second
  /// next begin_step(). At pipeline depth 2, step N + 1 begins before step N is finished, so that a
  /// device computes while the host plans.
  virtual const StepResult& finish_step() = 0;

  // Counters since the beginning.
  //
  /// Kernels launched, those of recorded steps included (CPU: 0).
  virtual uint64_t num_launches() const = 0;
  /// Time that the device was busy with finished steps (CPU: 0).
  virtual uint64_t device_nanoseconds() const = 0;
};

}  // namespace hearth
