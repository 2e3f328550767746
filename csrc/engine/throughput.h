// How fast this engine has been: measured rates, and what they promise to a request that comes now.
#pragma once

#include <cstdint>

namespace hearth {

/// Work that is ahead of a new request.
struct Backlog {
  int64_t prefill_tokens = 0;   // still to be computed, of running and waiting sequences
  int32_t sequences_ahead = 0;  // running and waiting
  int32_t max_num_seqs = 0;
};

class Throughput {
 public:
  void observe_step(int32_t num_tokens, bool is_prefill, double seconds);
  /// From its first step to its end.
  void observe_sequence(double seconds) { average(seconds_per_sequence_, seconds); }

  /// Until a request queued now would start: the prefill before it, and a place among the sequences
  /// where all are taken. 0 while nothing is measured.
  double expected_wait(const Backlog& backlog) const;
  /// From now until a request's num_tokens-th output token, at the soonest.
  double expected_time(const Backlog& backlog, int32_t prompt_len, int32_t num_tokens) const;

 private:
  /// Exponential average over about the last 16 observations.
  static void average(double& mean, double value) {
    mean = mean == 0 ? value : mean + (value - mean) / 16;
  }

  double seconds_per_prefill_token_ = 0;
  double seconds_per_decode_step_ = 0;
  double seconds_per_sequence_ = 0;
};

}  // namespace hearth
