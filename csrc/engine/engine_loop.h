// The engine: a thread that loops over scheduler steps, and the doors to it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "event_queue.h"
#include "pipeline.h"
#include "request_options.h"
#include "scheduler.h"

namespace hearth {

struct EngineConfig {
  SchedulerOptions scheduler;
  RequestLimits limits;
  bool manual;
  int32_t pipeline_depth;
  uint32_t max_queued_requests;
  uint64_t max_queued_tokens;
  std::chrono::milliseconds ageing;
  /// What never changes is filled in: sizes, dtypes, devices.
  hearth_engine_stats stats;
};

class Engine {
 public:
  Engine(const EngineConfig& config, std::unique_ptr<StepRunner> runner);
  /// Stops without draining, if that was not done, and waits for the thread.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// Loads the weights: in a thread that then runs the steps, or, in manual mode, in this call,
  /// which throws what load() throws.
  void start();

  // As hearth_*, any thread. What fails throws Error.
  uint64_t submit(const uint32_t* tokens, uint32_t num_tokens,
                  const hearth_request_options& options, const uint8_t* flat);
  hearth_status cancel(uint64_t request, int32_t sequence, uint32_t reason, uint32_t keep_tokens);
  int32_t poll(hearth_event* events, uint32_t event_size, uint32_t capacity, uint8_t* payload,
               uint32_t payload_capacity, std::chrono::milliseconds timeout) {
    return events_.poll(events, event_size, capacity, payload, payload_capacity, timeout);
  }
  void stop(bool drain);
  hearth_engine_stats stats() const;

  // Manual mode. Where a step throws what ends the engine, step() throws it, and from then on
  // NOT_READY with the reason.
  int32_t step();
  void check_integrity();

 private:
  /// What submit() and cancel() leave for the next step: a request, or a cancellation.
  struct Command {
    std::unique_ptr<Request> request;
    uint64_t id;
    int32_t sequence;
    uint32_t reason;
    uint32_t keep_tokens;
  };
  /// What cancel() and check_deadline() must know of a request that is not finished.
  struct Live {
    std::vector<bool> finished;  // by sequence
    uint32_t num_unfinished;
    uint64_t caller;
    int32_t priority;
    uint32_t num_queued_tokens;  // of its prompt, until it starts
  };

  void load();
  void run() noexcept;
  int32_t advance();
  int32_t advance_by_hand();
  std::vector<Command> take_inbox();
  void apply(std::vector<Command>& commands);
  void publish();
  void mark(const Event& event);
  void give_up(const hearth_error& why) noexcept;
  bool has_failed() const;
  void close_when_done();
  void close();
  void check_queue(uint32_t num_tokens) const;
  uint64_t num_beyond_free() const;
  void check_deadline(uint32_t num_tokens, const hearth_request_options& options) const;
  Backlog backlog() const;

  const EngineConfig config_;
  const std::unique_ptr<StepRunner> runner_;
  std::atomic<uint64_t> bytes_loaded_{0};
  std::atomic<bool> loading_cancelled_{false};
  EventQueue events_;

  // The stepping thread's alone (manual mode: under step_mutex_).
  std::mutex step_mutex_;
  Scheduler scheduler_;
  Pipeline pipeline_;

  // The submit lock: held for a few lines, never during a step.
  mutable std::mutex submit_mutex_;
  std::condition_variable wake_;
  std::vector<Command> inbox_;
  std::unordered_map<uint64_t, Live> live_;
  int32_t inbox_requests_ = 0;
  int64_t inbox_tokens_ = 0;  // of their prompts
  bool stopping_ = false;
  bool cancels_all_ = false;
  uint64_t num_submitted_ = 0;
  hearth_error failure_{};     // why the engine has failed
  hearth_engine_stats stats_;  // as of the last step, like the next two
  SchedulerGauges gauges_;
  Throughput throughput_;

  std::thread thread_;
};

}  // namespace hearth
