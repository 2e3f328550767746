// Decides what each step computes, and alone changes a request's state.
//
// DESIGN
//   A step is plan -> run -> commit. At pipeline depth 2, step N + 1 is planned while N's results
//   are unknown: what N draws for a sequence is its pending token.
//
//   Order      Sequences are served best first: by their callers' turns (caller_turns.h), and those
//              of one caller by arrival + priority * ageing, a constant, so that ageing needs no
//              re-sorting and two requests of a caller never change places. running_ is in this
//              order from a plan's beginning on, each caller's waiting sequences always are, and
//              a plan merges them: each waiting sequence is tried at its place among the running
//              ones.
//   Budget     A decode takes one token. A prefill takes what is left of the step's budget after
//              the decodes behind it have theirs: decodes are never held up by a prompt, long
//              prompts are computed in chunks. Up to half of it is left to other callers whose turn
//              comes within the step: their short prompts begin in the step in which they are seen.
//   Time       A step with prompts in it lasts max_step_seconds at most, by what steps have taken
//              (step_time.h), or computes one block of one prompt: whoever comes meanwhile waits no
//              longer than that. Times are told by observe(); how a prompt is cut changes no bits.
//   Blocks     A sequence gets the blocks of all its known tokens when it is admitted, and more as
//              it decodes. It is admitted only if one block more for each better sequence stays
//              over. When blocks run out, the worst running sequence is preempted: it gives its
//              blocks up and waits to be computed again (often found in the prefix cache). A victim
//              is always worse than the one that gains, so the best running sequence always gets
//              on. A sequence for which nobody is worse keeps its blocks and waits. No livelock:
//              two sequences change places only once their callers' virtual times have, which rise
//              by nothing but tokens that are computed for the first time.
//   Fork       A prompt with n sequences is computed once, by the first of them (the leader). When
//              the last chunk is staged, the others join with references to its blocks; each draws
//              from the same row of logits. Who writes into a shared block first gets a copy.
//   Release    Blocks of a finished sequence are released when no step that writes into them is in
//              flight. Blocks of a preempted one are released at once: steps run in order, so what
//              step N still writes there comes before what N + 1 writes for the next holder.
//   Names      A block is named, and so found by others, when its K and V are committed.
//
// One thread, the engine's.
#pragma once

#include <memory>
#include <set>
#include <span>
#include <unordered_map>
#include <vector>

#include "../error.h"
#include "../memory/kv_allocator.h"
#include "caller_turns.h"
#include "event.h"
#include "request.h"
#include "step_plan.h"
#include "step_runner.h"
#include "step_time.h"
#include "throughput.h"

namespace hearth {

struct SchedulerOptions {
  int32_t num_blocks;
  int32_t block_tokens;
  int32_t max_num_seqs;            // sequences that run at a time
  int32_t max_num_batched_tokens;  // >= max_num_seqs
  bool prefix_caching;
  uint64_t fingerprint;         // of all that K and V depend on besides tokens
  double max_step_seconds = 0;  // of a step with prompts in it; 0: no bound
};

/// Counters since the beginning; names as in hearth_engine_stats.
struct SchedulerCounters {
  uint64_t num_prompt_tokens = 0;
  uint64_t num_prompt_tokens_cached = 0;
  uint64_t num_generation_tokens = 0;                      // of finished sequences
  uint64_t num_finished[HEARTH_FINISH_DEADLINE + 1] = {};  // sequences, by HEARTH_FINISH_*
  uint64_t num_finished_error = 0;                         // sequences
  uint64_t num_preemptions = 0;
};

/// What is there now.
struct SchedulerGauges {
  int32_t num_requests_running = 0;
  int32_t num_requests_waiting = 0;
  int32_t num_sequences_running = 0;
  int32_t num_requests_queued = 0;  // never admitted yet
  int64_t num_queued_tokens = 0;    // of their prompts
  int32_t kv_blocks_free = 0;
  int32_t kv_blocks_cached = 0;
  int32_t kv_blocks_held = 0;
  Backlog backlog;
};

class Scheduler {
 public:
  Scheduler(const SchedulerOptions& options, StepRunner& runner);

  void submit(std::unique_ptr<Request> request);
  /// Arguments as hearth_cancel's; a request or sequence that is gone is ignored.
  void cancel(uint64_t request, int32_t sequence, uint32_t reason, uint32_t keep_tokens);
  void cancel_all();
  /// Finishes what has passed its deadline.
  void expire(Clock::time_point now);
  /// Fails every request, and lets go of all that they hold: no step may be planned, committed or
  /// failed any more, and those in flight are never retired.
  void fail_all(const Error& error);

  /// Whether there are requests that are not finished.
  bool has_work() const { return !requests_.empty(); }

  /// Decides a step. plan.num_tokens() is 0 where there is nothing to compute now.
  void plan(StepPlan& plan, Clock::time_point now);
  /// Takes the results of the oldest planned step, one for each of the plan's rows.
  void commit(const StepPlan& plan, const StepResult& result, Clock::time_point now);
  /// The oldest or newest planned step could not be run, or its results cannot be used: its
  /// requests fail.
  void fail(const StepPlan& plan, const Error& error);
  /// A step has taken so long.
  void observe(const StepPlan& plan, double seconds, Clock::time_point now);
  /// Whether a step takes so long that none should be staged behind it.
  bool is_long(const StepPlan& plan) const;

  /// Events since the last call are the caller's to move out.
  std::vector<Event>& events() { return events_; }
  const SchedulerCounters& counters() const { return counters_; }
  SchedulerGauges gauges() const;
  /// Callers that are known: those with requests, and who has had more than the others by now.
  size_t num_callers() const { return turns_.callers().size(); }
  const Throughput& throughput() const { return throughput_; }

  /// Throws Error(HEARTH_INTERNAL) where blocks, holders, queues and sequences disagree.
  void check_integrity() const;

 private:
  using Place = Sequence::Place;

  /// Sums over the sequences that wait, kept as they come and go: there may be very many.
  struct WaitingTotals {
    int64_t num_tokens = 0;
    int32_t num_slots = 0;
    int32_t num_requests_queued = 0;
    int64_t num_queued_tokens = 0;
    bool operator==(const WaitingTotals&) const = default;
    void add(const WaitingTotals& other, int32_t sign) {
      num_tokens += sign * other.num_tokens;
      num_slots += sign * other.num_slots;
      num_requests_queued += sign * other.num_requests_queued;
      num_queued_tokens += sign * other.num_queued_tokens;
    }
  };

  bool try_admit(Sequence& sequence, size_t position, Clock::time_point now);
  bool has_room(int32_t num_blocks, const Sequence& sequence);
  Sequence* find_victim(const Sequence& sequence) const;
  enum class Bound { kAll, kNoRoom, kFailed };
  Bound bind_samplers(Request& request);
  bool will_release_samplers() const;
  std::vector<int32_t> find_prefix(Sequence& sequence) const;
  void schedule(size_t position, bool admitting, StepPlan& plan, Clock::time_point now);
  int32_t prefill_tokens(size_t position, bool admitting, const StepPlan& plan) const;
  int32_t tokens_in_time(const StepPlan& plan, int32_t num_decodes_behind, int32_t begin) const;
  bool make_room_for_decode(Sequence& sequence, StepPlan& plan);
  void add_prompt_scores(Sequence& sequence, int32_t begin, StepPlan& plan);
  void fork(Request& request, StepPlan& plan, int32_t logits_row, Clock::time_point now);
  void preempt(Sequence& sequence);

  void accept(Sequence& sequence, const SampleResult& sample, Clock::time_point now);
  void publish(Sequence& sequence);
  void forget_output_after(Sequence& sequence, uint32_t keep_tokens);
  void finish(Sequence& sequence, uint32_t reason, uint32_t num_output_tokens);
  void fail(Request& request, const Error& error);
  void mark_finished(Sequence& sequence, uint32_t num_output_tokens);
  void settle(Request& request);
  void settle(const StepPlan& plan);
  void unplace(Sequence& sequence);
  void place(Sequence& sequence, Place place);
  void count_request(const Request& request, int32_t sign);
  void release_blocks(Sequence& sequence);

  int32_t slots(const Sequence& sequence) const;
  int32_t num_slots_taken(size_t end) const;
  int32_t num_decodes_behind(size_t position) const;
  int32_t blocks_for(int32_t num_tokens) const;
  const BlockName& block_name(Sequence& sequence, int32_t block) const;
  WaitingTotals waiting_figures(const Sequence& sequence) const;
  std::vector<uint64_t> request_ids() const;

  const SchedulerOptions options_;
  StepRunner& runner_;
  KvAllocator kv_;
  BlockNamer namer_;
  std::unordered_map<uint64_t, std::unique_ptr<Request>> requests_;
  CallerTurns turns_;
  std::vector<Sequence*> running_;  // best first
  WaitingTotals waiting_totals_;
  int32_t num_requests_running_ = 0;
  int32_t num_requests_waiting_ = 0;                            // with no sequence that runs
  std::set<std::pair<Clock::time_point, uint64_t>> deadlines_;  // of requests_
  std::vector<int32_t> num_released_;                           // by block; has_room's
  std::vector<Event> events_;
  SchedulerCounters counters_;
  Throughput throughput_;
  StepTime step_time_;
};

}  // namespace hearth
