#include "pipeline.h"

#include <algorithm>
#include <utility>

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

void check_complete(const StepPlan& plan, const StepResult& result) {
  if (result.samples.size() == plan.rows().size()) return;
  throw Error(HEARTH_INTERNAL, format("Cannot use the results of a step: %zu rows were sampled: "
                                      "there are %zu results",
                                      plan.rows().size(), result.samples.size()));
}

}  // namespace

Pipeline::Pipeline(Scheduler& scheduler, StepRunner& runner, const SchedulerOptions& options,
                   int32_t depth, std::function<Clock::time_point()> clock)
    : scheduler_(scheduler), runner_(runner), options_(options), clock_(std::move(clock)),
      stages_(depth) {}

int32_t Pipeline::step() {
  while (may_stage() && stage()) {
  }
  if (num_in_flight() == 0) return 0;
  const int32_t num_tokens = retire();
  if (num_in_flight() == 0) drop_abandoned();
  return num_tokens;
}

bool Pipeline::may_stage() const {
  if (num_in_flight() == 0) return true;
  return num_in_flight() < stages_.size() && !stages_[(num_staged_ - 1) % stages_.size()].is_long;
}

// False where there is nothing to compute before the steps in flight are done.
bool Pipeline::stage() {
  Stage& stage = stages_[num_staged_ % stages_.size()];
  stage.plan.reset(++num_planned_, options_.max_num_batched_tokens, options_.block_tokens);
  stage.staged_at = clock_();
  scheduler_.plan(stage.plan, stage.staged_at);
  if (stage.plan.num_tokens() == 0) return false;
  try {
    const StepInput& input = stage.plan.seal();
    has_abandoned_ = true;  // should run() throw
    runner_.run(input);
    has_abandoned_ = false;
  } catch (const DeviceLost&) {
    throw;
  } catch (...) {
    scheduler_.fail(stage.plan, current_error());
    // Nothing is staged behind an abandoned step. And what the step in flight draws can be named in
    // the step staged right after it only.
    if (num_in_flight() > 0) return false;
    drop_abandoned();
    return true;
  }
  stage.is_long = scheduler_.is_long(stage.plan);
  stage.cost = runner_.last_cost();
  ++num_staged_;
  return true;
}

int32_t Pipeline::retire() {
  Stage& stage = stages_[num_retired_++ % stages_.size()];
  const StepResult* result;
  try {
    result = &runner_.finish();
    check_complete(stage.plan, *result);
  } catch (const DeviceLost&) {
    throw;
  } catch (...) {
    scheduler_.fail(stage.plan, current_error());
    return stage.plan.num_tokens();
  }
  const Clock::time_point now = clock_();
  const auto took = now - std::max(stage.staged_at, retired_at_);
  retired_at_ = now;
  scheduler_.observe(stage.plan, std::chrono::duration<double>(took).count(), now);
  ++counters_.num_steps;
  counters_.num_step_tokens += stage.plan.num_tokens();
  counters_.step_microseconds +=
      std::chrono::duration_cast<std::chrono::microseconds>(took).count();
  counters_.step_bytes += stage.cost.bytes;
  counters_.step_flops += stage.cost.flops;
  counters_.num_allocations = runner_.num_allocations();
  counters_.num_launches = runner_.num_launches();
  counters_.device_microseconds = runner_.device_nanoseconds() / 1000;
  scheduler_.commit(stage.plan, *result, now);
  return stage.plan.num_tokens();
}

// Finishes the step that run() could not stage. Its requests have failed already. The flag goes
// first: a step is finished once, whatever finish() throws.
void Pipeline::drop_abandoned() {
  if (!std::exchange(has_abandoned_, false)) return;
  try {
    runner_.finish();
  } catch (const DeviceLost&) {
    throw;
  } catch (const std::exception&) {
    // Why run() threw has been told.
  }
}

}  // namespace hearth
