// Steps in flight: stages them ahead of their results, and retires them in order.
#pragma once

#include <functional>
#include <vector>

#include "scheduler.h"

namespace hearth {

/// Counters since the beginning; names as in hearth_engine_stats.
struct PipelineCounters {
  uint64_t num_steps = 0;
  uint64_t num_step_tokens = 0;
  uint64_t step_microseconds = 0;
  uint64_t step_bytes = 0;
  uint64_t step_flops = 0;
  uint64_t num_allocations = 0;
  uint64_t num_launches = 0;
  uint64_t device_microseconds = 0;
};

class Pipeline {
 public:
  /// depth: steps in flight at once, 1 or 2. clock: a test's own.
  Pipeline(Scheduler& scheduler, StepRunner& runner, const SchedulerOptions& options, int32_t depth,
           std::function<Clock::time_point()> clock = Clock::now);

  /// Plans and stages steps until depth are in flight, then commits the oldest. Nothing is staged
  /// behind a long step: what that hides is little beside it, and whoever comes meanwhile would
  /// wait for two. Returns the number of input tokens that it computed; 0 where there was nothing
  /// to do. A step that cannot be run, or brings other results than it was asked for, fails its
  /// requests. Throws DeviceLost, and what planning throws: then no further step may be asked for.
  int32_t step();
  const PipelineCounters& counters() const { return counters_; }

 private:
  struct Stage {
    StepPlan plan;
    Clock::time_point staged_at;
    bool is_long;
    Cost cost;
  };

  uint64_t num_in_flight() const { return num_staged_ - num_retired_; }
  bool may_stage() const;
  bool stage();
  int32_t retire();
  void drop_abandoned();

  Scheduler& scheduler_;
  StepRunner& runner_;
  const SchedulerOptions options_;
  const std::function<Clock::time_point()> clock_;
  std::vector<Stage> stages_;  // a ring
  uint64_t num_staged_ = 0;
  uint64_t num_retired_ = 0;
  uint64_t num_planned_ = 0;
  bool has_abandoned_ = false;  // behind the steps in flight: see StepRunner::run()
  Clock::time_point retired_at_;
  PipelineCounters counters_;
};

}  // namespace hearth
