#include "request.h"

#include <algorithm>
#include <tuple>

namespace hearth {

int32_t Sequence::known_len() const { return request->prompt_len() + int32_t(output.size()); }

uint32_t Sequence::known_token(int32_t position) const {
  const int32_t prompt_len = request->prompt_len();
  return position < prompt_len ? request->prompt[position] : output[position - prompt_len];
}

bool Sequence::has_input_left() const {
  // The last output token's K and V would serve nobody.
  const bool last_is_drawn = int32_t(output.size()) + num_pending == request->max_output;
  return planned_len < (last_is_drawn ? request->prompt_len() : total_len());
}

bool Sequence::decodes() const {
  return planned_len == total_len() - 1 && planned_len >= request->prompt_len();
}

Request::Request(uint64_t id, std::vector<uint32_t> prompt, RequestOptions options,
                 int32_t max_model_len, Clock::time_point arrival, std::chrono::milliseconds ageing)
    : id(id), prompt(std::move(prompt)), options(std::move(options)), arrival(arrival) {
  using std::chrono::microseconds;
  const hearth_request_options& values = this->options.values;
  max_output = int32_t(std::min<int64_t>(values.max_tokens, max_model_len - prompt_len()));
  const auto since_epoch = std::chrono::duration_cast<microseconds>(arrival.time_since_epoch());
  order = since_epoch.count() + values.priority * microseconds(ageing).count();
  if (values.deadline_ms > 0) deadline = arrival + std::chrono::milliseconds(values.deadline_ms);
  sequences.reserve(values.num_sequences);
  for (uint32_t index = 0; index < values.num_sequences; ++index) {
    sequences.emplace_back(*this, index);
  }
}

int32_t Request::num_unfinished() const {
  return int32_t(std::count_if(sequences.begin(), sequences.end(),
                               [](const Sequence& sequence) { return !sequence.finished; }));
}

bool ServedBefore::operator()(const Sequence* a, const Sequence* b) const {
  return std::tuple(a->request->order, a->request->id, a->index) <
         std::tuple(b->request->order, b->request->id, b->index);
}

}  // namespace hearth
