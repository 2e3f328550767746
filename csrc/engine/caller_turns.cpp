#include "caller_turns.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace hearth {

bool TurnBefore::operator()(const Sequence* a, const Sequence* b) const {
  const double turn_a = a->request->caller->turn;
  const double turn_b = b->request->caller->turn;
  return turn_a != turn_b ? turn_a < turn_b : ServedBefore()(a, b);
}

void CallerTurns::enter(Request& request) {
  const hearth_request_options& values = request.options.values;
  Caller& caller = callers_[values.caller];
  caller.weight = std::max(values.caller_weight, 1u);
  ++caller.num_requests;
  request.caller = &caller;
}

void CallerTurns::leave(Request& request) { --request.caller->num_requests; }

void CallerTurns::begin_step(std::vector<Sequence*>& running) {
  for (auto& [id, caller] : callers_) {
    caller.wanted = caller.wants;
    caller.wants = !caller.waiting.empty();
  }
  for (const Sequence* sequence : running) {
    if (!sequence->decodes()) sequence->request->caller->wants = true;
  }
  double least = std::numeric_limits<double>::infinity();
  double most = 0;
  for (const auto& [id, caller] : callers_) {
    if (caller.wants && caller.wanted) least = std::min(least, caller.turn);
    most = std::max(most, caller.served);
  }
  floor_ = std::max(floor_, std::min(least, most));
  for (auto& [id, caller] : callers_) {
    if (caller.wants && !caller.wanted) caller.served = std::max(caller.served, floor_);
    caller.turn = caller.served;
  }
  std::erase_if(callers_, [&](const auto& entry) {
    return entry.second.num_requests == 0 && entry.second.served <= floor_;
  });
  if (callers_.size() > 1) std::sort(running.begin(), running.end(), TurnBefore());
}

Sequence* CallerTurns::best_waiting() const {
  Sequence* best = nullptr;
  for (const auto& [id, caller] : callers_) {
    if (caller.waiting.empty()) continue;
    Sequence* first = *caller.waiting.begin();
    if (best == nullptr || TurnBefore()(first, best)) best = first;
  }
  return best;
}

void CallerTurns::charge(Sequence& sequence, int32_t begin, int32_t end) {
  Caller& caller = *sequence.request->caller;
  const int32_t num_new = end - std::max(begin, sequence.charged_len);
  if (num_new <= 0) return;
  caller.served += double(num_new) / caller.weight;
  sequence.charged_len = end;
}

bool CallerTurns::may_displace(const Sequence& waiting, const Sequence& running) {
  const Caller& caller = *waiting.request->caller;
  const Caller& other = *running.request->caller;
  if (&caller == &other) return ServedBefore()(&waiting, &running);
  return other.turn >= caller.turn + double(waiting.total_len()) / caller.weight;
}

int32_t CallerTurns::share(const Caller& caller, int32_t left, std::span<Sequence* const> behind,
                           bool admitting) const {
  if (callers_.size() == 1) return left;
  const double end = caller.served + double(left) / caller.weight;
  const auto comes_before = [&](const Caller& other) {
    return &other != &caller && other.turn < end;
  };
  int64_t use = 0;
  for (const Sequence* sequence : behind) {
    if (sequence->decodes() || !comes_before(*sequence->request->caller)) continue;
    use += sequence->total_len() - sequence->planned_len;
  }
  for (const auto& [id, other] : callers_) {
    if (!admitting || other.waiting.empty() || !comes_before(other)) continue;
    use += (*other.waiting.begin())->total_len();
  }
  const int32_t had = int32_t(std::lround((caller.served - caller.turn) * caller.weight));
  const int32_t others = int32_t(std::min<int64_t>(use, (had + left) / 2));
  return std::max(left - others, 0);
}

}  // namespace hearth
