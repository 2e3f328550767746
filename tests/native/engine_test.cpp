// The engine's doors: by hand, and from many threads at once (the ThreadSanitizer's part).
#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <random>
#include <thread>

#include "allocation_fault.h"
#include "check.h"
#include "engine/engine_loop.h"
#include "harness.h"

namespace hearth::test {
namespace {

using std::chrono::milliseconds;

EngineConfig config_of(bool manual, int32_t depth = 1) {
  EngineConfig config{};
  config.scheduler = {.num_blocks = 24,
                      .block_tokens = 16,
                      .max_num_seqs = 6,
                      .max_num_batched_tokens = 40,
                      .prefix_caching = true,
                      .fingerprint = 1};
  config.limits = {kFakeVocab, 200, 6};
  config.manual = manual;
  config.pipeline_depth = depth;
  config.max_queued_requests = 100000;
  config.max_queued_tokens = 1u << 30;
  config.ageing = milliseconds(1000);
  return config;
}

/// An engine over a fake runner, and the outcomes of its requests.
struct Fixture {
  explicit Fixture(const EngineConfig& config, std::unique_ptr<FakeRunner> fake = nullptr)
      : owned(fake ? std::move(fake) : std::make_unique<FakeRunner>(24, 16)), runner(*owned),
        engine(config, std::move(owned)) {
    engine.start();
  }

  uint64_t submit(const Ask& ask) {
    const hearth_request_options values = request_values(ask);
    std::lock_guard lock(mutex);  // before the poller can see an event of it
    const uint64_t id = engine.submit(ask.prompt.data(), uint32_t(ask.prompt.size()), values,
                                      reinterpret_cast<const uint8_t*>(ask.stop_ids.data()));
    Outcome& outcome = outcomes[id];
    outcome.ask = ask;
    outcome.output.resize(ask.num_sequences);
    outcome.finish_reason.resize(ask.num_sequences);
    outcome.num_output_tokens.resize(ask.num_sequences);
    return id;
  }

  /// Polls once with a buffer of few events; returns what hearth_poll returns.
  int32_t poll(uint32_t capacity = 3, milliseconds timeout = milliseconds(0)) {
    std::vector<hearth_event> events(capacity);
    alignas(8) uint8_t payload[4096];
    const int32_t count = engine.poll(events.data(), sizeof(hearth_event), capacity, payload,
                                      sizeof(payload), timeout);
    std::lock_guard lock(mutex);
    for (int32_t i = 0; i < count; ++i) {
      const hearth_event& event = events[size_t(i)];
      CHECK_EQUAL(event.payload_offset % 8, 0u);
      if (event.request == 0) {
        engine_events.push_back(event);
        if (event.payload_bytes > 0) failure = error_in(payload + event.payload_offset);
      } else {
        record(outcomes.at(event.request), event, payload + event.payload_offset);
      }
    }
    return count;
  }
  void poll_until_closed() {
    while (poll(3, milliseconds(5000)) != HEARTH_CLOSED) {
    }
  }
  /// Manual mode: steps until nothing is left and takes all events in.
  void finish() {
    while (engine.step() > 0) engine.check_integrity();
    while (poll(64) > 0) {
    }
  }

  std::unique_ptr<FakeRunner> owned;  // until the engine has it
  FakeRunner& runner;
  Engine engine;
  std::mutex mutex;
  std::map<uint64_t, Outcome> outcomes;
  std::vector<hearth_event> engine_events;
  hearth_error failure{};  // of the newest event that tells one
};

TEST("Engine runs by hand: READY, tokens, FINISH, CLOSED") {
  for (const int32_t depth : {1, 2}) {
    Fixture fixture(config_of(true, depth));
    CHECK_EQUAL(fixture.engine.stats().state, uint32_t(HEARTH_STATE_READY));
    CHECK_EQUAL(fixture.engine.step(), 0);
    const uint64_t id = fixture.submit({.prompt = prompt_of(30), .max_tokens = 5, .logprobs = 2});
    CHECK_EQUAL(fixture.engine.stats().num_requests_waiting, 1u);
    CHECK_EQUAL(fixture.engine.stats().num_queued_tokens, 30u);
    CHECK_EQUAL(fixture.engine.step(), 30);
    fixture.finish();
    CHECK_EQUAL(fixture.engine_events.at(0).kind, uint32_t(HEARTH_EVENT_READY));
    CHECK_EQUAL(fixture.outcomes[id].output[0].size(), 5u);
    fixture.outcomes[id].check();
    const hearth_engine_stats stats = fixture.engine.stats();
    CHECK_EQUAL(stats.num_requests_submitted, 1u);
    CHECK_EQUAL(stats.num_finished_length, 1u);
    CHECK_EQUAL(stats.num_steps, 5u);
    CHECK_EQUAL(stats.step_bytes, 50u);
    CHECK_EQUAL(stats.device_microseconds, 25u);
    CHECK(stats.num_launches >= 15);
    CHECK_EQUAL(stats.kv_blocks_held + stats.num_requests_running + stats.num_requests_waiting, 0u);

    fixture.engine.stop(true);
    CHECK_EQUAL(fixture.poll(), int32_t(HEARTH_CLOSED));
    CHECK_ERROR(HEARTH_CLOSING, "closing", fixture.submit({.prompt = prompt_of(3)}));
    CHECK_ERROR(HEARTH_CLOSED, "stopped", fixture.engine.step());
  }
}

TEST("Engine drains by hand, and can be cut short") {
  Fixture fixture(config_of(true, 2));
  const uint64_t first = fixture.submit({.prompt = prompt_of(30), .max_tokens = 3});
  const uint64_t second =
      fixture.submit({.prompt = prompt_of(30), .max_tokens = 100, .num_sequences = 2});
  fixture.engine.step();
  fixture.engine.stop(true);
  CHECK_EQUAL(fixture.engine.stats().state, uint32_t(HEARTH_STATE_CLOSING));
  for (int i = 0; i < 5; ++i) fixture.engine.step();
  fixture.engine.stop(false);
  CHECK_EQUAL(fixture.engine.stats().state, uint32_t(HEARTH_STATE_CLOSED));
  fixture.poll_until_closed();
  CHECK_EQUAL(fixture.outcomes[first].finish_reason[0], uint32_t(HEARTH_FINISH_LENGTH));
  CHECK_EQUAL(fixture.outcomes[second].finish_reason[0], uint32_t(HEARTH_FINISH_CANCELLED));
  CHECK_EQUAL(fixture.outcomes[second].finish_reason[1], uint32_t(HEARTH_FINISH_CANCELLED));
  CHECK_EQUAL(fixture.engine.stats().kv_blocks_held, 0u);
}

TEST("Engine refuses when the queue is full, in requests and in tokens") {
  EngineConfig config = config_of(true);
  config.scheduler.max_num_seqs = 1;
  config.max_queued_requests = 2;
  config.max_queued_tokens = 101;
  Fixture fixture(config);
  fixture.submit({.prompt = prompt_of(50)});
  CHECK_ERROR(HEARTH_QUEUE_FULL, "max_queued_tokens is 101",
              fixture.submit({.prompt = prompt_of(52)}));
  fixture.submit({.prompt = prompt_of(50)});
  fixture.submit({.prompt = prompt_of(1)});  // one that will run, two that wait
  CHECK_ERROR(HEARTH_QUEUE_FULL, "max_queued_requests is 2",
              fixture.submit({.prompt = prompt_of(1)}));
  fixture.engine.step();  // the first one runs: the others wait as before
  CHECK_ERROR(HEARTH_QUEUE_FULL, "max_queued_requests is 2",
              fixture.submit({.prompt = prompt_of(1)}));
  fixture.finish();
  fixture.submit({.prompt = prompt_of(1)});
  fixture.finish();
  CHECK_EQUAL(fixture.engine.stats().num_requests_submitted, 4u);
}

TEST("Engine refuses a deadline that measured rates cannot meet") {
  auto runner = std::make_unique<FakeRunner>(24, 16);
  runner->step_delay = milliseconds(5);
  Fixture fixture(config_of(true), std::move(runner));
  fixture.submit({.prompt = prompt_of(100), .max_tokens = 4, .deadline_ms = 1000000});
  fixture.finish();
  CHECK_ERROR(
      HEARTH_DEADLINE, "deadline_ms must be >=",
      fixture.submit(
          {.prompt = prompt_of(150, 2), .max_tokens = 20, .min_tokens = 20, .deadline_ms = 50}));
  fixture.submit({.prompt = prompt_of(150, 2), .deadline_ms = 100000});
  // It may end with its first token, its prompt may be cached, and the one before it may vanish.
  fixture.submit({.prompt = prompt_of(150, 3), .max_tokens = 20, .deadline_ms = 50});
  CHECK(fixture.engine.stats().expected_wait_ms >= 5);  // the prefill that is queued
  fixture.finish();
  CHECK_EQUAL(fixture.engine.stats().expected_wait_ms, 0u);
}

TEST("Engine refuses a deadline before which its own and its caller's prompts take too long") {
  auto runner = std::make_unique<FakeRunner>(24, 16);
  runner->step_delay = milliseconds(10);
  Fixture fixture(config_of(true), std::move(runner));
  fixture.submit({.prompt = prompt_of(80), .max_tokens = 1});
  fixture.finish();
  // 160 tokens are 4 steps of 40, and one more for the first token.
  const auto ask = [&](uint64_t seed, uint64_t caller, int32_t priority) {
    return fixture.submit({.prompt = prompt_of(160, seed),
                           .max_tokens = 1,
                           .priority = priority,
                           .deadline_ms = 70,
                           .caller = caller});
  };
  ask(2, 1, 1);
  CHECK_ERROR(HEARTH_DEADLINE, "deadline_ms must be >= ", ask(3, 1, 1));  // behind the other
  ask(4, 2, 1);                                                           // not its caller's
  ask(5, 1, 0);                                                           // goes first
  CHECK_ERROR(HEARTH_DEADLINE, "deadline_ms must be >= ",
              fixture.submit({.prompt = prompt_of(160, 6), .deadline_ms = 30, .caller = 3}));
  fixture.finish();
}

TEST("Engine::cancel tells what is gone") {
  Fixture fixture(config_of(true));
  const uint64_t id =
      fixture.submit({.prompt = prompt_of(30), .max_tokens = 50, .num_sequences = 2});
  Engine& engine = fixture.engine;
  fixture.engine.step();
  CHECK_EQUAL(engine.cancel(id, 2, 0, UINT32_MAX), int32_t(HEARTH_INVALID_ARGUMENT));
  CHECK_EQUAL(engine.cancel(id, -2, 0, UINT32_MAX), int32_t(HEARTH_INVALID_ARGUMENT));
  CHECK_EQUAL(engine.cancel(id + 1, 0, 0, UINT32_MAX), int32_t(HEARTH_NOT_FOUND));
  CHECK_EQUAL(engine.cancel(id, 0, 0, UINT32_MAX), int32_t(HEARTH_OK));
  fixture.engine.step();
  CHECK_EQUAL(engine.cancel(id, 0, 0, UINT32_MAX), int32_t(HEARTH_NOT_FOUND));
  CHECK_EQUAL(engine.cancel(id, HEARTH_CANCEL_ALL_SEQUENCES, HEARTH_CANCEL_STOP, 1),
              int32_t(HEARTH_OK));
  fixture.finish();
  CHECK_EQUAL(engine.cancel(id, HEARTH_CANCEL_ALL_SEQUENCES, 0, UINT32_MAX),
              int32_t(HEARTH_NOT_FOUND));
  CHECK_EQUAL(fixture.outcomes[id].finish_reason[1], uint32_t(HEARTH_FINISH_STOP));
  CHECK_EQUAL(fixture.outcomes[id].num_output_tokens[1], 1u);
}

TEST("Engine draws different seeds where none is given") {
  Fixture fixture(config_of(true));
  const auto prompt = prompt_of(5);
  hearth_request_options values = request_values({.prompt = prompt, .max_tokens = 20});
  values.has_seed = 0;
  std::vector<uint32_t> tokens[2];
  for (auto& drawn : tokens) {
    fixture.engine.submit(prompt.data(), 5, values, nullptr);
    while (fixture.engine.step() > 0) {
    }
    hearth_event events[64];
    uint8_t payload[4096];
    const int32_t count = fixture.engine.poll(events, sizeof(events[0]), 64, payload,
                                              sizeof(payload), milliseconds(0));
    for (int32_t i = 0; i < count; ++i) drawn.push_back(events[i].token);
  }
  CHECK(tokens[0] != tokens[1]);
}

TEST("Engine takes requests only once it is loaded, and can be stopped before") {
  for (const bool drain : {false, true}) {
    auto runner = std::make_unique<FakeRunner>(24, 16);
    runner->waits_for_cancel = true;
    Fixture fixture(config_of(false), std::move(runner));
    CHECK_EQUAL(fixture.engine.stats().state, uint32_t(HEARTH_STATE_LOADING));
    CHECK_ERROR(HEARTH_NOT_READY, "loading", fixture.submit({.prompt = prompt_of(3)}));
    CHECK_EQUAL(fixture.poll(3, milliseconds(1)), 0);
    fixture.engine.stop(drain);
    fixture.poll_until_closed();
    CHECK(fixture.engine_events.empty());
  }
}

TEST("Engine tells why loading failed") {
  auto runner = std::make_unique<FakeRunner>(24, 16);
  runner->load_failure = "Cannot read weights: the disk is gone";
  Fixture fixture(config_of(false), std::move(runner));
  while (fixture.poll(3, milliseconds(5000)) == 0) {
  }
  CHECK_EQUAL(fixture.engine_events.at(0).kind, uint32_t(HEARTH_EVENT_FAILED));
  CHECK_EQUAL(fixture.failure.status, int32_t(HEARTH_IO_ERROR));
  CHECK_EQUAL(std::string(fixture.failure.message),
              std::string("Cannot read weights: the disk is gone"));
  CHECK_EQUAL(fixture.engine.stats().state, uint32_t(HEARTH_STATE_FAILED));
  CHECK_ERROR(HEARTH_NOT_READY, "the disk is gone", fixture.submit({.prompt = prompt_of(3)}));
  fixture.engine.stop(true);
  fixture.poll_until_closed();
}

/// Where a test loses the device.
struct Loss {
  int32_t FakeRunner::*call;
  int32_t number;
};
const Loss kLosses[] = {{&FakeRunner::lost_at_run, 1},    {&FakeRunner::lost_at_run, 4},
                        {&FakeRunner::lost_at_finish, 1}, {&FakeRunner::lost_at_finish, 4},
                        {&FakeRunner::lost_at_bind, 2},   {&FakeRunner::lost_at_bind, 3}};

std::unique_ptr<FakeRunner> runner_losing(const Loss& loss) {
  auto runner = std::make_unique<FakeRunner>(24, 16);
  runner.get()->*loss.call = loss.number;
  return runner;
}

void check_device_lost(Fixture& fixture, size_t num_requests) {
  CHECK_EQUAL(fixture.outcomes.size(), num_requests);
  for (const auto& [id, outcome] : fixture.outcomes) {
    CHECK_EQUAL(outcome.error,
                std::string("Cannot reach the fake device: it has fallen off the bus"));
    outcome.check();
  }
  CHECK_EQUAL(fixture.engine_events.size(), 2u);
  CHECK_EQUAL(fixture.engine_events[1].kind, uint32_t(HEARTH_EVENT_FAILED));
  CHECK_EQUAL(fixture.failure.status, int32_t(HEARTH_DEVICE_LOST));
  CHECK(std::string(fixture.failure.message).find("off the bus") != std::string::npos);
  const hearth_engine_stats stats = fixture.engine.stats();
  CHECK_EQUAL(stats.state, uint32_t(HEARTH_STATE_FAILED));
  CHECK_EQUAL(stats.num_requests_running + stats.num_requests_waiting + stats.kv_blocks_held, 0u);
  CHECK_EQUAL(stats.num_finished_error, num_requests);
  CHECK_ERROR(HEARTH_NOT_READY, "the engine has failed: Cannot reach the fake device",
              fixture.submit({.prompt = prompt_of(3)}));
  CHECK_EQUAL(fixture.runner.num_calls_when_lost, 0);
  CHECK_EQUAL(fixture.runner.num_samplers(), 0);
}

TEST("Engine fails with a lost device: its own thread") {
  for (const int32_t depth : {1, 2}) {
    for (const Loss& loss : kLosses) {
      auto runner = runner_losing(loss);
      std::atomic<bool> may_bind{false};  // until all requests are there
      runner->on_bound = [&] {
        while (!may_bind) std::this_thread::yield();
      };
      Fixture fixture(config_of(false, depth), std::move(runner));
      while (fixture.engine.stats().state == HEARTH_STATE_LOADING) std::this_thread::yield();
      for (uint64_t i = 1; i <= 3; ++i) {
        fixture.submit({.prompt = prompt_of(50, i), .max_tokens = 50});
      }
      may_bind = true;
      while (fixture.engine_events.size() < 2) fixture.poll(3, milliseconds(5000));
      check_device_lost(fixture, 3);
      fixture.engine.stop(true);
      CHECK_EQUAL(fixture.poll(3, milliseconds(5000)), int32_t(HEARTH_CLOSED));
      CHECK_EQUAL(fixture.engine.stats().state, uint32_t(HEARTH_STATE_CLOSED));
    }
  }
}

TEST("Engine fails with a lost device: by hand") {
  for (const int32_t depth : {1, 2}) {
    for (const Loss& loss : kLosses) {
      for (const bool drain : {false, true}) {
        Fixture fixture(config_of(true, depth), runner_losing(loss));
        for (uint64_t i = 1; i <= 3; ++i) {
          fixture.submit({.prompt = prompt_of(50, i), .max_tokens = 50});
        }
        CHECK_ERROR(HEARTH_DEVICE_LOST, "off the bus",
                    while (fixture.engine.step() > 0) fixture.engine.check_integrity());
        while (fixture.poll(64) > 0) {
        }
        check_device_lost(fixture, 3);
        fixture.engine.check_integrity();
        CHECK_ERROR(HEARTH_NOT_READY, "the engine has failed: Cannot reach the fake device",
                    fixture.engine.step());
        fixture.engine.stop(drain);
        CHECK_EQUAL(fixture.poll(), int32_t(HEARTH_CLOSED));
        CHECK_ERROR(HEARTH_CLOSED, "stopped", fixture.engine.step());
      }
    }
  }
}

TEST("Engine that is cut short by hand survives a device that is lost meanwhile") {
  Fixture fixture(config_of(true, 2), runner_losing({&FakeRunner::lost_at_finish, 2}));
  const uint64_t id = fixture.submit({.prompt = prompt_of(30), .max_tokens = 50});
  fixture.engine.step();
  fixture.engine.stop(false);
  fixture.poll_until_closed();
  CHECK_EQUAL(fixture.outcomes[id].finish_reason[0], uint32_t(HEARTH_FINISH_CANCELLED));
  CHECK_EQUAL(fixture.engine_events.back().kind, uint32_t(HEARTH_EVENT_FAILED));
}

TEST("Engine that drains by hand is closed when its device is lost meanwhile") {
  Fixture fixture(config_of(true, 2), runner_losing({&FakeRunner::lost_at_run, 4}));
  const uint64_t id = fixture.submit({.prompt = prompt_of(30), .max_tokens = 50});
  fixture.engine.step();
  fixture.engine.stop(true);
  CHECK_ERROR(HEARTH_DEVICE_LOST, "off the bus", while (fixture.engine.step() > 0));
  fixture.poll_until_closed();
  CHECK(fixture.outcomes[id].error.find("off the bus") != std::string::npos);
}

// Memory runs out while the engine's thread plans, and there is none for telling so either.
TEST("Engine without any memory is FAILED, says so, and takes nothing with it") {
  for (const int32_t depth : {1, 2}) {
    AllocationFault fault;  // outlives the thread
    auto runner = std::make_unique<FakeRunner>(24, 16);
    std::atomic<bool> may_bind{false};  // until all requests are there
    runner->on_bound = [&] {
      while (!may_bind) std::this_thread::yield();
      set_allocation_fault(&fault);
    };
    Fixture fixture(config_of(false, depth), std::move(runner));
    while (fixture.engine.stats().state == HEARTH_STATE_LOADING) std::this_thread::yield();
    for (int i = 0; i < 3; ++i) fixture.submit({.prompt = prompt_of(50), .max_tokens = 50});
    may_bind = true;
    while (fixture.engine_events.size() < 2) fixture.poll(3, milliseconds(5000));
    CHECK(fault.has_struck);
    CHECK_EQUAL(fixture.engine_events[1].kind, uint32_t(HEARTH_EVENT_FAILED));
    CHECK_EQUAL(fixture.failure.status, int32_t(HEARTH_OUT_OF_MEMORY));
    CHECK_EQUAL(std::string(fixture.failure.message),
                std::string("Cannot run the engine: no host memory is left"));
    CHECK_EQUAL(fixture.engine.stats().state, uint32_t(HEARTH_STATE_FAILED));
    CHECK_ERROR(HEARTH_NOT_READY, "no host memory is left",
                fixture.submit({.prompt = prompt_of(3)}));
    fixture.engine.stop(true);
    fixture.poll_until_closed();
  }
}

/// Serves three requests by hand while `fault` is in force in the engine's calls; false where it
/// has not struck. Whatever fails, each request comes to an end: by itself, or with the engine.
bool survives(AllocationFault fault, int32_t depth) {
  Fixture fixture(config_of(true, depth));
  for (uint64_t i = 1; i <= 3; ++i) {
    fixture.submit({.prompt = prompt_of(40, i), .max_tokens = 6, .num_sequences = uint32_t(i)});
  }
  bool has_work = true;
  while (has_work && fixture.engine.stats().state == HEARTH_STATE_READY) {
    set_allocation_fault(&fault);
    try {
      fixture.engine.step();
    } catch (const std::bad_alloc&) {
      CHECK_EQUAL(fixture.engine.stats().state, uint32_t(HEARTH_STATE_FAILED));
    }
    set_allocation_fault(nullptr);
    if (fixture.engine.stats().state == HEARTH_STATE_READY) fixture.engine.check_integrity();
    while (fixture.poll(64) > 0) {
    }
    has_work = !std::all_of(fixture.outcomes.begin(), fixture.outcomes.end(),
                            [](const auto& entry) { return entry.second.is_finished(); });
  }
  const bool failed = fixture.engine.stats().state == HEARTH_STATE_FAILED;
  CHECK_EQUAL(fixture.engine_events.size(), failed ? 2u : 1u);
  if (failed) CHECK_EQUAL(fixture.engine_events[1].kind, uint32_t(HEARTH_EVENT_FAILED));
  for (const auto& [id, outcome] : fixture.outcomes) outcome.check();
  fixture.engine.stop(false);
  fixture.poll_until_closed();
  if (!failed) CHECK_EQUAL(fixture.engine.stats().kv_blocks_held, 0u);
  return fault.has_struck;
}

TEST("Engine survives every allocation that fails") {
  for (const int32_t depth : {1, 2}) {
    for (const bool lasts : {false, true}) {
      int64_t num_left = 0;
      while (survives({num_left, lasts}, depth)) ++num_left;
      CHECK(num_left > 50);  // as many as one run makes
    }
  }
}

TEST("Engine is closed while it works") {
  for (int i = 0; i < 20; ++i) {
    Fixture fixture(config_of(false, 1 + i % 2));
    while (fixture.engine.stats().state == HEARTH_STATE_LOADING) std::this_thread::yield();
    for (int j = 0; j < 10; ++j) fixture.submit({.prompt = prompt_of(50), .max_tokens = 100});
    if (i % 4 == 0) fixture.poll(2);
  }
}

TEST("Engine serves many threads that submit, cancel, look and poll") {
  constexpr int kThreads = 3;
  constexpr int kRequests = 60;
  for (const int32_t depth : {1, 2}) {
    Fixture fixture(config_of(false, depth));
    while (fixture.engine.stats().state == HEARTH_STATE_LOADING) std::this_thread::yield();
    std::atomic<bool> done{false};
    std::thread poller([&] { fixture.poll_until_closed(); });
    std::thread watcher([&] {
      while (!done) {
        const hearth_engine_stats stats = fixture.engine.stats();
        CHECK_EQUAL(stats.kv_blocks_free + stats.kv_blocks_cached + stats.kv_blocks_held, 24u);
        std::this_thread::sleep_for(milliseconds(1));
      }
    });
    std::vector<std::thread> clients;
    for (int client = 0; client < kThreads; ++client) {
      clients.emplace_back([&, client] {
        std::mt19937_64 random(uint64_t(client) + 1);
        for (int i = 0; i < kRequests; ++i) {
          Ask ask;
          ask.prompt = prompt_of(int32_t(1 + random() % 120), random() % 3);
          ask.max_tokens = uint32_t(1 + random() % 40);
          ask.num_sequences = uint32_t(1 + random() % 3);
          ask.priority = int32_t(random() % 3);
          const uint64_t id = fixture.submit(ask);
          if (random() % 3 == 0) {
            std::this_thread::sleep_for(std::chrono::microseconds(random() % 500));
            fixture.engine.cancel(id, random() % 2 ? HEARTH_CANCEL_ALL_SEQUENCES : 0,
                                  uint32_t(random() % 2), uint32_t(random() % 10));
          }
        }
      });
    }
    for (std::thread& client : clients) client.join();
    fixture.engine.stop(true);
    poller.join();
    done = true;
    watcher.join();
    CHECK_EQUAL(fixture.outcomes.size(), size_t(kThreads * kRequests));
    for (const auto& [id, outcome] : fixture.outcomes) {
      CHECK(outcome.is_finished());
      outcome.check();
    }
    CHECK_EQUAL(fixture.engine.stats().kv_blocks_held, 0u);
    CHECK_EQUAL(fixture.engine.stats().state, uint32_t(HEARTH_STATE_CLOSED));
  }
}

TEST("Throughput promises nothing before it has measured") {
  Throughput throughput;
  const Backlog backlog{1000, 10, 2};
  CHECK_EQUAL(throughput.expected_wait(backlog), 0.0);
  const Clock::time_point now{std::chrono::hours(1)};
  CHECK_EQUAL(throughput.least_time(1000, 1000, now), 0.0);
  throughput.observe_step(100, true, 1.0, now);
  CHECK_EQUAL(throughput.expected_wait(backlog), 10.0);
  throughput.observe_sequence(4.0);
  CHECK_EQUAL(throughput.expected_wait(backlog), 18.0);  // 9 places short, one every 2 s
  throughput.observe_step(2, false, 0.5, now);
  throughput.observe_step(2, false, 4.0, now);
  CHECK_EQUAL(throughput.least_time(100, 3, now), 1.5);  // the fastest step counts
  CHECK_EQUAL(throughput.least_time(100, 3, now + std::chrono::minutes(1)), 0.0);
  throughput.observe_prompt(100, 50);  // half of what prompts have is computed
  CHECK_EQUAL(throughput.least_time(100, 3, now), 2.0);
}

TEST("Throughput weighs a prefill by its tokens") {
  Throughput throughput;
  const Clock::time_point now{std::chrono::hours(1)};
  throughput.observe_step(1000, true, 1.0, now);
  throughput.observe_step(1, true, 0.1, now);  // most of a small step is not its token's
  CHECK(throughput.expected_wait({1000, 0, 2}) < 1.2);
}

}  // namespace
}  // namespace hearth::test
