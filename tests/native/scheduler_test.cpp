// What the scheduler promises, one promise a test. Tokens are checked against the reference by the
// harness, the books after every step.
#include <thread>

#include "check.h"
#include "harness.h"

namespace hearth::test {
namespace {

/// Runs a test body at both pipeline depths.
template <class Body>
void at_both_depths(HarnessOptions options, Body&& body) {
  for (options.depth = 1; options.depth <= 2; ++options.depth) body(options);
}

TEST("Scheduler generates until max_tokens") {
  at_both_depths({}, [](const HarnessOptions& options) {
    Harness harness(options);
    const uint64_t id = harness.submit({.prompt = prompt_of(5), .max_tokens = 40});
    harness.finish();
    CHECK_EQUAL(harness[id].output[0].size(), 40u);
    CHECK_EQUAL(harness[id].finish_reason[0], uint32_t(HEARTH_FINISH_LENGTH));
    CHECK_EQUAL(harness.scheduler.counters().num_generation_tokens, 40u);
    CHECK_EQUAL(harness.scheduler.counters().num_prompt_tokens, 5u);
    // One step for the prompt, which draws the first token; no step after the last token is known.
    CHECK_EQUAL(harness.pipeline.counters().num_steps, 40u);
  });
}

TEST("Scheduler ends a sequence at max_model_len") {
  at_both_depths({.max_model_len = 32}, [](const HarnessOptions& options) {
    Harness harness(options);
    const uint64_t id = harness.submit({.prompt = prompt_of(31), .max_tokens = 100});
    const uint64_t other = harness.submit({.prompt = prompt_of(20, 2), .max_tokens = 100});
    harness.finish();
    CHECK_EQUAL(harness[id].output[0].size(), 1u);
    CHECK_EQUAL(harness[other].output[0].size(), 12u);
    CHECK_EQUAL(harness[other].finish_reason[0], uint32_t(HEARTH_FINISH_LENGTH));
  });
}

TEST("Scheduler stops at a stop id, which is the last token, and not before min_tokens") {
  at_both_depths({}, [](const HarnessOptions& options) {
    const auto output = expected_output(prompt_of(20), 1, 0, 30);
    Harness harness(options);
    const uint64_t id = harness.submit({.prompt = prompt_of(20),
                                        .max_tokens = 30,
                                        .stop_ids = {output[0], output[12]},
                                        .min_tokens = 5});
    harness.finish();
    CHECK_EQUAL(harness[id].finish_reason[0], uint32_t(HEARTH_FINISH_STOP));
    CHECK_EQUAL(harness[id].output[0].back(), output[harness[id].output[0].size() - 1]);
    CHECK(harness[id].output[0].size() > 5 && harness[id].output[0].size() <= 13);
    CHECK_EQUAL(harness.scheduler.counters().num_generation_tokens, harness[id].output[0].size());
  });
}

TEST("Scheduler computes long prompts in chunks and never holds decodes up") {
  at_both_depths({.max_num_batched_tokens = 16}, [](const HarnessOptions& options) {
    Harness harness(options);
    const uint64_t first = harness.submit({.prompt = prompt_of(4), .max_tokens = 30});
    while (harness[first].output[0].empty()) harness.step();
    const uint64_t second = harness.submit({.prompt = prompt_of(100, 2), .max_tokens = 2});
    while (harness[second].output[0].empty()) {
      const size_t before = harness[first].output[0].size();
      harness.step();
      CHECK_EQUAL(harness[first].output[0].size(), before + 1);
    }
    harness.finish();
    CHECK(harness.runner.max_tokens == 16);
  });
}

TEST("Scheduler reserves tokens for the decodes of worse requests behind a prompt") {
  at_both_depths(
      {.max_num_seqs = 4, .max_num_batched_tokens = 4}, [](const HarnessOptions& options) {
        Harness harness(options);
        const uint64_t worse =
            harness.submit({.prompt = prompt_of(3), .max_tokens = 40, .priority = 9});
        while (harness[worse].output[0].empty()) harness.step();
        const uint64_t better = harness.submit({.prompt = prompt_of(60, 2), .max_tokens = 1});
        while (!harness[better].is_finished()) {
          const size_t before = harness[worse].output[0].size();
          harness.step();
          CHECK_EQUAL(harness[worse].output[0].size(), before + 1);
        }
        harness.finish();
      });
}

TEST("Scheduler takes a repeated prompt from the prefix cache, all but its last token") {
  at_both_depths({}, [](const HarnessOptions& options) {
    Harness harness(options);
    const uint64_t first = harness.submit({.prompt = prompt_of(64), .max_tokens = 1});
    harness.finish();
    const uint64_t again = harness.submit({.prompt = prompt_of(64), .max_tokens = 20});
    harness.finish();
    // The output is cached too: a longer conversation goes on where this one ended.
    std::vector<uint32_t> longer = prompt_of(64);
    longer.insert(longer.end(), harness[again].output[0].begin(), harness[again].output[0].end());
    const uint64_t next = harness.submit({.prompt = longer, .max_tokens = 1});
    harness.finish();
    CHECK_EQUAL(harness[first].cached_tokens, 0u);
    CHECK_EQUAL(harness[again].cached_tokens, 48u);
    CHECK_EQUAL(harness[next].cached_tokens, 80u);
    CHECK_EQUAL(harness.scheduler.counters().num_prompt_tokens_cached, 128u);
  });
}

TEST("Scheduler shares prefixes under one salt only, and not when caching is off") {
  for (const bool caching : {true, false}) {
    Harness harness({.prefix_caching = caching});
    harness.submit({.prompt = prompt_of(64), .salt = 1});
    harness.finish();
    const uint64_t other = harness.submit({.prompt = prompt_of(64), .salt = 2});
    const uint64_t same = harness.submit({.prompt = prompt_of(64), .salt = 1});
    harness.finish();
    CHECK_EQUAL(harness[other].cached_tokens, 0u);
    CHECK_EQUAL(harness[same].cached_tokens, caching ? 48u : 0u);
    CHECK_EQUAL(harness.scheduler.gauges().kv_blocks_cached > 0, caching);
  }
}

TEST("Scheduler finds a prefix that a running request has just computed") {
  Harness harness;
  const uint64_t first = harness.submit({.prompt = prompt_of(40), .max_tokens = 50});
  while (harness[first].output[0].empty()) harness.step();
  const uint64_t second = harness.submit({.prompt = prompt_of(40), .max_tokens = 5, .seed = 2});
  harness.finish();
  CHECK_EQUAL(harness[second].cached_tokens, 32u);
}

TEST("Scheduler computes a prompt once for n sequences, which share its blocks") {
  at_both_depths({}, [](const HarnessOptions& options) {
    Harness harness(options);
    const uint64_t id =
        harness.submit({.prompt = prompt_of(40), .max_tokens = 20, .num_sequences = 4});
    harness.step();
    CHECK_EQUAL(harness.pipeline.counters().num_step_tokens, 40u);
    if (options.depth == 1) {
      CHECK_EQUAL(harness.scheduler.gauges().kv_blocks_held, 3);
      harness.step();
      CHECK_EQUAL(harness.runner.num_copies, 3);  // the last writer keeps the block itself
      CHECK_EQUAL(harness.scheduler.gauges().kv_blocks_held, 6);
    }
    harness.finish();
    CHECK_EQUAL(harness.runner.num_copies, 3);
    CHECK(harness[id].output[0] != harness[id].output[1]);
    CHECK_EQUAL(harness.pipeline.counters().num_step_tokens, 40u + 4 * 19);
  });
}

TEST("Scheduler counts all n sequences against max_num_seqs while the prompt is computed") {
  Harness harness({.max_num_seqs = 4, .max_num_batched_tokens = 16});
  harness.submit({.prompt = prompt_of(60), .num_sequences = 3});
  harness.submit({.prompt = prompt_of(20, 2), .num_sequences = 2});
  harness.step();
  CHECK_EQUAL(harness.scheduler.gauges().num_sequences_running, 3);
  CHECK_EQUAL(harness.scheduler.gauges().num_requests_waiting, 1);
  harness.finish();
}

TEST("Scheduler goes on with a prompt whose first sequence is cancelled") {
  at_both_depths({.max_num_batched_tokens = 16}, [](const HarnessOptions& options) {
    Harness harness(options);
    const uint64_t id =
        harness.submit({.prompt = prompt_of(60), .max_tokens = 10, .num_sequences = 3});
    harness.step();
    harness.cancel(id, 0);
    harness.cancel(id, 2);
    harness.finish();
    CHECK_EQUAL(harness[id].finish_reason[0], uint32_t(HEARTH_FINISH_CANCELLED));
    CHECK_EQUAL(harness[id].output[0].size(), 0u);
    CHECK_EQUAL(harness[id].output[1].size(), 10u);
    CHECK_EQUAL(harness[id].finish_reason[1], uint32_t(HEARTH_FINISH_LENGTH));
  });
}

TEST("Scheduler frees the blocks of a cancelled request, prefill included") {
  at_both_depths({.max_num_batched_tokens = 16}, [](const HarnessOptions& options) {
    Harness harness(options);
    const uint64_t prefilling = harness.submit({.prompt = prompt_of(100), .num_sequences = 2});
    harness.step();
    const uint64_t waiting = harness.submit({.prompt = prompt_of(100, 2)});
    CHECK(harness.scheduler.gauges().kv_blocks_held > 0);
    harness.cancel(prefilling);
    harness.cancel(waiting);
    CHECK(harness[prefilling].is_finished() && harness[waiting].is_finished());
    harness.step();  // retires what is in flight
    CHECK_EQUAL(harness.scheduler.gauges().kv_blocks_held, 0);
    CHECK(!harness.scheduler.has_work());
    CHECK_EQUAL(harness.scheduler.counters().num_finished[HEARTH_FINISH_CANCELLED], 3u);
  });
}

TEST("Scheduler forgets tokens after a matched stop string") {
  at_both_depths({}, [](const HarnessOptions& options) {
    Harness harness(options);
    const uint64_t id = harness.submit({.prompt = prompt_of(30), .max_tokens = 200});
    while (harness[id].output[0].size() < 60) harness.step();
    harness.cancel(id, 0, HEARTH_CANCEL_STOP, 10);
    CHECK_EQUAL(harness[id].finish_reason[0], uint32_t(HEARTH_FINISH_STOP));
    CHECK_EQUAL(harness[id].num_output_tokens[0], 10u);
    CHECK_EQUAL(harness.scheduler.counters().num_generation_tokens, 10u);
    const auto output = harness[id].output[0];
    std::vector<uint32_t> longer = prompt_of(30);
    longer.insert(longer.end(), output.begin(), output.end());
    harness.finish();
    const uint64_t again = harness.submit({.prompt = longer, .max_tokens = 1});
    harness.finish();
    CHECK_EQUAL(harness[again].cached_tokens, 32u);  // of 30 + 10 tokens that count
  });
}

TEST("Scheduler preempts the lowest priority when KV blocks run out") {
  Harness harness({.num_blocks = 6, .max_model_len = 64});
  const uint64_t low = harness.submit({.prompt = prompt_of(31), .max_tokens = 30, .priority = 1});
  const uint64_t high =
      harness.submit({.prompt = prompt_of(31, 2), .max_tokens = 30, .priority = 0});
  while (!harness[high].is_finished()) {
    harness.step();
    CHECK(harness[high].output[0].size() >= harness[low].output[0].size());
  }
  harness.finish();
  CHECK(harness.scheduler.counters().num_preemptions >= 1);
  CHECK_EQUAL(harness[low].output[0].size(), 30u);
}

TEST("Scheduler lets a better request take the blocks of a worse one at once") {
  at_both_depths({.num_blocks = 5, .max_model_len = 80}, [](const HarnessOptions& options) {
    Harness harness(options);
    const uint64_t low = harness.submit({.prompt = prompt_of(40), .max_tokens = 30, .priority = 5});
    while (harness[low].output[0].size() < 5) harness.step();
    const uint64_t high = harness.submit({.prompt = prompt_of(60, 2), .max_tokens = 3});
    while (!harness[high].is_finished()) harness.step();
    CHECK(!harness[low].is_finished());
    CHECK_EQUAL(harness.scheduler.counters().num_preemptions, 1u);
    harness.finish();
  });
}

TEST("Scheduler counts blocks that only worse sequences share as room for a better request") {
  at_both_depths({.num_blocks = 6, .max_model_len = 96}, [](const HarnessOptions& options) {
    Harness harness(options);
    const uint64_t low = harness.submit(
        {.prompt = prompt_of(64), .max_tokens = 14, .num_sequences = 2, .priority = 5});
    while (harness[low].output[0].size() < 3) harness.step();
    // No block is free: 4 are held by both sequences, 1 by each alone.
    const uint64_t high = harness.submit({.prompt = prompt_of(79, 2), .max_tokens = 1});
    while (!harness[high].is_finished()) harness.step();
    CHECK(!harness[low].is_finished());
    harness.finish();
  });
}

TEST("Scheduler says when a request starts, and how long it has waited") {
  at_both_depths({.max_num_seqs = 1}, [](const HarnessOptions& options) {
    Harness harness(options);
    const uint64_t first = harness.submit({.prompt = prompt_of(20), .max_tokens = 3});
    const uint64_t second = harness.submit({.prompt = prompt_of(20), .max_tokens = 3});
    harness.step();
    CHECK(harness[first].has_started);
    CHECK(!harness[second].has_started);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    harness.finish();
    CHECK(harness[second].has_started);
    CHECK(harness[second].queue_microseconds >= 2000);
    CHECK(harness[second].queue_microseconds < 60000000);
  });
}

TEST("Scheduler fails only the request whose logits are not finite") {
  at_both_depths({}, [](const HarnessOptions& options) {
    Harness harness(options);
    harness.runner.broken_seeds = {13};
    const uint64_t good = harness.submit({.prompt = prompt_of(20), .max_tokens = 9});
    const uint64_t bad =
        harness.submit({.prompt = prompt_of(20, 2), .num_sequences = 2, .seed = 13});
    harness.finish();
    CHECK_EQUAL(harness[bad].error,
                std::string("Cannot sample: the logits that follow token 20 of the request must be "
                            "finite"));
    CHECK_EQUAL(harness[bad].output[0].size(), 0u);
    CHECK_EQUAL(harness[good].output[0].size(), 9u);
  });
}

TEST("Scheduler's generated tokens never go down, and leave out what a stop text cuts off") {
  Harness harness;
  const uint64_t id = harness.submit({.prompt = prompt_of(20), .max_tokens = 50});
  uint64_t before = 0;
  const auto look = [&] {
    const uint64_t now = harness.scheduler.counters().num_generation_tokens;
    CHECK(now >= before);
    before = now;
  };
  while (harness[id].output[0].size() < 10) {
    harness.step();
    look();
  }
  harness.cancel(id, 0, HEARTH_CANCEL_STOP, 4);
  look();
  CHECK_EQUAL(before, 4u);
}

TEST("Scheduler serves by priority, then arrival, and lets no one wait for ever") {
  const auto finish_order = [](std::chrono::milliseconds ageing) {
    Harness harness({.max_num_seqs = 1, .ageing = ageing});
    const uint64_t running = harness.submit({.prompt = prompt_of(8), .max_tokens = 3});
    harness.step();
    const uint64_t old =
        harness.submit({.prompt = prompt_of(8, 2), .max_tokens = 3, .priority = 3});
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    const uint64_t young = harness.submit({.prompt = prompt_of(8, 3), .max_tokens = 3});
    while (!harness[old].is_finished() && !harness[young].is_finished()) harness.step();
    const bool old_first = harness[old].is_finished();
    harness.finish();
    CHECK(harness[running].is_finished());
    return old_first;
  };
  CHECK(!finish_order(std::chrono::milliseconds(10000)));
  CHECK(finish_order(std::chrono::milliseconds(1)));
}

TEST("Scheduler gives prompt logprobs for every chunking, and skips prefix reads for them") {
  for (const int32_t budget : {8, 13, 64}) {
    at_both_depths({.max_num_batched_tokens = budget}, [](const HarnessOptions& options) {
      Harness harness(options);
      harness.submit({.prompt = prompt_of(50), .max_tokens = 1});
      harness.finish();
      const uint64_t id = harness.submit(
          {.prompt = prompt_of(50), .max_tokens = 0, .num_sequences = 2, .prompt_logprobs = 2});
      const uint64_t both = harness.submit({.prompt = prompt_of(50),
                                            .max_tokens = 4,
                                            .num_sequences = 2,
                                            .logprobs = 3,
                                            .prompt_logprobs = 0});
      const uint64_t single =
          harness.submit({.prompt = {5}, .max_tokens = 0, .prompt_logprobs = 0});
      harness.finish();
      CHECK_EQUAL(harness[id].prompt_logprobs.size(), 49u);
      CHECK_EQUAL(harness[both].prompt_logprobs.size(), 49u);
      CHECK_EQUAL(harness[single].prompt_logprobs.size(), 0u);
      CHECK_EQUAL(harness[id].cached_tokens, 0u);
      CHECK_EQUAL(harness[id].finish_reason[1], uint32_t(HEARTH_FINISH_LENGTH));
      CHECK_EQUAL(harness[both].output[1].size(), 4u);
    });
  }
}

TEST("Scheduler drops what has passed its deadline before its forward") {
  at_both_depths({}, [](const HarnessOptions& options) {
    Harness harness(options);
    const uint64_t late =
        harness.submit({.prompt = prompt_of(20), .max_tokens = 200, .deadline_ms = 1});
    const uint64_t other = harness.submit({.prompt = prompt_of(20, 2), .max_tokens = 5});
    std::this_thread::sleep_for(std::chrono::milliseconds(3));
    harness.finish();
    CHECK_EQUAL(harness[late].finish_reason[0], uint32_t(HEARTH_FINISH_DEADLINE));
    CHECK_EQUAL(harness[late].output[0].size(), 0u);
    CHECK_EQUAL(harness[other].output[0].size(), 5u);
    CHECK_EQUAL(harness.scheduler.counters().num_prompt_tokens, 20u);
  });
}

TEST("Scheduler fails the requests of a step that throws, and goes on") {
  for (const bool at_finish : {false, true}) {
    at_both_depths({}, [&](const HarnessOptions& options) {
      Harness harness(options);
      (at_finish ? harness.runner.fails_finish : harness.runner.fails_run) = {4};
      const uint64_t first =
          harness.submit({.prompt = prompt_of(20), .max_tokens = 30, .num_sequences = 2});
      const uint64_t second = harness.submit({.prompt = prompt_of(20, 2), .max_tokens = 3});
      while (harness[first].error.empty()) harness.step();
      const uint64_t third = harness.submit({.prompt = prompt_of(20), .max_tokens = 5});
      harness.finish();
      CHECK(harness[first].error.find("fake") != std::string::npos);
      CHECK_EQUAL(harness[second].error.empty(),
                  !at_finish || harness[second].output[0].size() == 3);
      CHECK_EQUAL(harness[third].output[0].size(), 5u);
      CHECK(harness.scheduler.counters().num_finished_error >= 2);
    });
  }
}

void step_until_failed(Harness& harness, uint64_t request) {
  for (int32_t steps = 0; harness[request].error.empty(); ++steps) {
    CHECK(steps < 100);
    harness.step();
  }
}

// The abandoned step is finished once, whatever that throws, and its results go to nobody.
TEST("Pipeline finishes a step that could not be run, and discards what comes") {
  at_both_depths({}, [](const HarnessOptions& options) {
    for (const bool fails_twice : {false, true}) {
      Harness harness(options);
      harness.runner.fails_run = {3};
      if (fails_twice) harness.runner.fails_finish = {3};
      const uint64_t first = harness.submit({.prompt = prompt_of(20), .max_tokens = 30});
      step_until_failed(harness, first);
      CHECK(harness[first].error.find("kernel of the fake") != std::string::npos);
      const uint64_t second = harness.submit({.prompt = prompt_of(20), .max_tokens = 5});
      harness.finish();  // the fake runner checks that nothing is run before and finished twice
      CHECK_EQUAL(harness[second].output[0].size(), 5u);
    }
  });
}

TEST("Pipeline fails the requests of a step with too few or too many results, and goes on") {
  for (const int32_t more : {-1, 1}) {
    at_both_depths({}, [&](const HarnessOptions& options) {
      Harness harness(options);
      harness.runner.more_results[4] = more;
      const uint64_t first = harness.submit(
          {.prompt = prompt_of(20), .max_tokens = 30, .num_sequences = 2, .prompt_logprobs = 0});
      step_until_failed(harness, first);
      CHECK(harness[first].error.find(format("2 rows were sampled: there are %d results",
                                             2 + more)) != std::string::npos);
      CHECK_EQUAL(harness[first].output[0].size(), harness[first].output[1].size());
      const uint64_t second = harness.submit({.prompt = prompt_of(20), .max_tokens = 5});
      harness.finish();
      CHECK_EQUAL(harness[second].output[0].size(), 5u);
    });
  }
}

TEST("StepPlan refuses block tables that an int32 cannot count, before it allocates them") {
  hearth_request_options values = request_values({.prompt = {5}, .num_sequences = 1u << 16});
  Request request(1, {5}, RequestOptions{values, {}, {}, {}}, 200, Clock::now(), {});
  StepPlan plan;
  plan.reset(1, 1 << 17, 16);
  for (Sequence& sequence : request.sequences) {
    sequence.block_table = {0};
    plan.add_tokens(sequence, 1);
  }
  CHECK_EQUAL(plan.seal().max_blocks, 1);
  request.sequences[7].block_table.resize(1u << 15);
  CHECK_ERROR(HEARTH_UNSUPPORTED, "current value is 65536 * 32768", plan.seal());
}

TEST("Scheduler lets a request wait for samplers until others have ended, in its turn") {
  at_both_depths({}, [](const HarnessOptions& options) {
    Harness harness(options);
    harness.runner.max_samplers = 2;
    std::vector<uint64_t> ids;
    for (uint32_t i = 0; i < 5; ++i) {
      ids.push_back(harness.submit({.prompt = prompt_of(10, i), .max_tokens = 3 + i}));
    }
    // Needs both, and none is bound for it as long as there is one.
    ids.push_back(harness.submit(
        {.prompt = prompt_of(10, 9), .max_tokens = 4, .num_sequences = 2, .seed = 7}));
    ids.push_back(harness.submit({.prompt = prompt_of(10, 10), .max_tokens = 1}));
    harness.finish();
    for (const uint64_t id : ids) {
      CHECK_EQUAL(harness[id].error, "");
      CHECK(harness[id].is_finished());
    }
    CHECK_EQUAL(harness.runner.num_samplers(), 0);
    CHECK(harness.runner.max_sequences <= 2);
  });
}

TEST("Scheduler fails a request whose samplers find no room though nobody will give any back") {
  at_both_depths({.num_blocks = 4}, [](const HarnessOptions& options) {
    Harness harness(options);
    harness.runner.max_samplers = 1;
    const uint64_t low = harness.submit({.prompt = prompt_of(40), .max_tokens = 20, .priority = 5});
    while (harness[low].output[0].empty()) harness.step();
    const uint64_t high = harness.submit(
        {.prompt = prompt_of(40, 2), .max_tokens = 3, .num_sequences = 2, .priority = 0});
    harness.finish();
    // Two samplers never fit; the other request is not lost by it.
    CHECK(harness[high].error.find("samplers") != std::string::npos);
    CHECK_EQUAL(harness[low].output[0].size(), 20u);
    CHECK_EQUAL(harness.runner.num_samplers(), 0);
  });
}

TEST("Scheduler fails a request whose sampler cannot be bound") {
  Harness harness;
  harness.runner.fails_bind = {2};
  const uint64_t first = harness.submit({.prompt = prompt_of(20), .num_sequences = 3});
  const uint64_t second = harness.submit({.prompt = prompt_of(20)});
  harness.finish();
  CHECK_EQUAL(harness[first].error, std::string("no sampler left"));
  CHECK(harness[second].error.empty());
}

}  // namespace
}  // namespace hearth::test
