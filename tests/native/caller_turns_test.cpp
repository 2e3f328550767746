// Turns between callers: equal shares, short waits, and nothing lost or starved whatever comes.
#include <algorithm>
#include <map>
#include <random>

#include "check.h"
#include "harness.h"

namespace hearth::test {
namespace {

/// Callers who ask again as soon as less than so many of their requests are unfinished.
struct Crowd {
  struct Member {
    Ask ask;  // prompts differ
    int32_t num_open = 16;
    std::vector<uint64_t> open = {};
    double num_tokens = 0;  // of requests that have ended, prompts included
  };

  void refill(Harness& harness) {
    for (Member& member : members) {
      std::erase_if(member.open, [&](uint64_t id) {
        const Outcome& outcome = harness[id];
        if (!outcome.is_finished()) return false;
        member.num_tokens += double(outcome.ask.prompt.size() + outcome.output[0].size());
        return true;
      });
      while (int32_t(member.open.size()) < member.num_open) {
        Ask ask = member.ask;
        ask.prompt = prompt_of(int32_t(ask.prompt.size()), next_prompt++);
        member.open.push_back(harness.submit(ask));
      }
    }
  }

  void run(Harness& harness, int32_t num_steps) {
    for (Member& member : members) member.num_tokens = 0;
    for (int32_t i = 0; i < num_steps; ++i) {
      refill(harness);
      harness.step();
    }
  }

  std::vector<Member> members;
  uint64_t next_prompt = 1;
};

void check_ratio(double a, double b, double expected) {
  if (std::abs(a / b / expected - 1) <= 0.05) return;
  fail(__FILE__, __LINE__, format("%g tokens and %g: not %g to 1", a, b, expected));
}

/// Runs a test body at both pipeline depths.
template <class Body>
void at_both_depths(HarnessOptions options, Body&& body) {
  for (options.depth = 1; options.depth <= 2; ++options.depth) body(options);
}

TEST("Callers who always wait get equal tokens, whatever their requests are like") {
  at_both_depths({.num_blocks = 40}, [](const HarnessOptions& options) {
    Harness harness(options);
    Crowd crowd{{{{.prompt = prompt_of(120), .max_tokens = 2, .caller = 1}},
                 {{.prompt = prompt_of(5), .max_tokens = 40, .caller = 2}}}};
    crowd.run(harness, 3000);
    check_ratio(crowd.members[0].num_tokens, crowd.members[1].num_tokens, 1);
  });
}

TEST("A caller of weight 3 gets three times as many tokens") {
  at_both_depths({.num_blocks = 40}, [](const HarnessOptions& options) {
    Harness harness(options);
    Crowd crowd{{{{.prompt = prompt_of(60), .max_tokens = 8, .caller = 1, .caller_weight = 3}},
                 {{.prompt = prompt_of(60), .max_tokens = 8, .caller = 2}}}};
    crowd.run(harness, 4000);
    check_ratio(crowd.members[0].num_tokens, crowd.members[1].num_tokens, 3);
  });
}

TEST("A short prompt begins in the step in which it is seen, beside the long ones of another") {
  struct Case {
    uint64_t light;
    bool comes_later;
  };
  for (const auto& [light, comes_later] : {Case{1, true}, {2, true}, {2, false}}) {
    Harness harness;
    for (uint64_t i = 0; i < 6; ++i) {
      harness.submit({.prompt = prompt_of(i == 0 ? 40 : 150, i), .max_tokens = 1, .caller = 1});
    }
    if (comes_later) harness.step();
    const uint64_t hello = harness.submit({.prompt = prompt_of(9, 9), .caller = light});
    harness.step();
    // Of one caller the first come first.
    CHECK_EQUAL(harness[hello].output[0].size(), light == 2 ? 1u : 0u);
    harness.finish();
  }
}

TEST("Callers share a step's prefill by halves, and by their turns") {
  Harness harness;
  std::vector<uint64_t> ids;
  for (uint64_t i = 0; i < 2; ++i) {
    ids.push_back(harness.submit({.prompt = prompt_of(128, i + 1), .max_tokens = 1, .caller = i}));
  }
  for (int32_t i = 0; i < 3; ++i) harness.step();
  CHECK(!harness[ids[0]].is_finished() && !harness[ids[1]].is_finished());
  harness.step();
  CHECK(harness[ids[0]].is_finished() && harness[ids[1]].is_finished());
}

TEST("A caller who was away has no credit, and one who was alone no debt") {
  at_both_depths({.num_blocks = 40, .max_num_seqs = 2}, [](const HarnessOptions& options) {
    Harness harness(options);
    Crowd crowd{{{{.prompt = prompt_of(30), .max_tokens = 10, .caller = 1}},
                 {{.prompt = prompt_of(30), .max_tokens = 10, .caller = 2}, 0}}};
    crowd.run(harness, 4000);
    crowd.members[1].num_open = 16;
    crowd.run(harness, 1000);
    CHECK(crowd.members[0].num_tokens > 0);
    check_ratio(crowd.members[0].num_tokens, crowd.members[1].num_tokens, 1);
    // One that decodes and asks for nothing else does not gather any either.
    crowd.members[1].num_open = 0;
    for (const uint64_t id : crowd.members[0].open) harness.cancel(id);
    for (const uint64_t id : crowd.members[1].open) harness.cancel(id);
    harness.finish();
    const uint64_t slow = harness.submit({.prompt = prompt_of(2), .max_tokens = 250, .caller = 2});
    crowd.members[0].open.clear();
    crowd.members[1].open.clear();
    crowd.run(harness, 200);
    CHECK(!harness[slow].is_finished());
    crowd.members[1].num_open = 16;
    crowd.run(harness, 1000);
    check_ratio(crowd.members[0].num_tokens, crowd.members[1].num_tokens, 1);
  });
}

TEST("What was used while nobody waited is no debt") {
  at_both_depths({.num_blocks = 40, .max_num_seqs = 2}, [](const HarnessOptions& options) {
    Harness harness(options);
    Crowd crowd{{{{.prompt = prompt_of(3), .max_tokens = 100, .caller = 1}, 2},
                 {{.prompt = prompt_of(30), .max_tokens = 10, .caller = 2}, 0}}};
    crowd.run(harness, 3000);
    crowd.members[0].ask = {.prompt = prompt_of(30), .max_tokens = 10, .caller = 1};
    for (Crowd::Member& member : crowd.members) member.num_open = 16;
    crowd.run(harness, 2000);
    check_ratio(crowd.members[0].num_tokens, crowd.members[1].num_tokens, 1);
  });
}

TEST("Blocks are taken from the caller who had most, the newest sequence first") {
  Harness harness({.num_blocks = 8, .max_model_len = 128});
  const uint64_t first =
      harness.submit({.prompt = prompt_of(31, 1), .max_tokens = 60, .caller = 1});
  const uint64_t second =
      harness.submit({.prompt = prompt_of(31, 2), .max_tokens = 60, .caller = 1});
  for (int32_t i = 0; i < 20; ++i) harness.step();
  // Better of the two in its caller's eyes, and of less virtual time than that.
  const uint64_t light =
      harness.submit({.prompt = prompt_of(5, 3), .max_tokens = 100, .caller = 2});
  while (harness.scheduler.counters().num_preemptions == 0) harness.step();
  const size_t before = harness[second].output[0].size();
  for (int32_t i = 0; i < 5; ++i) harness.step();
  CHECK_EQUAL(harness[second].output[0].size(), before);
  CHECK(!harness[first].is_finished() && !harness[light].is_finished());
  harness.finish();
}

TEST("A light caller gets blocks though a heavy one holds them all") {
  at_both_depths({.num_blocks = 16, .max_model_len = 256}, [](const HarnessOptions& options) {
    Harness harness(options);
    std::vector<uint64_t> heavy;
    for (uint64_t i = 0; i < 8; ++i) {
      heavy.push_back(
          harness.submit({.prompt = prompt_of(31, i + 1), .max_tokens = 200, .caller = 1}));
    }
    for (int32_t i = 0; i < 10; ++i) harness.step();
    CHECK(harness.scheduler.gauges().kv_blocks_free <= 1);
    const uint64_t light =
        harness.submit({.prompt = prompt_of(40, 99), .max_tokens = 4, .caller = 2});
    int32_t num_steps = 0;
    while (!harness[light].is_finished()) {
      harness.step();
      CHECK(++num_steps <= 30);
    }
    harness.finish();
  });
}

TEST("Two callers do not take each other's blocks in turn") {
  at_both_depths(
      {.num_blocks = 10, .max_model_len = 160, .prefix_caching = false},
      [](const HarnessOptions& options) {
        Harness harness(options);
        for (uint64_t caller = 1; caller <= 2; ++caller) {
          for (uint64_t i = 0; i < 6; ++i) {
            harness.submit(
                {.prompt = prompt_of(100, 10 * caller + i), .max_tokens = 40, .caller = caller});
          }
        }
        harness.finish();
        // Each is computed twice at most on the average.
        CHECK(harness.pipeline.counters().num_step_tokens < 2 * 12 * 140);
      });
}

TEST("Callers who are gone are forgotten") {
  Harness harness;
  Crowd crowd{{{{.prompt = prompt_of(60), .max_tokens = 8, .caller = 1}}}};
  size_t most = 0;
  for (uint64_t caller = 2; caller < 2000; ++caller) {
    crowd.refill(harness);
    harness.submit({.prompt = prompt_of(10, caller), .max_tokens = 1, .caller = caller});
    harness.step();
    most = std::max(most, harness.scheduler.num_callers());
  }
  CHECK(most < 40);
}

/// Random requests of many callers over a cache that is too small; returns the longest wait of a
/// caller's first request for its first token, in steps.
int32_t longest_wait(uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto below = [&](int32_t bound) { return int32_t(random() % uint64_t(bound)); };
  HarnessOptions options;
  options.num_blocks = 8 + below(30);
  options.max_model_len = 100;
  options.max_num_seqs = 1 + below(8);
  options.max_num_batched_tokens = options.max_num_seqs + 8 + below(60);
  options.depth = 1 + below(2);
  options.prefix_caching = below(2) == 0;
  Harness harness(options);
  // The first never stops asking; each other one asks for a little now and then.
  const int32_t num_callers = 2 + below(8);
  struct Light {
    uint64_t id;
    int32_t since;
  };
  std::map<uint64_t, Light> light;
  int32_t longest = 0;
  Crowd heavy{{{{.prompt = prompt_of(60), .max_tokens = 30, .caller = 0}}}};
  for (int32_t step = 0; step < 600; ++step) {
    heavy.refill(harness);
    for (auto at = light.begin(); at != light.end();) {
      const bool has_begun = !harness[at->second.id].output[0].empty();
      if (has_begun || harness[at->second.id].is_finished()) {
        longest = std::max(longest, step - at->second.since);
        at = light.erase(at);
      } else {
        longest = std::max(longest, step - at->second.since);
        ++at;
      }
    }
    const uint64_t caller = uint64_t(1 + below(num_callers));
    if (!light.count(caller) && below(4) == 0) {
      const uint64_t id =
          harness.submit({.prompt = prompt_of(1 + below(20), uint64_t(step)),
                          .max_tokens = uint32_t(1 + below(10)),
                          .num_sequences = uint32_t(1 + below(std::min(options.max_num_seqs, 2))),
                          .priority = below(5),
                          .caller = caller,
                          .caller_weight = uint32_t(below(3))});
      light[caller] = {id, step};
    }
    harness.step();
  }
  harness.finish();
  return longest;
}

TEST("No caller's wait grows with what another asks for") {
  int32_t longest = 0;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    try {
      longest = std::max(longest, longest_wait(seed));
    } catch (const Failure& failure) {
      throw Failure{format("seed %llu: ", (unsigned long long)seed) + failure.message};
    }
  }
  CHECK(longest < 200);
}

}  // namespace
}  // namespace hearth::test
