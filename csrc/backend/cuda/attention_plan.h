// Which CTA reduces what, decided on the host once a step. No CUDA in here.
//
// DESIGN
//   Decodes    A sequence with one query: an item for each chunk of its context, so that a long
//              context spreads over the device. Chunks lie at fixed positions: the same sums in any
//              batch.
//   Prefills   A sequence with several: tiles of kPrefillTile queries, each over all its context. A
//              tile's time is what its last query sees: the longest begin first.
#pragma once

#include <vector>

#include "step_view.h"

namespace hearth::cuda {

struct AttentionPlan {
  std::vector<DecodeItem> decodes;    // by sequence, chunks ascending
  std::vector<PrefillItem> prefills;  // most work first, else by sequence

  /// Plans a step. Sequences without a query get nothing.
  void make(const StepInput& input);
};

/// Items that make() can need for so many decodes of at most max_context tokens.
int32_t max_decode_items(int32_t num_sequences, int32_t max_context);

}  // namespace hearth::cuda
