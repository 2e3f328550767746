#include "throughput.h"

#include <algorithm>

namespace hearth {

namespace {

// A measured time is believed for as long after the last step.
constexpr std::chrono::seconds kMemory{10};

}  // namespace

void Throughput::observe_step(int32_t num_tokens, bool is_prefill, double seconds,
                              Clock::time_point now) {
  const auto keep_least = [](double& least, double value) {
    least = least == 0 ? value : std::min(least, value);
  };
  if (is_prefill) {
    seconds_per_prefill_token_.add(seconds, num_tokens);
    keep_least(fastest_prefill_token_, seconds / num_tokens);
  }
  keep_least(fastest_step_, seconds);
  last_step_ = now;
}

double Throughput::expected_wait(const Backlog& backlog) const {
  const double prefill = double(backlog.prefill_tokens) * seconds_per_prefill_token_.value();
  // A place comes free max_num_seqs times in the life of a sequence.
  const int32_t places_short = backlog.sequences_ahead + 1 - backlog.max_num_seqs;
  const double places =
      std::max(places_short, 0) * seconds_per_sequence_.value() / std::max(backlog.max_num_seqs, 1);
  return std::max(prefill, places);
}

double Throughput::least_time(int64_t num_prompt_tokens, int32_t num_tokens,
                              Clock::time_point now) const {
  if (now - last_step_ > kMemory) return 0;
  const double prefill =
      double(num_prompt_tokens) * computed_share_.value() * fastest_prefill_token_;
  return prefill + num_tokens * fastest_step_;
}

}  // namespace hearth
