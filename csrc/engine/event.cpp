#include "event.h"

#include <cmath>

#include "../error.h"

namespace hearth {

namespace {

Event event_of(uint32_t kind, uint64_t request) {
  Event event;
  event.header.size = sizeof(hearth_event);
  event.header.kind = kind;
  event.header.request = request;
  event.header.logprob = NAN;
  return event;
}

void set_payload(Event& event, const void* bytes, size_t count) {
  const auto* first = static_cast<const uint8_t*>(bytes);
  event.payload.assign(first, first + count);
}

}  // namespace

Event start_event(uint64_t request, uint64_t queue_microseconds, uint32_t cached_tokens) {
  Event event = event_of(HEARTH_EVENT_START, request);
  event.header.queue_microseconds = queue_microseconds;
  event.header.cached_tokens = cached_tokens;
  return event;
}

Event token_event(uint64_t request, uint32_t sequence, uint32_t token, float logprob,
                  std::span<const hearth_token_logprob> top, uint32_t num_output_tokens,
                  uint32_t cached_tokens) {
  Event event = event_of(HEARTH_EVENT_TOKEN, request);
  event.header.sequence = sequence;
  event.header.token = token;
  event.header.logprob = logprob;
  event.header.num_output_tokens = num_output_tokens;
  event.header.cached_tokens = cached_tokens;
  set_payload(event, top.data(), top.size_bytes());
  return event;
}

Event prompt_logprob_event(uint64_t request, uint32_t index, uint32_t token, float logprob,
                           std::span<const hearth_token_logprob> top) {
  Event event = event_of(HEARTH_EVENT_PROMPT_LOGPROB, request);
  event.header.sequence = index;
  event.header.token = token;
  event.header.logprob = logprob;
  set_payload(event, top.data(), top.size_bytes());
  return event;
}

Event finish_event(uint64_t request, uint32_t sequence, uint32_t reason, uint32_t num_output_tokens,
                   uint32_t cached_tokens) {
  Event event = event_of(HEARTH_EVENT_FINISH, request);
  event.header.sequence = sequence;
  event.header.finish_reason = reason;
  event.header.num_output_tokens = num_output_tokens;
  event.header.cached_tokens = cached_tokens;
  return event;
}

Event error_event(uint64_t request, hearth_status status, std::string_view message) {
  Event event = event_of(HEARTH_EVENT_ERROR, request);
  set_failure(event, status, message);
  return event;
}

Event ready_event() { return event_of(HEARTH_EVENT_READY, 0); }

Event failed_event() {
  Event event = event_of(HEARTH_EVENT_FAILED, 0);
  event.payload.reserve(kMaxErrorText);
  return event;
}

void set_failure(Event& event, hearth_status status, std::string_view message) {
  event.header.finish_reason = uint32_t(-status);
  set_payload(event, message.data(), cut_length(message, kMaxErrorText));
}

}  // namespace hearth
