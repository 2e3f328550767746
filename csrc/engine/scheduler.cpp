#include "scheduler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <utility>

namespace hearth {

Scheduler::Scheduler(const SchedulerOptions& options, StepRunner& runner)
    : options_(options), runner_(runner), kv_(options.num_blocks), namer_(options.fingerprint) {}

// --------------------------------------------------------------------------------------- plan

void Scheduler::plan(StepPlan& plan, Clock::time_point now) {
  turns_.begin_step(running_);
  bool admitting = true;
  for (size_t position = 0; plan.budget_left() > 0;) {
    const bool at_end = position == running_.size();
    Sequence* head = admitting ? turns_.best_waiting() : nullptr;
    // What cannot begin in this step need not hold blocks.
    if (head && tokens_in_time(plan, 0, 0) < std::min(head->total_len(), options_.block_tokens)) {
      admitting = false;
    }
    if (head && admitting && (at_end || TurnBefore()(head, running_[position]))) {
      admitting = try_admit(*head, position, now);
    } else if (at_end) {
      break;
    } else {
      schedule(position++, admitting, plan, now);
    }
  }
}

// Lets the best waiting sequence run, at its place in running_. False where it has to wait, and
// with it all behind it: smaller requests do not overtake.
bool Scheduler::try_admit(Sequence& sequence, size_t position, Clock::time_point now) {
  Request& request = *sequence.request;
  if (num_slots_taken(running_.size()) + slots(sequence) > options_.max_num_seqs) return false;
  if (const Bound bound = bind_samplers(request); bound != Bound::kAll) {
    return bound == Bound::kFailed;  // then the next one has its turn
  }

  std::vector<int32_t> blocks = find_prefix(sequence);
  for (int32_t block : blocks) kv_.acquire(block);
  const int32_t num_new = blocks_for(sequence.total_len()) - int32_t(blocks.size());
  const int32_t num_better = num_slots_taken(position);
  const int32_t headroom = num_better == 0 ? 0 : num_better + slots(sequence);
  if (!has_room(num_new + headroom, sequence)) {
    for (; !blocks.empty(); blocks.pop_back()) kv_.release(blocks.back());
    return false;
  }
  while (kv_.num_available() < num_new + headroom) preempt(*find_victim(sequence));

  place(sequence, Place::kNone);
  sequence.computed_len = sequence.planned_len = int32_t(blocks.size()) * options_.block_tokens;
  sequence.num_named_blocks = int32_t(blocks.size());
  sequence.block_table = std::move(blocks);
  for (int32_t i = 0; i < num_new; ++i) sequence.block_table.push_back(kv_.allocate());
  if (!request.admitted) {
    request.admitted = true;
    sequence.running_since = now;
    request.cached_tokens = uint32_t(sequence.computed_len);
    counters_.num_prompt_tokens += request.prompt.size();
    counters_.num_prompt_tokens_cached += request.cached_tokens;
    throughput_.observe_prompt(request.prompt_len(), sequence.computed_len);
    const auto queued =
        std::chrono::duration_cast<std::chrono::microseconds>(now - request.arrival);
    events_.push_back(start_event(request.id, uint64_t(std::max<int64_t>(queued.count(), 0)),
                                  request.cached_tokens));
  }
  place(sequence, Place::kRunning);
  return true;
}

// Whether num_blocks are available, or would be once all that a sequence may displace were
// preempted: a block that several of them share comes free with the last.
bool Scheduler::has_room(int32_t num_blocks, const Sequence& sequence) {
  num_blocks -= kv_.num_available();
  if (num_blocks <= 0) return true;
  num_released_.assign(kv_.num_blocks(), 0);
  for (size_t i = running_.size(); i > 0 && num_blocks > 0; --i) {
    if (!CallerTurns::may_displace(sequence, *running_[i - 1])) continue;
    for (int32_t block : running_[i - 1]->block_table)
      num_blocks -= ++num_released_[block] == kv_.reference_count(block);
  }
  return num_blocks <= 0;
}

// The worst running sequence that a waiting one may displace. There has to be one.
Sequence* Scheduler::find_victim(const Sequence& sequence) const {
  return *std::find_if(running_.rbegin(), running_.rend(), [&](const Sequence* running) {
    return CallerTurns::may_displace(sequence, *running);
  });
}

// All samplers of the request, or none: where others have the room, they give it back when they
// end. Behind kFailed the request is gone.
Scheduler::Bound Scheduler::bind_samplers(Request& request) {
  std::vector<Sequence*> bound;
  try {
    for (Sequence& sequence : request.sequences) {
      if (request.max_output == 0 || sequence.finished || sequence.sampler >= 0) continue;
      SamplerSpec spec = sampler_spec(request.options, request.prompt, sequence.index);
      spec.max_output = uint32_t(request.max_output);
      sequence.sampler = runner_.bind_sampler(spec);
      if (sequence.sampler == Samplers::kNoRoom) {
        for (Sequence* other : bound) {
          runner_.release_sampler(std::exchange(other->sampler, Samplers::kNoRoom));
        }
        if (will_release_samplers()) return Bound::kNoRoom;
        // Sequences that were preempted for this one have it, and would wait behind it for ever.
        throw Error(HEARTH_OUT_OF_MEMORY,
                    "Cannot run request: nobody who runs will give back the room that its samplers "
                    "need");
      }
      bound.push_back(&sequence);
    }
    return Bound::kAll;
  } catch (const DeviceLost&) {
    throw;
  } catch (const Error& error) {
    fail(request, error);
  } catch (const std::exception& error) {
    fail(request, Error(HEARTH_INTERNAL, error.what()));
  }
  settle(request);
  return Bound::kFailed;
}

// Whether anybody who has a sampler will end without being admitted again.
bool Scheduler::will_release_samplers() const {
  if (!running_.empty()) return true;
  return std::any_of(requests_.begin(), requests_.end(), [](const auto& entry) {
    const auto& sequences = entry.second->sequences;
    return std::any_of(sequences.begin(), sequences.end(),
                       [](const Sequence& sequence) { return sequence.num_in_flight > 0; });
  });
}

// Full blocks that a sequence need not compute.
std::vector<int32_t> Scheduler::find_prefix(Sequence& sequence) const {
  std::vector<int32_t> blocks;
  if (!options_.prefix_caching || sequence.request->skips_prefix_cache()) return blocks;
  // The last token is always computed: its logits are needed.
  const int32_t max_blocks = (sequence.total_len() - 1) / options_.block_tokens;
  while (int32_t(blocks.size()) < max_blocks) {
    const int32_t block = kv_.find(block_name(sequence, int32_t(blocks.size())));
    if (block == KvAllocator::kNone) break;
    blocks.push_back(block);
  }
  return blocks;
}

// Gives a running sequence its next token, or the next chunk of its prompt.
void Scheduler::schedule(size_t position, bool admitting, StepPlan& plan, Clock::time_point now) {
  Sequence& sequence = *running_[position];
  Request& request = *sequence.request;
  if (sequence.last_plan == plan.number() || !sequence.has_input_left()) return;

  const int32_t begin = sequence.planned_len;
  int32_t count = 1;
  if (sequence.decodes()) {
    if (!make_room_for_decode(sequence, plan)) return;
  } else {
    count = std::min(sequence.total_len() - begin, prefill_tokens(position, admitting, plan));
    if (count <= 0) return;
  }

  plan.add_tokens(sequence, count);
  CallerTurns::charge(sequence, begin, sequence.planned_len);
  if (request.wants_prompt_logprobs()) add_prompt_scores(sequence, begin, plan);
  if (sequence.planned_len < sequence.total_len() || request.max_output == 0) return;
  const int32_t logits_row = plan.add_logits(0);
  if (request.forked) {
    plan.add_draw(sequence, logits_row);
  } else {
    fork(request, plan, logits_row, now);
  }
}

// Tokens that a prefill may take in a step, more than it may need; perhaps none.
int32_t Scheduler::prefill_tokens(size_t position, bool admitting, const StepPlan& plan) const {
  const Sequence& sequence = *running_[position];
  const int32_t num_decodes = num_decodes_behind(position);
  const int32_t left = std::min(plan.budget_left() - num_decodes,
                                tokens_in_time(plan, num_decodes, sequence.planned_len));
  const std::span<Sequence* const> behind(running_.begin() + position + 1, running_.end());
  return turns_.share(*sequence.request->caller, left, behind, admitting);
}

// Tokens of a prompt, from position `begin` on, for which a step has time beside what is planned.
int32_t Scheduler::tokens_in_time(const StepPlan& plan, int32_t num_decodes_behind,
                                  int32_t begin) const {
  if (options_.max_step_seconds == 0) return INT32_MAX;
  const double planned =
      step_time_.seconds(plan.num_tokens() + num_decodes_behind, double(plan.num_pairs()));
  const int32_t most = step_time_.tokens_within(options_.max_step_seconds - planned, begin);
  return plan.is_prefill() ? most : std::max(most, options_.block_tokens);
}

// Makes the slot of the next token one that only this sequence holds.
bool Scheduler::make_room_for_decode(Sequence& sequence, StepPlan& plan) {
  std::vector<int32_t>& table = sequence.block_table;
  const size_t index = sequence.planned_len / options_.block_tokens;
  for (;;) {
    if (index < table.size() && kv_.reference_count(table[index]) == 1) return true;
    const int32_t block = kv_.allocate();
    if (block != KvAllocator::kNone) {
      if (index == table.size()) {
        table.push_back(block);
      } else {
        plan.add_copy(table[index], block);
        kv_.release(table[index]);
        table[index] = block;
      }
      return true;
    }
    // Better ones hold the rest, or what a step in flight still writes: it keeps its own and waits.
    if (running_.back() == &sequence) return false;
    preempt(*running_.back());
  }
}

// Logprobs of the prompt tokens that follow the positions from begin on, as far as planned.
void Scheduler::add_prompt_scores(Sequence& sequence, int32_t begin, StepPlan& plan) {
  Request& request = *sequence.request;
  const int32_t end = sequence.planned_len;
  const int32_t last = std::min(end, request.prompt_len() - 1);
  for (int32_t position = std::max(begin, request.num_prompt_logprobs); position < last;
       ++position) {
    plan.add_score(sequence, plan.add_logits(end - 1 - position), position + 1);
    request.num_prompt_logprobs = position + 1;
  }
}

// The last chunk of the prompt is staged: from here on each sequence is on its own.
void Scheduler::fork(Request& request, StepPlan& plan, int32_t logits_row, Clock::time_point now) {
  Sequence& leader = request.leader();
  request.forked = true;
  for (Sequence& sequence : request.sequences) {
    if (sequence.finished) continue;
    if (&sequence != &leader) {
      sequence.block_table = leader.block_table;
      for (int32_t block : sequence.block_table) kv_.acquire(block);
      sequence.computed_len = leader.computed_len;
      sequence.charged_len = leader.charged_len;
      sequence.num_named_blocks = leader.num_named_blocks;
      sequence.block_names = leader.block_names;
      sequence.running_since = now;
      place(sequence, Place::kRunning);
      plan.add_participant(sequence, leader.planned_len);
    }
    plan.add_draw(sequence, logits_row);
  }
  if (leader.finished) unplace(leader);
}

// Takes a running sequence's blocks away; it is computed again later.
void Scheduler::preempt(Sequence& sequence) {
  release_blocks(sequence);
  place(sequence, Place::kWaiting);
  ++counters_.num_preemptions;
}

// ------------------------------------------------------------------------------------- commit

void Scheduler::commit(const StepPlan& plan, const StepResult& result, Clock::time_point now) {
  for (const auto& [sequence, epoch, end] : plan.participants()) {
    --sequence->num_in_flight;
    if (sequence->epoch != epoch) continue;
    sequence->computed_len = end;
    publish(*sequence);
  }
  for (size_t row = 0; row < plan.rows().size(); ++row) {
    const auto [sequence, prompt_token] = plan.rows()[row];
    const SampleResult& sample = result.samples[row];
    if (sample.not_finite) {
      fail(*sequence->request,
           Error(HEARTH_INTERNAL,
                 format("Cannot sample: the logits that follow token %d of the request must be "
                        "finite",
                        prompt_token < 0 ? sequence->known_len() : prompt_token)));
    } else if (prompt_token < 0) {
      accept(*sequence, sample, now);
    } else if (sequence->request->num_unfinished() > 0) {
      events_.push_back(prompt_logprob_event(
          sequence->request->id, prompt_token,
          {sequence->request->prompt[prompt_token], sample.logprob}, sample.top));
    }
  }
  for (const auto& participant : plan.participants()) {
    Request& request = *participant.sequence->request;
    if (request.max_output > 0 || participant.end < request.prompt_len()) continue;
    for (Sequence& sequence : request.sequences) finish(sequence, HEARTH_FINISH_LENGTH, 0);
  }
  settle(plan);
}

// Takes a drawn token. One that a finished sequence has drawn meanwhile is discarded.
void Scheduler::accept(Sequence& sequence, const SampleResult& sample, Clock::time_point now) {
  if (sequence.finished) return;
  const Request& request = *sequence.request;
  --sequence.num_pending;
  sequence.output.push_back(sample.token);
  const uint32_t num_output = uint32_t(sequence.output.size());
  const float logprob = request.options.values.logprobs < 0 ? NAN : sample.logprob;
  const hearth_token_logprob token{sample.token, logprob};
  events_.push_back(token_event(request.id, sequence.index, {&token, 1}, sample.top, num_output,
                                request.cached_tokens));

  const bool stops =
      request.options.is_stop(sample.token) && num_output > request.options.values.min_tokens;
  if (!stops && int32_t(num_output) < request.max_output) return;
  const std::chrono::duration<double> ran = now - sequence.running_since;
  throughput_.observe_sequence(ran.count());
  finish(sequence, stops ? HEARTH_FINISH_STOP : HEARTH_FINISH_LENGTH, num_output);
}

// Names the blocks that have become full.
void Scheduler::publish(Sequence& sequence) {
  if (!options_.prefix_caching) return;
  while ((sequence.num_named_blocks + 1) * options_.block_tokens <= sequence.computed_len) {
    const int32_t block = sequence.num_named_blocks++;
    kv_.publish(sequence.block_table[block], block_name(sequence, block));
  }
}

void Scheduler::observe(const StepPlan& plan, double seconds, Clock::time_point now) {
  throughput_.observe_step(plan.num_tokens(), plan.is_prefill(), seconds, now);
  if (plan.is_prefill()) step_time_.observe(plan.num_tokens(), plan.num_pairs(), seconds);
}

bool Scheduler::is_long(const StepPlan& plan) const {
  return options_.max_step_seconds > 0 && plan.is_prefill() &&
         step_time_.seconds(plan.num_tokens(), double(plan.num_pairs())) >=
             options_.max_step_seconds / 2;
}

// A step could not be run: the requests in it fail, the others go on.
void Scheduler::fail(const StepPlan& plan, const Error& error) {
  for (const auto& participant : plan.participants()) --participant.sequence->num_in_flight;
  for (const auto& participant : plan.participants()) fail(*participant.sequence->request, error);
  settle(plan);
}

// ------------------------------------------------------------------------------- requests' ends

void Scheduler::submit(std::unique_ptr<Request> request) {
  Sequence& leader = request->leader();
  turns_.enter(*request);
  if (request->deadline) deadlines_.emplace(*request->deadline, request->id);
  requests_.emplace(request->id, std::move(request));
  place(leader, Place::kWaiting);
}

void Scheduler::cancel(uint64_t id, int32_t index, uint32_t reason, uint32_t keep_tokens) {
  const auto found = requests_.find(id);
  if (found == requests_.end()) return;
  Request& request = *found->second;
  const bool stops = reason == HEARTH_CANCEL_STOP;
  for (Sequence& sequence : request.sequences) {
    if (index != HEARTH_CANCEL_ALL_SEQUENCES && index != int32_t(sequence.index)) continue;
    if (sequence.finished) continue;
    const uint32_t num_output = std::min(keep_tokens, uint32_t(sequence.output.size()));
    if (stops) forget_output_after(sequence, num_output);
    finish(sequence, stops ? HEARTH_FINISH_STOP : HEARTH_FINISH_CANCELLED, num_output);
  }
  settle(request);
}

void Scheduler::cancel_all() {
  for (const uint64_t id : request_ids()) {
    cancel(id, HEARTH_CANCEL_ALL_SEQUENCES, HEARTH_CANCEL_CLIENT, UINT32_MAX);
  }
}

void Scheduler::expire(Clock::time_point now) {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    Request& request = *requests_.at(deadlines_.begin()->second);
    deadlines_.erase(deadlines_.begin());
    for (Sequence& sequence : request.sequences) {
      finish(sequence, HEARTH_FINISH_DEADLINE, uint32_t(sequence.output.size()));
    }
    settle(request);
  }
}

void Scheduler::fail_all(const Error& error) {
  for (const auto& [id, request] : requests_) fail(*request, error);
  for (const uint64_t id : request_ids()) {
    Request& request = *requests_.at(id);
    for (Sequence& sequence : request.sequences) sequence.num_in_flight = 0;
    settle(request);
  }
}

std::vector<uint64_t> Scheduler::request_ids() const {
  std::vector<uint64_t> ids;
  for (const auto& [id, request] : requests_) ids.push_back(id);
  return ids;
}

// Takes the blocks that hold output after the first keep_tokens tokens out of the prefix cache.
void Scheduler::forget_output_after(Sequence& sequence, uint32_t keep_tokens) {
  if (!options_.prefix_caching) return;
  const Request& request = *sequence.request;
  const int32_t first = (request.prompt_len() + int32_t(keep_tokens)) / options_.block_tokens;
  const int32_t num_full = sequence.known_len() / options_.block_tokens;
  for (int32_t block = first; block < num_full; ++block) kv_.forget(block_name(sequence, block));
}

// Makes the last event of a sequence, unless it has been made. settle() lets go of what it holds.
void Scheduler::finish(Sequence& sequence, uint32_t reason, uint32_t num_output_tokens) {
  if (sequence.finished) return;
  mark_finished(sequence, num_output_tokens);
  ++counters_.num_finished[reason];
  const Request& request = *sequence.request;
  events_.push_back(
      finish_event(request.id, sequence.index, reason, num_output_tokens, request.cached_tokens));
}

void Scheduler::fail(Request& request, const Error& error) {
  if (request.num_unfinished() == 0) return;
  events_.push_back(error_event(request.id, to_abi(error)));
  for (Sequence& sequence : request.sequences) {
    if (sequence.finished) continue;
    mark_finished(sequence, uint32_t(sequence.output.size()));
    ++counters_.num_finished_error;
  }
}

// num_output_tokens: those that count.
void Scheduler::mark_finished(Sequence& sequence, uint32_t num_output_tokens) {
  Request& request = *sequence.request;
  // A leader that waits has kept a place for this one.
  if (!request.forked && request.leader().place == Place::kWaiting) --waiting_totals_.num_slots;
  sequence.finished = true;
  counters_.num_generation_tokens += num_output_tokens;
}

// Sequences of one request lie side by side in a plan, since they are served one after the other.
void Scheduler::settle(const StepPlan& plan) {
  const std::vector<StepPlan::Participant>& participants = plan.participants();
  for (auto next = participants.begin(); next != participants.end();) {
    Request& request = *next->sequence->request;
    next = std::find_if(next, participants.end(), [&](const StepPlan::Participant& participant) {
      return participant.sequence->request != &request;
    });
    settle(request);  // which may delete it
  }
}

// Lets go of what finished sequences hold, as far as no step in flight needs it; deletes the
// request with the last of them.
void Scheduler::settle(Request& request) {
  const bool prompt_is_needed = !request.forked && request.num_unfinished() > 0;
  bool is_gone = true;
  for (Sequence& sequence : request.sequences) {
    const bool carries_prompt = prompt_is_needed && &sequence == &request.leader();
    if (!sequence.finished || carries_prompt) {
      is_gone = false;
      continue;
    }
    unplace(sequence);
    if (sequence.num_in_flight > 0) {
      is_gone = false;
      continue;
    }
    release_blocks(sequence);
    if (sequence.sampler >= 0) runner_.release_sampler(sequence.sampler);
    sequence.sampler = -1;
  }
  if (!is_gone) return;
  if (request.deadline) deadlines_.erase({*request.deadline, request.id});
  turns_.leave(request);
  requests_.erase(request.id);
}

// Takes a sequence out of its queue. What steps in flight compute for it is not published any more.
void Scheduler::unplace(Sequence& sequence) {
  if (sequence.place != Place::kNone) ++sequence.epoch;
  place(sequence, Place::kNone);
}

// Moves a sequence from its queue to another, or to none, and keeps what gauges() tells.
void Scheduler::place(Sequence& sequence, Place place) {
  Request& request = *sequence.request;
  count_request(request, -1);
  if (sequence.place == Place::kRunning) std::erase(running_, &sequence);
  if (sequence.place == Place::kWaiting) {
    request.caller->waiting.erase(&sequence);
    waiting_totals_.add(waiting_figures(sequence), -1);
  }
  request.num_sequences_running += (place == Place::kRunning) - (sequence.place == Place::kRunning);
  request.num_sequences_waiting += (place == Place::kWaiting) - (sequence.place == Place::kWaiting);
  sequence.place = place;
  if (place == Place::kRunning) {
    running_.insert(std::upper_bound(running_.begin(), running_.end(), &sequence, TurnBefore()),
                    &sequence);
  }
  if (place == Place::kWaiting) {
    request.caller->waiting.insert(&sequence);
    waiting_totals_.add(waiting_figures(sequence), 1);
  }
  count_request(request, 1);
}

void Scheduler::count_request(const Request& request, int32_t sign) {
  if (request.num_sequences_running > 0) {
    num_requests_running_ += sign;
  } else if (request.num_sequences_waiting > 0) {
    num_requests_waiting_ += sign;
  }
}

void Scheduler::release_blocks(Sequence& sequence) {
  for (size_t i = sequence.block_table.size(); i > 0; --i) kv_.release(sequence.block_table[i - 1]);
  sequence.block_table.clear();
  sequence.computed_len = sequence.planned_len = sequence.num_named_blocks = 0;
  ++sequence.epoch;
}

// ------------------------------------------------------------------------------ derived figures

// Places among max_num_seqs that a sequence takes: the leader keeps those of its followers.
int32_t Scheduler::slots(const Sequence& sequence) const {
  return sequence.request->forked ? 1 : sequence.request->num_unfinished();
}

int32_t Scheduler::num_slots_taken(size_t end) const {
  int32_t count = 0;
  for (size_t i = 0; i < end; ++i) count += slots(*running_[i]);
  return count;
}

int32_t Scheduler::num_decodes_behind(size_t position) const {
  return int32_t(
      std::count_if(running_.begin() + position + 1, running_.end(),
                    [](const Sequence* s) { return s->decodes() && s->has_input_left(); }));
}

int32_t Scheduler::blocks_for(int32_t num_tokens) const {
  return (num_tokens + options_.block_tokens - 1) / options_.block_tokens;
}

// The name of a block whose tokens are all known.
const BlockName& Scheduler::block_name(Sequence& sequence, int32_t block) const {
  std::vector<BlockName>& names = sequence.block_names;
  std::array<uint32_t, BlockNamer::kMaxBlockTokens> buffer;
  const std::span<uint32_t> tokens(buffer.data(), options_.block_tokens);
  for (int32_t next = int32_t(names.size()); next <= block; ++next) {
    for (int32_t i = 0; i < options_.block_tokens; ++i) {
      tokens[i] = sequence.known_token(next * options_.block_tokens + i);
    }
    names.push_back(namer_.child(
        next == 0 ? namer_.root(sequence.request->options.values.salt) : names.back(), tokens));
  }
  return names[block];
}

Scheduler::WaitingTotals Scheduler::waiting_figures(const Sequence& sequence) const {
  const Request& request = *sequence.request;
  WaitingTotals figures;
  figures.num_tokens = sequence.total_len();
  figures.num_slots = slots(sequence);
  figures.num_requests_queued = !request.admitted;
  figures.num_queued_tokens = request.admitted ? 0 : request.prompt_len();
  return figures;
}

SchedulerGauges Scheduler::gauges() const {
  SchedulerGauges gauges;
  gauges.num_sequences_running = num_slots_taken(running_.size());
  gauges.kv_blocks_free = kv_.num_free();
  gauges.kv_blocks_cached = kv_.num_cached();
  gauges.kv_blocks_held = kv_.num_held();
  gauges.backlog.max_num_seqs = options_.max_num_seqs;
  gauges.backlog.sequences_ahead = gauges.num_sequences_running + waiting_totals_.num_slots;
  gauges.backlog.prefill_tokens = waiting_totals_.num_tokens;
  for (const Sequence* sequence : running_) {
    if (sequence->decodes()) continue;
    gauges.backlog.prefill_tokens += sequence->total_len() - sequence->planned_len;
  }
  gauges.num_requests_running = num_requests_running_;
  gauges.num_requests_waiting = num_requests_waiting_;
  gauges.num_requests_queued = waiting_totals_.num_requests_queued;
  gauges.num_queued_tokens = waiting_totals_.num_queued_tokens;
  return gauges;
}

void Scheduler::check_integrity() const {
  const auto check = [](bool holds, const char* what, uint64_t request) {
    if (holds) return;
    throw Error(HEARTH_INTERNAL, format("Cannot trust the scheduler: request %llu %s",
                                        (unsigned long long)request, what));
  };
  std::vector<int32_t> num_holders(kv_.num_blocks());
  size_t num_running = 0;
  size_t num_waiting = 0;
  for (const auto& [id, request] : requests_) {
    for (const Sequence& sequence : request->sequences) {
      for (int32_t block : sequence.block_table) ++num_holders.at(block);
      const int32_t table_len = int32_t(sequence.block_table.size()) * options_.block_tokens;
      check(sequence.computed_len <= sequence.planned_len, "has computed more than planned", id);
      check(sequence.planned_len <= table_len, "has planned more than its blocks hold", id);
      check(sequence.planned_len <= sequence.total_len(), "has planned more than it has", id);
      check(sequence.finished || sequence.num_pending <= 1, "waits for more than one token", id);
      num_running += sequence.place == Place::kRunning;
      num_waiting += sequence.place == Place::kWaiting;
      check(sequence.place != Place::kWaiting || table_len == 0, "waits and holds blocks", id);
    }
  }
  WaitingTotals totals;
  size_t num_in_waiting = 0;
  int32_t num_requests = 0;
  std::set<const Request*> running, waiting;
  for (const Sequence* sequence : running_) running.insert(sequence->request);
  for (const auto& [id, caller] : turns_.callers()) {
    num_requests += caller.num_requests;
    num_in_waiting += caller.waiting.size();
    for (const Sequence* sequence : caller.waiting) {
      check(sequence->request->caller == &caller, "waits with another caller's",
            sequence->request->id);
      totals.add(waiting_figures(*sequence), 1);
      if (!running.count(sequence->request)) waiting.insert(sequence->request);
    }
  }
  check(num_requests == int32_t(requests_.size()), "has lost its caller", 0);
  check(totals == waiting_totals_ && num_requests_running_ == int32_t(running.size()) &&
            num_requests_waiting_ == int32_t(waiting.size()),
        "is counted wrongly", 0);
  check(num_running == running_.size() && num_waiting == num_in_waiting, "is in a wrong queue", 0);
  check(std::is_sorted(running_.begin(), running_.end(), TurnBefore()), "is out of order", 0);
  check(num_slots_taken(running_.size()) <= options_.max_num_seqs, "exceeds max_num_seqs", 0);
  kv_.check_integrity(num_holders);
}

}  // namespace hearth
