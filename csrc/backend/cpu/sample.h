// Draws tokens and tells logprobs: what is left of a step once there are logits.
//
// DESIGN
//   A row is a few passes over the vocabulary, never a sort of it:
//     scan     largest logit of each block of 256, and whether all are finite
//     edit     bans, biases and penalties touch few tokens: they are written into the row, and
//              taken back afterwards, since several sequences may sample from one row
//     select   the k largest, by a threshold that rises; most blocks are skipped by their maximum.
//              Where k is a large share of the row, where they end is found by counting logits of
//              about the same size
//     draw     min_p, top_k and top_p leave the tokens down to some (logit, id); the inverse of the
//              cumulative weights of those, in the order of their ids, in blocks
//   Greedy without logprobs is the scan alone.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "../backend.h"
#include "isa.h"
#include "thread_pool.h"

namespace hearth {

class CpuSamplers final : public Samplers {
 public:
  explicit CpuSamplers(Isa isa);
  ~CpuSamplers() override;

  int32_t bind(const SamplerSpec& spec) override;
  void release(int32_t sampler) override;

  /// Appends one result for each of input.samples whose logits_row is in [first_row, + num_rows),
  /// and tells the samplers what was drawn.
  ///
  /// logits  [num_rows, vocab], the same afterwards
  ///
  /// Where a logit is not finite, the results of its row say so and are nothing else. A temperature
  /// below 1e-5 is greedy. Where every token is banned, token 0 is drawn.
  void sample(ThreadPool& pool, const StepInput& input, float* logits, int32_t vocab,
              int32_t first_row, int32_t num_rows, std::vector<SampleResult>& results);

 private:
  struct Sampler;
  struct Workspace;
  class Row;

  const Isa isa_;
  std::vector<std::unique_ptr<Sampler>> samplers_;  // null: free
  std::vector<Workspace> workspaces_;               // by thread
};

}  // namespace hearth
