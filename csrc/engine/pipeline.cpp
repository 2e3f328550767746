#include "pipeline.h"

#include <algorithm>

namespace hearth {

namespace {

/// What the exception being handled says, as an Error.
Error current_error() {
  try {
    throw;
  } catch (const Error& error) {
    return error;
  } catch (const std::exception& error) {
    return Error(HEARTH_INTERNAL, format("Cannot run a step: %s", error.what()));
  } catch (...) {
    return Error(HEARTH_INTERNAL, "Cannot run a step: something was thrown that is no exception");
  }
}

}  // namespace

Pipeline::Pipeline(Scheduler& scheduler, StepRunner& runner, const SchedulerOptions& options,
                   int32_t depth)
    : scheduler_(scheduler), runner_(runner), options_(options), stages_(depth) {}

int32_t Pipeline::step() {
  while (num_staged_ - num_retired_ < stages_.size() && stage()) {
  }
  return num_staged_ > num_retired_ ? retire() : 0;
}

// False where there is nothing to compute before the steps in flight are done.
bool Pipeline::stage() {
  Stage& stage = stages_[num_staged_ % stages_.size()];
  stage.plan.reset(++num_planned_, options_.max_num_batched_tokens, options_.block_tokens);
  stage.staged_at = Clock::now();
  scheduler_.plan(stage.plan, stage.staged_at);
  if (stage.plan.num_tokens() == 0) return false;
  try {
    runner_.run(stage.plan.seal());
  } catch (...) {
    scheduler_.fail(stage.plan, current_error());
    // What the step in flight draws can be named in the step staged right after it only.
    return num_staged_ == num_retired_;
  }
  stage.cost = runner_.last_cost();
  ++num_staged_;
  return true;
}

int32_t Pipeline::retire() {
  Stage& stage = stages_[num_retired_++ % stages_.size()];
  const StepResult* result;
  try {
    result = &runner_.finish();
  } catch (...) {
    scheduler_.fail(stage.plan, current_error());
    return stage.plan.num_tokens();
  }
  const Clock::time_point now = Clock::now();
  const auto took = now - std::max(stage.staged_at, retired_at_);
  retired_at_ = now;
  scheduler_.throughput().observe_step(stage.plan.num_tokens(), stage.plan.is_prefill(),
                                       std::chrono::duration<double>(took).count(), now);
  ++counters_.num_steps;
  counters_.num_step_tokens += stage.plan.num_tokens();
  counters_.step_microseconds +=
      std::chrono::duration_cast<std::chrono::microseconds>(took).count();
  counters_.step_bytes += stage.cost.bytes;
  counters_.step_flops += stage.cost.flops;
  counters_.num_launches = runner_.num_launches();
  counters_.device_microseconds = runner_.device_nanoseconds() / 1000;
  scheduler_.commit(stage.plan, *result, now);
  return stage.plan.num_tokens();
}

}  // namespace hearth
