#include "step_plan.h"

#include <algorithm>

#include "../error.h"

namespace hearth {

void StepPlan::reset(uint64_t number, int32_t token_budget, int32_t block_tokens) {
  number_ = number;
  token_budget_ = token_budget;
  block_tokens_ = block_tokens;
  num_pairs_ = 0;
  token_ids_.clear();
  positions_.clear();
  kv_slots_.clear();
  query_start_.assign(1, 0);
  context_len_.clear();
  tables_.clear();
  copies_.clear();
  logits_tokens_.clear();
  samples_.clear();
  rows_.clear();
  participants_.clear();
}

void StepPlan::add_tokens(Sequence& sequence, int32_t count) {
  const int32_t end = sequence.planned_len + count;
  for (int32_t position = sequence.planned_len; position < end; ++position) {
    const bool known = position < sequence.known_len();
    token_ids_.push_back(known ? int32_t(sequence.known_token(position)) : ~sequence.pending_row);
    positions_.push_back(position);
    num_pairs_ += position + 1;
    const int32_t block = sequence.block_table[position / block_tokens_];
    kv_slots_.push_back(block * block_tokens_ + position % block_tokens_);
  }
  query_start_.push_back(num_tokens());
  context_len_.push_back(end);
  tables_.push_back(&sequence.block_table);
  add_participant(sequence, end);
}

void StepPlan::add_participant(Sequence& sequence, int32_t end) {
  participants_.push_back({&sequence, sequence.epoch, end});
  sequence.planned_len = end;
  sequence.last_plan = number_;
  ++sequence.num_in_flight;
}

int32_t StepPlan::add_logits(int32_t positions_from_end) {
  logits_tokens_.push_back(num_tokens() - 1 - positions_from_end);
  return int32_t(logits_tokens_.size()) - 1;
}

void StepPlan::add_score(Sequence& sequence, int32_t logits_row, int32_t prompt_token) {
  const Request& request = *sequence.request;
  samples_.push_back({.logits_row = logits_row,
                      .sampler = -1,
                      .target = int32_t(request.prompt[prompt_token]),
                      .output_index = 0,
                      .num_logprobs = request.options.values.prompt_logprobs});
  rows_.push_back({&sequence, prompt_token});
}

void StepPlan::add_draw(Sequence& sequence, int32_t logits_row) {
  samples_.push_back({.logits_row = logits_row,
                      .sampler = sequence.sampler,
                      .target = -1,
                      .output_index = int32_t(sequence.output.size()) + sequence.num_pending,
                      .num_logprobs = sequence.request->options.values.logprobs});
  sequence.pending_row = int32_t(rows_.size());
  ++sequence.num_pending;
  rows_.push_back({&sequence, -1});
}

const StepInput& StepPlan::seal() {
  size_t max_blocks = 0;
  for (const auto* table : tables_) max_blocks = std::max(max_blocks, table->size());
  if (tables_.size() * max_blocks > size_t(INT32_MAX)) {
    throw Error(HEARTH_UNSUPPORTED,
                format("Cannot plan a step: sequences * blocks of the longest must be at most %d: "
                       "current value is %zu * %zu",
                       INT32_MAX, tables_.size(), max_blocks));
  }
  block_table_.assign(tables_.size() * max_blocks, -1);
  for (size_t i = 0; i < tables_.size(); ++i) {
    std::copy(tables_[i]->begin(), tables_[i]->end(), block_table_.begin() + i * max_blocks);
  }
  input_ = {.token_ids = token_ids_,
            .positions = positions_,
            .kv_slots = kv_slots_,
            .query_start = query_start_,
            .context_len = context_len_,
            .block_table = block_table_,
            .max_blocks = int32_t(max_blocks),
            .block_copies = copies_,
            .logits_tokens = logits_tokens_,
            .samples = samples_};
  return input_;
}

}  // namespace hearth
