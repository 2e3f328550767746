#include "harness.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "check.h"

namespace hearth::test {

bool Outcome::is_finished() const {
  return !error.empty() ||
         std::all_of(finish_reason.begin(), finish_reason.end(), [](uint32_t r) { return r != 0; });
}

void Outcome::check() const {
  for (uint32_t s = 0; s < ask.num_sequences; ++s) {
    const auto expected = expected_output(ask.prompt, ask.seed, s, int32_t(output[s].size()));
    for (size_t i = 0; i < expected.size(); ++i) CHECK_EQUAL(output[s][i], expected[i]);
    if (finish_reason[s] == HEARTH_FINISH_LENGTH) CHECK(output[s].size() <= ask.max_tokens);
    CHECK(num_output_tokens[s] <= output[s].size());
    for (size_t i = 0; i < output[s].size(); ++i) {
      const auto& stops = ask.stop_ids;
      const bool stop = std::find(stops.begin(), stops.end(), output[s][i]) != stops.end();
      if (stop && i >= ask.min_tokens) CHECK_EQUAL(i + 1, output[s].size());
    }
  }
  for (size_t i = 0; i < prompt_logprobs.size(); ++i) {
    CHECK_EQUAL(prompt_logprobs[i], expected_prompt_logprob(ask.prompt, int32_t(i) + 1));
  }
}

hearth_request_options request_values(const Ask& ask) {
  hearth_request_options values{};
  values.size = sizeof(values);
  values.num_sequences = ask.num_sequences;
  values.max_tokens = ask.max_tokens;
  values.min_tokens = ask.min_tokens;
  values.top_p = 1;
  values.repetition_penalty = 1;
  values.logprobs = ask.logprobs;
  values.prompt_logprobs = ask.prompt_logprobs;
  values.priority = ask.priority;
  values.seed = ask.seed;
  values.has_seed = 1;
  values.deadline_ms = ask.deadline_ms;
  values.salt[0] = ask.salt;
  values.caller = ask.caller;
  values.caller_weight = ask.caller_weight;
  values.stop_ids_count = uint32_t(ask.stop_ids.size());
  values.flat_bytes = uint32_t(ask.stop_ids.size() * sizeof(uint32_t));
  return values;
}

void record(Outcome& outcome, const hearth_event& event, const uint8_t* payload) {
  CHECK(!outcome.is_finished());
  switch (event.kind) {
    case HEARTH_EVENT_START:
      CHECK(!outcome.has_started);
      outcome.has_started = true;
      outcome.queue_microseconds = event.queue_microseconds;
      outcome.cached_tokens = event.cached_tokens;
      break;
    case HEARTH_EVENT_TOKEN: {
      CHECK(outcome.has_started);
      auto& output = outcome.output.at(event.sequence);
      CHECK_EQUAL(outcome.finish_reason.at(event.sequence), 0u);
      CHECK_EQUAL(event.num_tokens, 1u);
      output.push_back(event.token);
      CHECK_EQUAL(event.num_output_tokens, output.size());
      CHECK_EQUAL(std::isnan(event.logprob), outcome.ask.logprobs < 0);
      const int32_t top = std::max(outcome.ask.logprobs, 0);
      CHECK_EQUAL(event.num_top, uint32_t(top));
      CHECK_EQUAL(event.payload_bytes, top * sizeof(hearth_token_logprob));
      outcome.cached_tokens = event.cached_tokens;
      break;
    }
    case HEARTH_EVENT_PROMPT_LOGPROB:
      outcome.prompt_logprobs.push_back(event.logprob);
      CHECK_EQUAL(event.sequence, outcome.prompt_logprobs.size());
      CHECK_EQUAL(event.token, outcome.ask.prompt.at(event.sequence));
      break;
    case HEARTH_EVENT_FINISH:
      CHECK_EQUAL(outcome.finish_reason.at(event.sequence), 0u);
      outcome.finish_reason[event.sequence] = event.finish_reason;
      outcome.num_output_tokens[event.sequence] = event.num_output_tokens;
      outcome.cached_tokens = event.cached_tokens;
      break;
    case HEARTH_EVENT_ERROR:
      CHECK_EQUAL(event.payload_bytes, sizeof(hearth_error));
      outcome.error = error_in(payload).message;
      CHECK(!outcome.error.empty());
      break;
    default: fail(__FILE__, __LINE__, format("event of kind %u", event.kind));
  }
}

hearth_error error_in(const uint8_t* payload) {
  hearth_error error;
  std::memcpy(&error, payload, sizeof(error));
  CHECK_EQUAL(error.size, sizeof(error));
  return error;
}

std::vector<uint32_t> prompt_of(int32_t num_tokens, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<uint32_t> prompt(num_tokens);
  for (uint32_t& token : prompt) token = uint32_t(random() % kFakeVocab);
  return prompt;
}

namespace {

SchedulerOptions scheduler_options(const HarnessOptions& options) {
  return {options.num_blocks,      options.block_tokens,
          options.max_num_seqs,    options.max_num_batched_tokens,
          options.prefix_caching,  7,
          options.max_step_seconds};
}

}  // namespace

Harness::Harness(const HarnessOptions& options)
    : options(options), runner(options.num_blocks, options.block_tokens),
      scheduler(scheduler_options(options), runner),
      pipeline(scheduler, runner, scheduler_options(options), options.depth,
               [this] { return now(); }) {
  runner.step_seconds = options.step_seconds;
}

uint64_t Harness::submit(const Ask& ask) {
  const uint64_t id = next_id_++;
  outcomes[id] = {ask,
                  std::vector<std::vector<uint32_t>>(ask.num_sequences),
                  std::vector<uint32_t>(ask.num_sequences),
                  std::vector<uint32_t>(ask.num_sequences),
                  {},
                  0,
                  false,
                  0,
                  ""};
  RequestOptions parsed =
      parse_request(ask.prompt.data(), uint32_t(ask.prompt.size()), request_values(ask),
                    reinterpret_cast<const uint8_t*>(ask.stop_ids.data()),
                    {kFakeVocab, options.max_model_len, options.max_num_seqs});
  scheduler.submit(std::make_unique<Request>(id, ask.prompt, std::move(parsed),
                                             options.max_model_len, now(), options.ageing));
  return id;
}

void Harness::cancel(uint64_t request, int32_t sequence, uint32_t reason, uint32_t keep_tokens) {
  scheduler.cancel(request, sequence, reason, keep_tokens);
  take_events();
  scheduler.check_integrity();
}

int32_t Harness::step() {
  scheduler.expire(now());
  const int32_t num_tokens = pipeline.step();
  take_events();
  scheduler.check_integrity();
  CHECK(runner.max_tokens <= options.max_num_batched_tokens);
  CHECK(runner.max_sequences <= options.max_num_seqs);
  return num_tokens;
}

void Harness::finish() {
  for (int32_t steps = 0; scheduler.has_work(); ++steps) {
    CHECK(steps < 20000);
    step();
  }
  for (const auto& [id, outcome] : outcomes) {
    CHECK(outcome.is_finished());
    outcome.check();
  }
  CHECK_EQUAL(scheduler.gauges().kv_blocks_held, 0);
  CHECK_EQUAL(runner.num_samplers(), 0);
}

void Harness::take_events() {
  for (const Event& event : scheduler.events()) {
    record(
        outcomes.at(event.header.request),
        [&] {
          hearth_event header = event.header;
          header.payload_bytes = uint32_t(event.payload.size());
          return header;
        }(),
        event.payload.data());
  }
  scheduler.events().clear();
}

}  // namespace hearth::test
