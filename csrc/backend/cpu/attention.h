// Attention over blocks of KV: prefill chunks and decodes of one step in one call.
//
//   out[t, h] = softmax(scale q[t, h] · Kᵀ) V    over the tokens that t sees: its context up to
//                                                itself, or the last `window` of that
//
// DESIGN
//   Plan   Once a step: items, the largest first. An item is some tokens of one sequence by one KV
//          head, whose group of query heads shares what is read: as many as fit, so that a context
//          is read seldom, but no more than a thread's share of what is not planned yet, so that
//          threads end together. Decodes over a long context are cut along the context as well:
//
//            prefill     tokens  |--item--|--item--|--item--|      each over all its context
//            decode      context |-item-|-item-|-item-|            then merged
//
//   Order  The context is reduced in chunks of kChunkTokens, counted from position 0, and chunks
//          are merged in order, one at a time, also by the item that finishes a cut context. What a
//          row goes through is therefore the same in every plan; attention_kernel.h says why a
//          chunk's result is. Chunks that a row does not see are skipped by all.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "../backend.h"
#include "isa.h"
#include "thread_pool.h"

namespace hearth {

class Attention {
 public:
  /// Forgets the last step's plans.
  void begin_step() { plans_.clear(); }

  /// q, out: [T, num_heads * head_dim]. The layer's K and V of the step's tokens are written
  /// already. A step's first call with a window makes the plan for it.
  void run(ThreadPool& pool, const StepInput& input, const KvCache& kv, const AttentionSpec& spec,
           const float* q, float* out, Isa isa);

 private:
  struct Item {
    int32_t sequence;
    int32_t kv_head;
    int32_t first_token, num_tokens;  // of the step
    int32_t first_chunk, last_chunk;  // of the context: [first, last)
    int32_t cut;                      // index into Plan::cuts, -1: the item has the whole context
    int64_t cost;
  };
  /// A context that several items share.
  struct Cut {
    int32_t first_token, num_tokens, kv_head;
    int32_t first_chunk, last_chunk;
    int32_t num_items;
    size_t partials;  // offset of [chunk][row] partials
  };
  struct Plan {
    int32_t window, num_heads;
    std::vector<Item> items;
    std::vector<Cut> cuts;
    size_t partials_floats = 0;
  };
  struct Run;

  const Plan& plan(const StepInput& input, const KvSpec& kv, const AttentionSpec& spec,
                   int num_threads, int32_t rows_together);

  std::vector<Plan> plans_;
  std::vector<float> partials_;                         // of cut contexts
  std::vector<float> states_;                           // of an item's rows, by thread
  std::unique_ptr<std::atomic<int32_t>[]> items_left_;  // of each cut
  size_t items_left_capacity_ = 0;
};

}  // namespace hearth
