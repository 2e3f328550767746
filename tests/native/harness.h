// A scheduler and its pipeline over the fake runner, and what came out of them.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "engine/pipeline.h"
#include "fake_runner.h"

namespace hearth::test {

struct HarnessOptions {
  int32_t num_blocks = 64;
  int32_t block_tokens = 16;
  int32_t max_num_seqs = 8;
  int32_t max_num_batched_tokens = 64;
  int32_t max_model_len = 256;
  int32_t depth = 1;
  bool prefix_caching = true;
  std::chrono::milliseconds ageing{1000};
  /// What a step takes; with this the clock is the test's own.
  std::function<double(int64_t num_tokens, int64_t num_pairs)> step_seconds = {};
  double max_step_seconds = 0;
};

/// A request in words of tests; the rest of hearth_request_options is off.
struct Ask {
  std::vector<uint32_t> prompt;
  uint32_t max_tokens = 8;
  uint32_t num_sequences = 1;
  uint64_t seed = 1;
  int32_t priority = 0;
  uint64_t salt = 0;
  std::vector<uint32_t> stop_ids = {};
  uint32_t min_tokens = 0;
  int32_t logprobs = -1;
  int32_t prompt_logprobs = -1;
  uint32_t deadline_ms = 0;
  uint64_t caller = 0;
  uint32_t caller_weight = 0;
};

/// What a request's events said.
struct Outcome {
  Ask ask;
  std::vector<std::vector<uint32_t>> output;  // by sequence
  std::vector<uint32_t> finish_reason;        // by sequence; 0: none yet
  std::vector<uint32_t> num_output_tokens;    // as FINISH said
  std::vector<float> prompt_logprobs;         // from the second token on
  uint32_t cached_tokens = 0;
  bool has_started = false;
  uint64_t queue_microseconds = 0;
  std::string error;

  bool is_finished() const;
  /// Checks every event's content against the reference.
  void check() const;
};

hearth_request_options request_values(const Ask& ask);
/// Takes an event into the outcome of its request and checks what can be checked at once.
void record(Outcome& outcome, const hearth_event& event, const uint8_t* payload);
/// The payload of an ERROR or FAILED event.
hearth_error error_in(const uint8_t* payload);
/// Prompt of tokens that depend on the seed and are below kFakeVocab.
std::vector<uint32_t> prompt_of(int32_t num_tokens, uint64_t seed = 1);

class Harness {
 public:
  explicit Harness(const HarnessOptions& options = {});

  uint64_t submit(const Ask& ask);
  void cancel(uint64_t request, int32_t sequence = HEARTH_CANCEL_ALL_SEQUENCES,
              uint32_t reason = HEARTH_CANCEL_CLIENT, uint32_t keep_tokens = UINT32_MAX);
  /// One step, its events taken in, everything checked.
  int32_t step();
  /// Steps until nothing is left; fails when that takes more steps than it may.
  void finish();
  Outcome& operator[](uint64_t request) { return outcomes.at(request); }
  Clock::time_point now() const { return options.step_seconds ? runner.now : Clock::now(); }

  const HarnessOptions options;
  FakeRunner runner;
  Scheduler scheduler;
  Pipeline pipeline;
  std::map<uint64_t, Outcome> outcomes;

 private:
  void take_events();

  uint64_t next_id_ = 1;
};

}  // namespace hearth::test
