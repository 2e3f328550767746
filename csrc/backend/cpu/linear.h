// Linear ops over packed weights: norm and quantize the input, multiply, and finish each output
// where its sums are still in L1 (bias, residual, activation).
//
// DESIGN
//   Work       An item is (32 tokens) x (a few tiles of one weight), handed out by a WorkQueue. All
//              weights that read the same input (q, k, v) are items of one op: one barrier, not
//              three.
//   Input      For few tokens each thread norms and quantizes all of them for itself, into its own
//              buffer: 0.3 us a row of 576 against about 1 us for a barrier. For more, threads
//              share the rows, then meet.
//   Same bits  An output's products are added by one thread in an order that only the weight's
//              shape sets (kernels.h); the split decides who computes, not what.
#pragma once

#include <span>
#include <vector>

#include "../backend.h"
#include "kernels.h"
#include "thread_pool.h"

namespace hearth {

/// One weight of an op and where its results go: out[t, r] = c[t, r] + bias[r] (+ residual[t, r]).
struct LinearOutput {
  const LinearView& linear;
  float* out;                       // [rows, linear.weight.layout.rows]
  const float* residual = nullptr;  // like out, may be out
};

class LinearOps {
 public:
  /// activation_dtype kInt8: quantized weights take int8 activations; all others take fp32.
  LinearOps(ThreadPool& pool, const Kernels& kernels, DType activation_dtype);

  /// For inputs of at most max_rows rows and max_cols columns.
  void reserve(int32_t max_rows, int32_t max_cols);
  /// Bytes that this reserve() takes.
  size_t scratch_bytes(int32_t max_rows, int32_t max_cols) const;

  /// All outputs of norm(x) at once. x: [rows, cols].
  void run(const float* x, int32_t rows, const NormView& norm,
           std::span<const LinearOutput> outputs);

  /// out[rows, up.rows] = act(norm(x) Wgate + bg) * (norm(x) Wup + bu); gate.rows 0: act of up
  /// alone.
  void run_gated(const float* x, int32_t rows, const NormView& norm, const LinearView& gate,
                 const LinearView& up, Activation activation, float* out);

 private:
  // The input as the kernels take it: fp32 rows, and int8 by token blocks (Int8Tokens).
  struct Input {
    std::vector<float> f32;
    std::vector<int8_t> values;
    std::vector<float> scales, sums;

    void reserve(int32_t max_rows, int32_t max_cols);
    static size_t bytes(int32_t max_rows, int32_t max_cols);
  };

  struct Source {  // of an op
    const float* x;
    int32_t rows, cols;
    const NormView& norm;
    bool wants_int8;
  };

  bool takes_int8(const WeightView& weight) const;
  void prepare_row(const Source& source, int32_t row, Input& input) const;
  template <class Item>
  void run_items(const Source& source, int32_t num_items, const Item& item);
  void multiply(const Source& source, const Input& input, int32_t first_token, int32_t num_tokens,
                const WeightView& weight, const std::byte* tiles, int32_t num_tiles,
                float* c) const;

  ThreadPool& pool_;
  const Kernels& kernels_;
  const bool int8_;
  Input shared_;
  std::vector<Input> own_;  // one a thread
};

}  // namespace hearth
