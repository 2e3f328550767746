#include "throughput.h"

#include <algorithm>

namespace hearth {

void Throughput::observe_step(int32_t num_tokens, bool is_prefill, double seconds) {
  if (is_prefill) {
    average(seconds_per_prefill_token_, seconds / num_tokens);
  } else {
    average(seconds_per_decode_step_, seconds);
  }
}

double Throughput::expected_wait(const Backlog& backlog) const {
  const double prefill = double(backlog.prefill_tokens) * seconds_per_prefill_token_;
  // A place comes free max_num_seqs times in the life of a sequence.
  const int32_t places_short = backlog.sequences_ahead + 1 - backlog.max_num_seqs;
  const double places =
      std::max(places_short, 0) * seconds_per_sequence_ / std::max(backlog.max_num_seqs, 1);
  return std::max(prefill, places);
}

double Throughput::expected_time(const Backlog& backlog, int32_t prompt_len,
                                 int32_t num_tokens) const {
  return expected_wait(backlog) + prompt_len * seconds_per_prefill_token_ +
         (num_tokens - 1) * seconds_per_decode_step_;
}

}  // namespace hearth
