// One step as the scheduler decides it: the StepInput and who its results belong to.
#pragma once

#include <cstdint>
#include <vector>

#include "../backend/step.h"
#include "request.h"

namespace hearth {

/// Filled by the scheduler, read by the runner while the step is staged, and committed by the
/// scheduler when its results are there. Buffers are kept from step to step.
class StepPlan {
 public:
  /// A sequence that takes part: when this step is done, its K and V are computed up to `end`.
  struct Participant {
    Sequence* sequence;
    uint32_t epoch;
    int32_t end;
  };
  /// Whose result a sample row is. prompt_token: index of the token that is scored, or -1 for the
  /// sequence's next output token.
  struct Row {
    Sequence* sequence;
    int32_t prompt_token;
  };

  /// Begins anew. number: of the step, from 1.
  void reset(uint64_t number, int32_t token_budget, int32_t block_tokens);

  uint64_t number() const { return number_; }
  int32_t num_tokens() const { return int32_t(token_ids_.size()); }
  /// Of a token and one that it attends to, itself too.
  int64_t num_pairs() const { return num_pairs_; }
  int32_t budget_left() const { return token_budget_ - num_tokens(); }
  bool is_prefill() const { return num_tokens() > int32_t(tables_.size()); }
  const std::vector<Participant>& participants() const { return participants_; }
  const std::vector<Row>& rows() const { return rows_; }

  void add_copy(int32_t from, int32_t to) { copies_.push_back({from, to}); }
  /// Input tokens planned_len to planned_len + count of a sequence.
  void add_tokens(Sequence& sequence, int32_t count);
  /// A sequence that joins without tokens: it shares what another one computes.
  void add_participant(Sequence& sequence, int32_t end);
  /// The logits that follow a position of the sequence added last are needed; returns their row.
  int32_t add_logits(int32_t positions_from_end);
  /// The logprob of a prompt token under a row of logits.
  void add_score(Sequence& sequence, int32_t logits_row, int32_t prompt_token);
  /// The sequence's next output token, drawn from a row of logits.
  void add_draw(Sequence& sequence, int32_t logits_row);

  /// Lays the block tables out. To be called once, after the last add. Throws Error(UNSUPPORTED)
  /// where they have more entries than an int32 counts: backends index them so.
  const StepInput& seal();

 private:
  uint64_t number_ = 0;
  int32_t token_budget_ = 0;
  int32_t block_tokens_ = 0;
  int64_t num_pairs_ = 0;

  std::vector<int32_t> token_ids_;
  std::vector<int32_t> positions_;
  std::vector<int32_t> kv_slots_;
  std::vector<int32_t> query_start_;
  std::vector<int32_t> context_len_;
  std::vector<const std::vector<int32_t>*> tables_;  // of the sequences, in order
  std::vector<int32_t> block_table_;
  std::vector<BlockCopy> copies_;
  std::vector<int32_t> logits_tokens_;
  std::vector<SampleRow> samples_;
  std::vector<Row> rows_;
  std::vector<Participant> participants_;
  StepInput input_;
};

}  // namespace hearth
