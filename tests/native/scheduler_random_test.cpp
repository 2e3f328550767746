// Random submits, cancellations and steps over a KV cache that is far too small: nothing leaks,
// nothing is shared wrongly, everything ends, and every token is the one that the request alone
// would get.
#include <algorithm>
#include <cstdio>
#include <random>

#include "check.h"
#include "harness.h"

namespace hearth::test {
namespace {

struct Random {
  std::mt19937_64 engine;
  int32_t below(int32_t bound) { return int32_t(engine() % uint64_t(bound)); }
  int32_t between(int32_t low, int32_t high) { return low + below(high - low + 1); }
  bool chance(int32_t percent) { return below(100) < percent; }
};

HarnessOptions random_options(Random& random) {
  HarnessOptions options;
  options.block_tokens = random.chance(30) ? 32 : 16;
  options.num_blocks = random.between(2, 12);
  options.max_model_len = options.num_blocks * options.block_tokens - random.below(10);
  options.max_num_seqs = random.between(1, 8);
  options.max_num_batched_tokens = options.max_num_seqs + random.below(60);
  options.depth = random.between(1, 2);
  options.prefix_caching = random.chance(80);
  options.ageing = std::chrono::milliseconds(random.chance(50) ? 1 : 1000);
  return options;
}

Ask random_ask(Random& random, const HarnessOptions& options) {
  // Prompts are beginnings of few texts, so that prefixes are shared and blocks are often just
  // full.
  Ask ask;
  const int32_t longest = std::min(options.max_model_len - 1, 150);
  int32_t length = random.between(1, longest);
  if (random.chance(30)) length = std::max(1, length / 16 * 16 + random.between(-1, 1));
  ask.prompt = prompt_of(std::min(length, longest), uint64_t(random.below(3)));
  ask.max_tokens = uint32_t(random.between(1, 70));
  if (random.chance(40)) ask.num_sequences = uint32_t(random.between(1, options.max_num_seqs));
  ask.seed = uint64_t(random.below(3));
  ask.priority = random.between(-2, 2);
  ask.salt = uint64_t(random.below(2));
  for (int32_t i = random.below(4); i > 0; --i)
    ask.stop_ids.push_back(uint32_t(random.below(kFakeVocab)));
  ask.min_tokens = uint32_t(random.below(int32_t(ask.max_tokens) + 1));
  if (random.chance(20)) ask.logprobs = random.below(4);
  if (random.chance(20)) ask.prompt_logprobs = random.below(3);
  if (ask.prompt_logprobs >= 0 && random.chance(30)) ask.max_tokens = ask.min_tokens = 0;
  if (random.chance(3)) ask.deadline_ms = 1;
  return ask;
}

/// One history; returns its preemptions.
uint64_t run_history(uint64_t seed, bool with_failures) {
  Random random{std::mt19937_64(seed)};
  Harness harness(random_options(random));
  if (with_failures) {
    for (int32_t i = 0; i < 3; ++i) {
      harness.runner.fails_run.insert(random.between(1, 60));
      harness.runner.fails_finish.insert(random.between(1, 60));
    }
  }
  std::vector<uint64_t> ids;
  for (int32_t operation = 0; operation < 120; ++operation) {
    const int32_t kind = random.below(100);
    if (kind < 25) {
      ids.push_back(harness.submit(random_ask(random, harness.options)));
    } else if (kind < 35 && !ids.empty()) {
      const uint64_t id = ids[size_t(random.below(int32_t(ids.size())))];
      const int32_t n = int32_t(harness[id].ask.num_sequences);
      const int32_t sequence = random.chance(50) ? HEARTH_CANCEL_ALL_SEQUENCES : random.below(n);
      const bool stops = random.chance(50);
      harness.cancel(id, sequence, stops ? HEARTH_CANCEL_STOP : HEARTH_CANCEL_CLIENT,
                     stops ? uint32_t(random.below(20)) : UINT32_MAX);
    } else {
      harness.step();
    }
  }
  harness.finish();
  uint64_t num_sequences = 0;
  for (const auto& [id, outcome] : harness.outcomes) {
    num_sequences += outcome.ask.num_sequences;
    CHECK(with_failures || outcome.error.empty());
    const auto& reasons = outcome.finish_reason;
    const bool whole = std::count(reasons.begin(), reasons.end(), uint32_t(HEARTH_FINISH_LENGTH)) ==
                       std::ptrdiff_t(reasons.size());
    if (whole && outcome.ask.prompt_logprobs >= 0) {
      CHECK_EQUAL(outcome.prompt_logprobs.size(), outcome.ask.prompt.size() - 1);
    }
  }
  const SchedulerCounters& counters = harness.scheduler.counters();
  uint64_t num_finished = counters.num_finished_error;
  for (const uint64_t count : counters.num_finished) num_finished += count;
  CHECK_EQUAL(num_finished, num_sequences);
  return counters.num_preemptions;
}

void run_histories(uint64_t first, uint64_t last, bool with_failures) {
  uint64_t num_preemptions = 0;
  for (uint64_t seed = first; seed < last; ++seed) {
    try {
      num_preemptions += run_history(seed, with_failures);
    } catch (const Failure& failure) {
      throw Failure{format("seed %llu: ", (unsigned long long)seed) + failure.message};
    } catch (const std::exception& error) {
      throw Failure{format("seed %llu: thrown: ", (unsigned long long)seed) + error.what()};
    }
  }
  CHECK(num_preemptions > last - first);  // or the histories are too tame
}

TEST("Scheduler keeps every promise through random histories") { run_histories(0, 400, false); }

TEST("Scheduler keeps its books through random histories with failing steps") {
  run_histories(1000, 1200, true);
}

TEST("Scheduler gives the same events at depth 1 and 2") {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    std::vector<std::vector<uint32_t>> outputs[3];
    for (int32_t depth = 1; depth <= 2; ++depth) {
      Random random{std::mt19937_64(seed)};
      HarnessOptions options = random_options(random);
      options.depth = depth;
      options.ageing = std::chrono::milliseconds(1000000);
      Harness harness(options);
      for (int32_t i = 0; i < 12; ++i) {
        Ask ask = random_ask(random, options);
        ask.deadline_ms = 0;
        harness.submit(ask);
      }
      harness.finish();
      for (const auto& [id, outcome] : harness.outcomes) {
        outputs[depth].insert(outputs[depth].end(), outcome.output.begin(), outcome.output.end());
      }
    }
    CHECK(outputs[1] == outputs[2]);
  }
}

}  // namespace
}  // namespace hearth::test
