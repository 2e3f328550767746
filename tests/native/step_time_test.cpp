// Steps that compute prompts last as long as they may: the model of their time, and what is cut by
// it.
#include <cmath>

#include "check.h"
#include "engine/step_time.h"
#include "harness.h"

namespace hearth::test {
namespace {

constexpr double kSecondsPerToken = 1e-3;
constexpr double kSecondsPerPair = 4e-7;

/// A CPU on which 8,000 tokens take 20 s, a third of it attention.
double slow_step(int64_t num_tokens, int64_t num_pairs) {
  return kSecondsPerToken * double(num_tokens) + kSecondsPerPair * double(num_pairs);
}

double seconds_since(const Harness& harness, Clock::time_point begin) {
  return std::chrono::duration<double>(harness.now() - begin).count();
}

HarnessOptions slow_machine() {
  return {.num_blocks = 3600,
          .max_num_seqs = 16,
          .max_num_batched_tokens = 512,
          .max_model_len = 8192,
          .step_seconds = slow_step,
          .max_step_seconds = 0.15};
}

TEST("StepTime bounds nothing before it has measured") {
  const StepTime time;
  CHECK_EQUAL(time.tokens_within(0.1, 5000), INT32_MAX);
  CHECK_EQUAL(time.tokens_within(0, 0), 0);
  CHECK_EQUAL(time.seconds(100, 1000), 0.0);
}

TEST("StepTime finds what tokens and pairs cost, and how many fit") {
  StepTime time;
  for (int32_t begin = 0; begin < 4000; begin += 100) {
    const int64_t num_pairs = 100 * begin + 5050;
    time.observe(100, num_pairs, slow_step(100, num_pairs));
  }
  CHECK(std::abs(time.seconds(1000, 0) - 1) < 1e-6);
  CHECK(std::abs(time.seconds(0, 1000000) - 0.4) < 1e-6);
  for (const int32_t begin : {0, 100, 8000}) {
    const int64_t most = time.tokens_within(0.15, begin);
    const auto takes = [&](int64_t n) { return slow_step(n, n * begin + n * (n + 1) / 2); };
    CHECK(takes(most) <= 0.15 + 1e-9 && takes(most + 1) > 0.15 - 1e-9);
  }
}

TEST("StepTime never finds that anything costs less than nothing, and follows what changes") {
  StepTime time;
  time.observe(100, 5050, 0.1);
  CHECK(std::abs(time.seconds(50, 1275) - 0.05) < 1e-9);  // one step: it is the tokens
  time.observe(100, 100000, 0.05);                        // the longer context was faster
  CHECK(time.seconds(0, 1e6) >= 0 && time.seconds(100, 0) > 0);
  for (int32_t i = 0; i < 200; ++i) time.observe(100 + i % 7, 100000 + 900 * (i % 5), 0.8);
  CHECK(std::abs(time.seconds(103, 101800) / 0.8 - 1) < 0.05);
}

TEST("Steps with prompts in them keep to their time, whatever the context") {
  for (int32_t depth = 1; depth <= 2; ++depth) {
    HarnessOptions options = slow_machine();
    options.depth = depth;
    Harness harness(options);
    harness.submit({.prompt = prompt_of(8000), .max_tokens = 2});
    for (int32_t i = 0; i < 3; ++i) harness.step();  // until tokens and pairs are told apart
    double longest = 0;
    while (harness.scheduler.has_work()) {
      const auto begin = harness.now();
      harness.step();
      longest = std::max(longest, seconds_since(harness, begin));
    }
    CHECK(longest > 0.14 && longest < 0.152);
    harness.finish();
  }
}

TEST("What has no time to begin holds no blocks") {
  Harness harness(slow_machine());
  for (uint64_t i = 0; i < 3; ++i) harness.submit({.prompt = prompt_of(2000, i), .max_tokens = 1});
  for (int32_t i = 0; i < 6; ++i) {
    harness.step();
    CHECK_EQUAL(harness.scheduler.gauges().num_requests_running, 1);
  }
  harness.finish();
}

TEST("A step whose time is short computes a block all the same") {
  HarnessOptions options = slow_machine();
  options.max_step_seconds = 1e-4;
  Harness harness(options);
  harness.submit({.prompt = prompt_of(600), .max_tokens = 1});
  harness.step();
  while (harness.scheduler.has_work()) {
    const int32_t num_tokens = harness.step();
    CHECK(num_tokens == 16 || !harness.scheduler.has_work());
  }
  harness.finish();
}

TEST("hello begins within half a second beside six prompts of 8,000 tokens of another") {
  for (int32_t depth = 1; depth <= 2; ++depth) {
    HarnessOptions options = slow_machine();
    options.depth = depth;
    Harness harness(options);
    for (uint64_t i = 0; i < 6; ++i) {
      harness.submit({.prompt = prompt_of(8000, i), .max_tokens = 4, .caller = 1});
    }
    double longest = 0;
    for (uint64_t i = 0; i < 40; ++i) {
      for (int32_t steps = 0; steps < 7; ++steps) harness.step();
      const auto begin = harness.now();
      const uint64_t hello =
          harness.submit({.prompt = prompt_of(30, 100 + i), .max_tokens = 2, .caller = 2});
      while (harness[hello].output[0].empty()) harness.step();
      longest = std::max(longest, seconds_since(harness, begin));
    }
    // Nothing is staged ahead of it: this is the step in which it is seen.
    CHECK(longest < 0.152);
    for (const auto& [id, outcome] : harness.outcomes) {
      if (!outcome.is_finished()) harness.cancel(id);
    }
    harness.finish();
  }
}

TEST("Two callers who always have 16 requests waiting get equal tokens over a minute") {
  HarnessOptions options = slow_machine();
  options.num_blocks = 400;
  Harness harness(options);
  struct Side {
    Ask ask;
    std::vector<uint64_t> open = {};
    double num_tokens = 0;
  };
  Side sides[] = {{{.prompt = prompt_of(900), .max_tokens = 20, .caller = 1}},
                  {{.prompt = prompt_of(60), .max_tokens = 100, .caller = 2}}};
  uint64_t next_prompt = 10;
  const auto begin = harness.now();
  while (seconds_since(harness, begin) < 60) {
    for (Side& side : sides) {
      std::erase_if(side.open, [&](uint64_t id) { return harness[id].has_started; });
      while (side.open.size() < 16) {
        side.ask.prompt = prompt_of(int32_t(side.ask.prompt.size()), next_prompt++);
        side.open.push_back(harness.submit(side.ask));
      }
    }
    harness.step();
  }
  for (const auto& [id, outcome] : harness.outcomes) {
    if (!outcome.output[0].empty()) {
      sides[outcome.ask.caller - 1].num_tokens +=
          double(outcome.ask.prompt.size() + outcome.output[0].size());
    }
  }
  CHECK(sides[0].num_tokens > 20000);
  CHECK(std::abs(sides[0].num_tokens / sides[1].num_tokens - 1) < 0.05);
}

}  // namespace
}  // namespace hearth::test
