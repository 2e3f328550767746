// Which CTA reduces what, decided on the host once a step. No CUDA in here.
//
// DESIGN
//   Decodes    A sequence with one query: an item for each chunk of its context, so that a long
//              context spreads over the device. Chunks lie at fixed positions: the same sums in any
//              batch.
//   Batches    Partial results of decodes need memory, which is taken when a model is opened. Where a
//              step has more items than fit, launches of whole sequences follow one another.
//   Prefills   A sequence with several: tiles of kPrefillTile queries, each over all its context. A
//              tile's time is what its last query sees: the longest begin first.
#pragma once

#include <vector>

#include "step_view.h"

namespace hearth::cuda {

struct AttentionPlan {
  std::vector<DecodeItem> decodes;    // by sequence, chunks ascending; first_block: pack_step()'s
  std::vector<int32_t> batches;       // decodes of each launch, at most so many as make() is told
  std::vector<PrefillItem> prefills;  // most work first, else by sequence

  /// Plans a step. Sequences without a query get nothing. max_items: of a launch, at least those of
  /// the longest context.
  void make(const StepInput& input, int32_t max_items);
};

/// Items of a context.
constexpr int32_t num_chunks(int32_t context_len) {
  return (context_len + kChunkTokens - 1) / kChunkTokens;
}

}  // namespace hearth::cuda
