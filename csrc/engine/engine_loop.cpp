// DESIGN
//   Threads    Any number of callers: submit, cancel, stop, stats. One poller. One stepping thread,
//              which loads the weights and then runs every step; in manual mode there is none, and
//              whoever calls step() takes its part under step_mutex_.
//   Queues     inbox_: commands of the callers, in the order of their calls, taken whole before
//              each step. events_: what happened, pushed once after each step; no bound, see
//              event_queue.h.
//   Locks      step_mutex_ before submit_mutex_ before the event queue's own. submit_mutex_ guards
//              all that callers see (inbox, live requests, copies of figures) and is never held
//              while a step runs: submit, cancel and stats wait for nobody.
//   Ordering   A step's figures are published before its events: who has read a FINISH event finds
//              the request gone (hearth_cancel: NOT_FOUND) and its blocks counted as released.
//   Idle       Without requests the thread sleeps on wake_. With requests a step always gets on, so
//              that the loop never turns in vain.
//   Stop       stopping_ refuses new requests. The thread leaves when the inbox is empty and no
//              request is left, and closes the event queue: the poll returns CLOSED behind the last
//              event.
//   Failure    A step that throws fails its own requests (pipeline.cpp). What throws beyond that (a
//              lost device, no memory to plan with, a defect) ends the engine: it is FAILED, every
//              request fails with the reason, later ones are refused with it, and nothing is left
//              but to stop. That must work without memory: the state, the reason's text and the
//              FAILED event are there since the engine is, and FAILED stands for every ERROR event
//              that could not be made.
#include "engine_loop.h"

#include <algorithm>
#include <cmath>
#include <new>
#include <random>
#include <utility>

namespace hearth {

using std::string_literals::operator""s;

namespace {

/// What the exception that is being handled says. Allocates nothing: it may be that memory has run
/// out.
hearth_error what_was_thrown() noexcept {
  try {
    throw;
  } catch (const Error& error) {
    return to_abi(error);
  } catch (const std::bad_alloc&) {
    return to_abi(HEARTH_OUT_OF_MEMORY, "Cannot run the engine: no host memory is left");
  } catch (const std::exception& error) {
    return to_abi(HEARTH_INTERNAL, error.what());
  } catch (...) {
    return to_abi(HEARTH_INTERNAL,
                  "Cannot run the engine: something was thrown that is no exception");
  }
}

}  // namespace

Engine::Engine(const EngineConfig& config, std::unique_ptr<StepRunner> runner)
    : config_(config), runner_(std::move(runner)), scheduler_(config.scheduler, *runner_),
      pipeline_(scheduler_, *runner_, config.scheduler, config.pipeline_depth),
      stats_(config.stats) {
  stats_.size = sizeof(stats_);
  stats_.state = HEARTH_STATE_LOADING;
  publish();
}

Engine::~Engine() {
  if (!thread_.joinable()) return;
  stop(false);
  thread_.join();
}

void Engine::start() {
  if (config_.manual) {
    load();
  } else {
    thread_ = std::thread([this] { run(); });
  }
}

void Engine::load() {
  const Clock::time_point begin = Clock::now();
  runner_->load(bytes_loaded_, loading_cancelled_);
  const auto took = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begin);
  {
    std::lock_guard lock(submit_mutex_);
    stats_.load_microseconds = uint64_t(took.count());
    stats_.workspace_bytes = runner_->workspace_bytes();
    stats_.state = stopping_ ? HEARTH_STATE_CLOSING : HEARTH_STATE_READY;
  }
  std::vector<Event> ready{ready_event()};
  events_.push(ready);
}

void Engine::run() noexcept {
  try {
    load();
    for (;;) {
      {
        std::unique_lock lock(submit_mutex_);
        wake_.wait(lock, [this] { return stopping_ || !inbox_.empty() || scheduler_.has_work(); });
        if (inbox_.empty() && !scheduler_.has_work()) break;
      }
      advance();
    }
  } catch (...) {
    give_up(what_was_thrown());
    std::unique_lock lock(submit_mutex_);
    wake_.wait(lock, [this] { return stopping_; });
  }
  close();
}

// The engine will run no step any more: everything fails.
void Engine::give_up(const hearth_error& why) noexcept {
  std::vector<Command> commands;
  {
    std::lock_guard lock(submit_mutex_);
    failure_ = why;
    stats_.state = HEARTH_STATE_FAILED;  // refuses all that comes behind these commands
    commands = take_inbox();
  }
  try {
    apply(commands);
    scheduler_.fail_all(Error(why.status, why.message));
    publish();
  } catch (...) {
    // There is no memory for a request's own event, or the lost device threw once more: the FAILED
    // event has to do.
  }
  if (why.status != HEARTH_CLOSING) events_.fail(why);
}

bool Engine::has_failed() const {
  std::lock_guard lock(submit_mutex_);
  return stats_.state == HEARTH_STATE_FAILED;
}

// --------------------------------------------------------------------------------- one step

int32_t Engine::advance() {
  std::vector<Command> commands;
  bool cancels_all;
  {
    std::lock_guard lock(submit_mutex_);
    commands = take_inbox();
    cancels_all = std::exchange(cancels_all_, false);
  }
  apply(commands);
  if (cancels_all) scheduler_.cancel_all();
  scheduler_.expire(Clock::now());
  const int32_t num_tokens = pipeline_.step();
  publish();
  return num_tokens;
}

// Under submit_mutex_. What was in the inbox counts as waiting until the next publish().
std::vector<Engine::Command> Engine::take_inbox() {
  gauges_.num_requests_waiting += inbox_requests_;
  gauges_.num_requests_queued += inbox_requests_;
  gauges_.num_queued_tokens += inbox_tokens_;
  gauges_.backlog = backlog();
  inbox_requests_ = 0;
  inbox_tokens_ = 0;
  return std::exchange(inbox_, {});
}

void Engine::apply(std::vector<Command>& commands) {
  for (Command& command : commands) {
    if (command.request) {
      scheduler_.submit(std::move(command.request));
    } else {
      scheduler_.cancel(command.id, command.sequence, command.reason, command.keep_tokens);
    }
  }
}

// Shows callers what the last step has changed: figures first, then events.
void Engine::publish() {
  const SchedulerCounters& counters = scheduler_.counters();
  const PipelineCounters& steps = pipeline_.counters();
  const SchedulerGauges gauges = scheduler_.gauges();
  {
    std::lock_guard lock(submit_mutex_);
    for (const Event& event : scheduler_.events()) mark(event);
    gauges_ = gauges;
    throughput_ = scheduler_.throughput();

    stats_.num_requests_running = uint32_t(gauges.num_requests_running);
    stats_.num_sequences_running = uint32_t(gauges.num_sequences_running);
    stats_.kv_blocks_free = uint32_t(gauges.kv_blocks_free);
    stats_.kv_blocks_cached = uint32_t(gauges.kv_blocks_cached);
    stats_.kv_blocks_held = uint32_t(gauges.kv_blocks_held);
    stats_.num_prompt_tokens = counters.num_prompt_tokens;
    stats_.num_prompt_tokens_cached = counters.num_prompt_tokens_cached;
    stats_.num_generation_tokens = counters.num_generation_tokens;
    stats_.num_finished_stop = counters.num_finished[HEARTH_FINISH_STOP];
    stats_.num_finished_length = counters.num_finished[HEARTH_FINISH_LENGTH];
    stats_.num_finished_cancelled = counters.num_finished[HEARTH_FINISH_CANCELLED];
    stats_.num_finished_deadline = counters.num_finished[HEARTH_FINISH_DEADLINE];
    stats_.num_finished_error = counters.num_finished_error;
    stats_.num_preemptions = counters.num_preemptions;
    stats_.num_steps = steps.num_steps;
    stats_.num_step_tokens = steps.num_step_tokens;
    stats_.step_microseconds = steps.step_microseconds;
    stats_.step_bytes = steps.step_bytes;
    stats_.step_flops = steps.step_flops;
    stats_.num_allocations = uint32_t(steps.num_allocations);
    stats_.num_launches = steps.num_launches;
    stats_.device_microseconds = steps.device_microseconds;
  }
  events_.push(scheduler_.events());
}

// Keeps live_.
void Engine::mark(const Event& event) {
  if (event.header.kind == HEARTH_EVENT_ERROR) live_.erase(event.header.request);
  const auto found = live_.find(event.header.request);
  if (found == live_.end()) return;
  if (event.header.kind == HEARTH_EVENT_START) found->second.num_queued_tokens = 0;
  if (event.header.kind != HEARTH_EVENT_FINISH) return;
  found->second.finished[event.header.sequence] = true;
  if (--found->second.num_unfinished == 0) live_.erase(found);
}

// ---------------------------------------------------------------------------------- callers

uint64_t Engine::submit(const uint32_t* tokens, uint32_t num_tokens,
                        const hearth_request_options& values, const uint8_t* flat) {
  static std::atomic<uint64_t> next_id{1};  // ids are unique in the process, not only the engine
  RequestOptions options = parse_request(tokens, num_tokens, values, flat, config_.limits);
  std::vector<uint32_t> prompt(tokens, tokens + num_tokens);
  if (!options.values.has_seed) {
    std::random_device random;
    options.values.seed = uint64_t(random()) << 32 | random();
  }

  std::lock_guard lock(submit_mutex_);
  if (stopping_) throw Error(HEARTH_CLOSING, "Cannot submit request: the engine is closing");
  if (stats_.state == HEARTH_STATE_FAILED) {
    throw Error(HEARTH_NOT_READY,
                "Cannot submit request: the engine has failed: "s + failure_.message);
  }
  if (stats_.state == HEARTH_STATE_LOADING) {
    throw Error(HEARTH_NOT_READY, "Cannot submit request: the weights are still loading");
  }
  check_queue(num_tokens);
  check_deadline(num_tokens, values);

  const uint32_t num_sequences = values.num_sequences;
  auto request =
      std::make_unique<Request>(next_id++, std::move(prompt), std::move(options),
                                config_.limits.max_model_len, Clock::now(), config_.ageing);
  const uint64_t id = request->id;
  inbox_.push_back({std::move(request), id, 0, 0, 0});
  live_.emplace(id, Live{std::vector<bool>(num_sequences), num_sequences, values.caller,
                         values.priority, num_tokens});
  ++num_submitted_;
  ++inbox_requests_;
  inbox_tokens_ += num_tokens;
  wake_.notify_one();
  return id;
}

// Sequences that find no free place. Others do not wait, though no step has taken them up yet.
uint64_t Engine::num_beyond_free() const {
  uint64_t num_sequences = 0;
  for (const auto& [id, live] : live_) num_sequences += live.num_unfinished;
  const uint64_t num_places = uint64_t(config_.scheduler.max_num_seqs);
  return num_sequences > num_places ? num_sequences - num_places : 0;
}

void Engine::check_queue(uint32_t num_tokens) const {
  const uint64_t num_queued = uint64_t(gauges_.num_requests_queued + inbox_requests_);
  const uint64_t most = config_.max_queued_requests;
  if (num_queued >= most && num_beyond_free() >= most) {
    throw Error(HEARTH_QUEUE_FULL,
                format("Cannot submit request: max_queued_requests is %u: as many requests wait",
                       config_.max_queued_requests));
  }
  const uint64_t num_tokens_queued = uint64_t(gauges_.num_queued_tokens + inbox_tokens_);
  if (num_tokens_queued + num_tokens > config_.max_queued_tokens) {
    throw Error(HEARTH_QUEUE_FULL,
                format("Cannot submit request: max_queued_tokens is %llu: %llu prompt tokens wait, "
                       "num_tokens is %u",
                       (unsigned long long)config_.max_queued_tokens,
                       (unsigned long long)num_tokens_queued, num_tokens));
  }
}

// Refuses what measured steps say to be impossible: the fewest tokens it may make would come too
// late though no other caller were there, behind what its own has queued before it.
void Engine::check_deadline(uint32_t num_tokens, const hearth_request_options& options) const {
  if (options.deadline_ms == 0) return;
  int64_t num_prompt_tokens = num_tokens;
  for (const auto& [id, live] : live_) {
    if (live.caller != options.caller || live.priority > options.priority) continue;
    num_prompt_tokens += live.num_queued_tokens;
  }
  const int32_t num_output = int32_t(std::max(options.min_tokens, 1u));
  const double least = throughput_.least_time(num_prompt_tokens, num_output, Clock::now());
  const double needed_ms = std::ceil(least * 1000);
  if (needed_ms <= options.deadline_ms) return;
  throw Error(HEARTH_DEADLINE, "Cannot submit request", "deadline_ms",
              format("be >= %.0f, by measured steps", needed_ms),
              std::to_string(options.deadline_ms));
}

Backlog Engine::backlog() const {
  Backlog backlog = gauges_.backlog;
  backlog.prefill_tokens += inbox_tokens_;
  backlog.sequences_ahead += inbox_requests_;
  return backlog;
}

hearth_status Engine::cancel(uint64_t request, int32_t sequence, uint32_t reason,
                             uint32_t keep_tokens) {
  std::lock_guard lock(submit_mutex_);
  const auto found = live_.find(request);
  if (found == live_.end()) return HEARTH_NOT_FOUND;
  if (sequence != HEARTH_CANCEL_ALL_SEQUENCES) {
    if (size_t(sequence) >= found->second.finished.size()) return HEARTH_INVALID_ARGUMENT;
    if (found->second.finished[size_t(sequence)]) return HEARTH_NOT_FOUND;
  }
  inbox_.push_back({nullptr, request, sequence, reason, keep_tokens});
  wake_.notify_one();
  return HEARTH_OK;
}

hearth_engine_stats Engine::stats() const {
  std::lock_guard lock(submit_mutex_);
  hearth_engine_stats stats = stats_;
  stats.bytes_loaded = bytes_loaded_.load(std::memory_order_relaxed);
  stats.num_requests_submitted = num_submitted_;
  stats.num_requests_waiting = uint32_t(gauges_.num_requests_waiting + inbox_requests_);
  stats.num_queued_tokens = uint64_t(gauges_.num_queued_tokens + inbox_tokens_);
  stats.expected_wait_ms = uint64_t(throughput_.expected_wait(backlog()) * 1000);
  return stats;
}

void Engine::stop(bool drain) {
  {
    std::lock_guard lock(submit_mutex_);
    stopping_ = true;
    if (!drain) {
      cancels_all_ = true;
    }
    // While it loads there is nothing to drain.
    if (!drain || stats_.state == HEARTH_STATE_LOADING) loading_cancelled_ = true;
    if (stats_.state == HEARTH_STATE_READY) stats_.state = HEARTH_STATE_CLOSING;
    wake_.notify_all();
  }
  if (!config_.manual) return;
  std::lock_guard lock(step_mutex_);
  // Nobody has to step for a cancellation: what is in flight is retired here.
  if (!drain && !has_failed()) {
    try {
      do {
        advance_by_hand();
      } while (scheduler_.has_work());
    } catch (...) {
      // The FAILED event says why: there is nothing left to cancel.
    }
  }
  close_when_done();
}

int32_t Engine::step() {
  std::lock_guard lock(step_mutex_);
  {
    std::lock_guard submit_lock(submit_mutex_);
    if (stats_.state == HEARTH_STATE_CLOSED) {
      throw Error(HEARTH_CLOSED, "Cannot step: the engine has stopped");
    }
    if (stats_.state == HEARTH_STATE_FAILED) {
      throw Error(HEARTH_NOT_READY, "Cannot step: the engine has failed: "s + failure_.message);
    }
  }
  const int32_t num_tokens = advance_by_hand();
  close_when_done();
  return num_tokens;
}

// Manual mode, under step_mutex_: what ends the engine's own thread otherwise is thrown on.
int32_t Engine::advance_by_hand() {
  try {
    return advance();
  } catch (...) {
    give_up(what_was_thrown());
    close_when_done();  // nobody has to step for what a drain waited for
    throw;
  }
}

void Engine::check_integrity() {
  std::lock_guard lock(step_mutex_);
  scheduler_.check_integrity();
}

// Manual mode, under step_mutex_.
void Engine::close_when_done() {
  {
    std::lock_guard lock(submit_mutex_);
    if (!stopping_) return;
    const bool has_work = !inbox_.empty() || scheduler_.has_work();
    if (has_work && stats_.state != HEARTH_STATE_FAILED) return;
  }
  close();
}

void Engine::close() {
  {
    std::lock_guard lock(submit_mutex_);
    stats_.state = HEARTH_STATE_CLOSED;
  }
  events_.close();
}

}  // namespace hearth
