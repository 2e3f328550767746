// A forward pass without weights: what it draws is a function of the context as it lies in the KV
// cache, read through slots, block tables and block copies. A scheduler that gets any of them wrong
// gets wrong tokens.
//
//   K and V of a position stand for all before it:  kv[p] = mix(kv[p - 1], token, p)
//   what a sequence draws next                      mix(kv[0], ..., kv[p], seed, sequence, index)
#pragma once

#include <array>
#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/request.h"
#include "engine/step_runner.h"

namespace hearth::test {

constexpr uint32_t kFakeVocab = 97;

class FakeRunner final : public StepRunner {
 public:
  FakeRunner(int32_t num_blocks, int32_t block_tokens);

  void load(std::atomic<uint64_t>& bytes_loaded, const std::atomic<bool>& cancelled) override;
  uint64_t workspace_bytes() const override { return 1; }
  void run(const StepInput& input) override;
  const StepResult& finish() override;
  Cost last_cost() const override { return {10, 20}; }
  uint64_t num_allocations() const override { return 0; }
  uint64_t num_launches() const override { return uint64_t(num_begun_) * 3; }
  uint64_t device_nanoseconds() const override { return uint64_t(num_finished_) * 5000; }
  int32_t bind_sampler(const SamplerSpec& spec) override;
  void release_sampler(int32_t sampler) override;

  int32_t num_samplers() const { return int32_t(samplers_.size()); }

  // What the tests look at or ask for.
  int32_t num_copies = 0;
  int32_t max_tokens = 0;       // of a step so far
  int32_t max_sequences = 0;    // of a step so far
  std::set<int32_t> fails_run;  // numbers of calls, from 1, that throw
  std::set<int32_t> fails_finish;
  std::map<int32_t, int32_t> more_results;  // by number of the finish(): results too many, or few
  /// Numbers of calls, from 1, that find the device lost; 0: never. From then on every call does.
  int32_t lost_at_run = 0;
  int32_t lost_at_finish = 0;
  int32_t lost_at_bind = 0;
  int32_t num_calls_when_lost = 0;         // of run(), finish() and bind_sampler()
  std::function<void()> on_bound = [] {};  // in the stepping thread, at the end of bind_sampler()
  /// What samples with these seeds gets logits that are not finite.
  std::set<uint64_t> broken_seeds;
  std::set<int32_t> fails_bind;
  int32_t max_samplers = INT32_MAX;  // that there is room for
  std::optional<std::string> load_failure;
  std::chrono::milliseconds step_delay{0};
  /// What a step takes by the test's own clock, which finish() puts forward.
  std::function<double(int64_t num_tokens, int64_t num_pairs)> step_seconds;
  Clock::time_point now{std::chrono::hours(1)};
  bool waits_for_cancel = false;  // load() ends only when it is cancelled

 private:
  struct Sampler {
    uint64_t seed;
    uint32_t sequence;
    int32_t num_drawn;
  };

  void lose_device_if(bool now);
  uint64_t& kv(const StepInput& input, int32_t sequence, int32_t position);
  uint64_t context(const StepInput& input, int32_t token);

  const int32_t block_tokens_;
  std::vector<uint64_t> kv_;
  std::map<int32_t, Sampler> samplers_;
  int32_t next_sampler_ = 0;
  int32_t num_bind_calls_ = 0;
  int32_t num_run_calls_ = 0;
  std::array<StepResult, 4> results_;
  std::array<double, 4> seconds_{};
  int32_t num_begun_ = 0;
  int32_t num_finished_ = 0;
  bool has_abandoned_ = false;  // run() threw, and that step is not finished yet
  bool is_lost_ = false;
};

/// What a request's sequence draws, computed from tokens alone.
std::vector<uint32_t> expected_output(const std::vector<uint32_t>& prompt, uint64_t seed,
                                      uint32_t sequence, int32_t num_tokens);
/// The logprob of prompt[index].
float expected_prompt_logprob(const std::vector<uint32_t>& prompt, int32_t index);

}  // namespace hearth::test
