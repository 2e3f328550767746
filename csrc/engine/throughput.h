// How fast this engine has been: measured rates, and what they promise to a request that comes now.
#pragma once

#include <chrono>
#include <cstdint>

namespace hearth {

using Clock = std::chrono::steady_clock;

/// Work that is ahead of a new request.
struct Backlog {
  int64_t prefill_tokens = 0;   // still to be computed, of running and waiting sequences
  int32_t sequences_ahead = 0;  // running and waiting
  int32_t max_num_seqs = 0;
};

class Throughput {
 public:
  /// A prompt of so many tokens is begun, of which the prefix cache had some.
  void observe_prompt(int32_t num_tokens, int32_t num_cached) {
    computed_share_.add(num_tokens - num_cached, num_tokens);
  }
  void observe_step(int32_t num_tokens, bool is_prefill, double seconds, Clock::time_point now);
  /// From its first step to its end.
  void observe_sequence(double seconds) { seconds_per_sequence_.add(seconds, 1); }

  /// Seconds until a request queued now would start: the prefill before it, and a place among the
  /// sequences where all are taken. 0 while nothing is measured.
  double expected_wait(const Backlog& backlog) const;
  /// The least seconds from now until a request's num_tokens-th output token: as many steps as the
  /// fastest one ever, behind prompts of num_prompt_tokens, its own and those before it, at the
  /// fastest rate ever and as far as lately prompts were not in the prefix cache. 0 while nothing
  /// is measured, and when the last step is long ago, so that what was slow once is measured again
  /// and not refused for ever.
  double least_time(int64_t num_prompt_tokens, int32_t num_tokens, Clock::time_point now) const;

 private:
  /// A quotient of sums over about the last 16 observations: what is large counts for more.
  struct Rate {
    double sum = 0;
    double count = 0;
    void add(double more, double more_count) {
      sum += more - sum / 16;
      count += more_count - count / 16;
    }
    double value() const { return count > 0 ? sum / count : 0; }
  };

  Rate seconds_per_prefill_token_;
  Rate seconds_per_sequence_;
  Rate computed_share_;  // of prompts
  double fastest_step_ = 0;
  double fastest_prefill_token_ = 0;
  Clock::time_point last_step_;
};

}  // namespace hearth
