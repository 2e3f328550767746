// Which CTA reduces what: every query once, every chunk of a decode once.
#include <numeric>
#include <random>
#include <vector>

#include "backend/cuda/attention_plan.h"
#include "check.h"

namespace hearth::test {
namespace {

using namespace cuda;

constexpr int32_t kMostItems = 1 << 20;

/// A step of sequences, each with so many queries at the end of its context.
struct Sequences {
  std::vector<int32_t> starts{0}, contexts, ids;
  StepInput input;

  explicit Sequences(const std::vector<std::pair<int32_t, int32_t>>& context_and_queries) {
    for (const auto& [context, queries] : context_and_queries) {
      contexts.push_back(context);
      starts.push_back(starts.back() + queries);
    }
    ids.resize(size_t(starts.back()));
    input.token_ids = ids;
    input.query_start = starts;
    input.context_len = contexts;
  }
  /// How much of its context the last query of an item sees.
  int32_t seen(const PrefillItem& item) const {
    const int32_t end = item.first_token + item.num_tokens;
    return contexts[size_t(item.sequence)] - (starts[size_t(item.sequence) + 1] - end);
  }
};

void check_plan(const Sequences& step, const AttentionPlan& plan) {
  std::vector<int32_t> covered(step.ids.size(), 0);
  size_t next = 0;
  for (int32_t s = 0; s < step.input.num_sequences(); ++s) {
    if (step.starts[size_t(s) + 1] - step.starts[size_t(s)] != 1) continue;
    ++covered[size_t(step.starts[size_t(s)])];
    const int32_t chunks = (step.contexts[size_t(s)] + 511) / 512;
    for (int32_t chunk = 0; chunk < chunks; ++chunk, ++next) {
      CHECK(next < plan.decodes.size());
      CHECK_EQUAL(plan.decodes[next].sequence, s);
      CHECK_EQUAL(plan.decodes[next].chunk, chunk);
    }
  }
  CHECK_EQUAL(plan.decodes.size(), next);
  int32_t last_seen = INT32_MAX;
  for (const PrefillItem& item : plan.prefills) {
    CHECK(item.num_tokens >= 1 && item.num_tokens <= kPrefillTile);
    const int32_t first = step.starts[size_t(item.sequence)];
    const int32_t end = step.starts[size_t(item.sequence) + 1];
    CHECK(end - first > 1);
    CHECK(item.first_token >= first && item.first_token + item.num_tokens <= end);
    for (int32_t i = 0; i < item.num_tokens; ++i) ++covered[size_t(item.first_token + i)];
    CHECK(step.seen(item) <= last_seen);
    last_seen = step.seen(item);
  }
  for (const int32_t count : covered) CHECK_EQUAL(count, 1);
  const int32_t batched = std::accumulate(plan.batches.begin(), plan.batches.end(), 0);
  CHECK_EQUAL(batched, int32_t(plan.decodes.size()));
}

TEST("AttentionPlan cuts decodes into launches of whole sequences that fit") {
  const Sequences step({{600, 1}, {2000, 1}, {40, 3}, {512, 1}, {513, 1}, {1, 1}});
  AttentionPlan plan;
  plan.make(step.input, 4);  // the longest context has 4 items
  check_plan(step, plan);
  const std::vector<int32_t> expected{2, 4, 3 + 1};
  CHECK(plan.batches == expected);
  plan.make(step.input, 100);
  CHECK_EQUAL(plan.batches.size(), 1u);
  plan.make(Sequences({{40, 7}}).input, 4);
  CHECK(plan.batches.empty());
}

TEST("AttentionPlan splits decodes into chunks of 512 and prefills into tiles of 128 queries") {
  const Sequences step({{1, 1}, {512, 1}, {513, 1}, {300, 129}, {128, 128}, {2000, 2}, {9, 0}});
  AttentionPlan plan;
  plan.make(step.input, kMostItems);
  check_plan(step, plan);
  CHECK_EQUAL(plan.decodes.size(), 4u);
  CHECK_EQUAL(plan.prefills.size(), 4u);
  CHECK_EQUAL(plan.prefills[0].sequence, 5);  // its tile sees 2000 tokens
  CHECK_EQUAL(plan.prefills[0].num_tokens, 2);
  plan.make(Sequences({{40, 1}}).input, kMostItems);  // nothing of the step before is left
  CHECK_EQUAL(plan.decodes.size(), 1u);
  CHECK(plan.prefills.empty());
  plan.make(StepInput{}, kMostItems);
  CHECK(plan.decodes.empty() && plan.prefills.empty());
}

TEST("AttentionPlan covers every query of random steps once, the longest tiles first") {
  std::mt19937 random(3);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::pair<int32_t, int32_t>> sequences;
    for (uint32_t i = random() % 20; i > 0; --i) {
      const int32_t queries = random() % 2 ? 1 : 1 + int32_t(random() % 700);
      sequences.push_back({queries + int32_t(random() % 3000), queries});
    }
    const Sequences step(sequences);
    AttentionPlan plan;
    plan.make(step.input, kMostItems);
    check_plan(step, plan);
  }
}

TEST("num_chunks() counts the parts of a context that begin") {
  CHECK_EQUAL(num_chunks(0), 0);
  CHECK_EQUAL(num_chunks(512), 1);
  CHECK_EQUAL(num_chunks(513), 2);
}

}  // namespace
}  // namespace hearth::test
