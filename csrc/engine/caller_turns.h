// Turns between callers: who is served first, and whose sequences give way.
//
// DESIGN
//   A caller's virtual time is the tokens that were computed for it, divided by its weight; the
//   least goes first. This is start-time fair queueing (Goyal, Vin and Cheng, 1996) over tokens, as
//   in Sheng et al., "Fairness in Serving Large Language Models" (OSDI 2024).
//
//   Charged     What is computed for the first time, of prompts and output: neither what the prefix
//               cache had nor what a preemption made to be computed again. So virtual time rises
//               only as requests get on.
//   Floor       Who begins to want something starts where the least of those who want already
//               stood when the last step began, and so before them, by a step at most: time in
//               which a caller asked for nothing is no credit. Where nobody wants anything, what
//               the busiest had is no debt: nobody went short by it.
//   Frozen      Turns are those of the step's beginning: what a step gives changes the next one.
//   Forgotten   A caller without requests is dropped once the floor has passed it.
//
//   Of one caller alone nothing of this is seen: the order is ServedBefore's.
#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <unordered_map>
#include <vector>

#include "request.h"

namespace hearth {

struct Caller {
  std::set<Sequence*, ServedBefore> waiting;  // best first
  double served = 0;                          // virtual time
  double turn = 0;                            // the same, as of the step's beginning
  uint32_t weight = 1;
  int32_t num_requests = 0;
  bool wants = false;   // as of the step's beginning: it waits, or has prompts to be computed
  bool wanted = false;  // as of the step's before
};

/// The order in which sequences of all callers are served in a step: best first.
struct TurnBefore {
  bool operator()(const Sequence* a, const Sequence* b) const;
};

class CallerTurns {
 public:
  /// A request comes or goes: its caller is there as long as it is.
  void enter(Request& request);
  void leave(Request& request);

  /// Fixes the order of the next step, and puts `running` into it.
  void begin_step(std::vector<Sequence*>& running);
  /// The best sequence that waits; nullptr where none does.
  Sequence* best_waiting() const;
  /// Input tokens begin to end of a sequence are computed by a step.
  static void charge(Sequence& sequence, int32_t begin, int32_t end);
  /// Whether a sequence that waits may take the blocks of one that runs. Between callers it may
  /// where the other one would still be behind it after all of its tokens: else two callers would
  /// take from each other in turn.
  static bool may_displace(const Sequence& waiting, const Sequence& running);
  /// How many of the tokens that are `left` in a step a caller may have for its prompts. With what
  /// it has had in this step it leaves half to others, as far as they have a use for it and their
  /// turn would come before it had all: to those `behind` it, which run, and to each one's best
  /// that waits, if it may be admitted.
  int32_t share(const Caller& caller, int32_t left, std::span<Sequence* const> behind,
                bool admitting) const;

  const std::unordered_map<uint64_t, Caller>& callers() const { return callers_; }

 private:
  std::unordered_map<uint64_t, Caller> callers_;
  double floor_ = 0;
};

}  // namespace hearth
