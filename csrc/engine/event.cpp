#include "event.h"

#include <cmath>

namespace hearth {

namespace {

static_assert(sizeof(hearth_error) <= HEARTH_MIN_PAYLOAD_BYTES);
static_assert((HEARTH_MAX_EVENT_TOKENS - 1 + HEARTH_MAX_EVENT_TOKENS * HEARTH_MAX_LOGPROBS) *
                  sizeof(hearth_token_logprob) <=
              HEARTH_MIN_PAYLOAD_BYTES);

Event event_of(uint32_t kind, uint64_t request) {
  Event event;
  event.header.size = sizeof(hearth_event);
  event.header.kind = kind;
  event.header.request = request;
  event.header.logprob = NAN;
  return event;
}

void append(std::vector<uint8_t>& payload, std::span<const hearth_token_logprob> entries) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(entries.data());
  payload.insert(payload.end(), bytes, bytes + entries.size_bytes());
}

/// The layout that hearth_event draws.
void set_tokens(Event& event, std::span<const hearth_token_logprob> tokens,
                std::span<const hearth_token_logprob> top) {
  event.header.token = tokens.front().token;
  event.header.logprob = tokens.front().logprob;
  event.header.num_tokens = uint32_t(tokens.size());
  event.header.num_top = uint32_t(top.size() / tokens.size());
  event.payload.reserve((tokens.size() - 1) * sizeof(tokens[0]) + top.size_bytes());
  append(event.payload, tokens.subspan(1));
  append(event.payload, top);
}

}  // namespace

Event start_event(uint64_t request, uint64_t queue_microseconds, uint32_t cached_tokens) {
  Event event = event_of(HEARTH_EVENT_START, request);
  event.header.queue_microseconds = queue_microseconds;
  event.header.cached_tokens = cached_tokens;
  return event;
}

Event token_event(uint64_t request, uint32_t sequence, std::span<const hearth_token_logprob> tokens,
                  std::span<const hearth_token_logprob> top, uint32_t num_output_tokens,
                  uint32_t cached_tokens) {
  Event event = event_of(HEARTH_EVENT_TOKEN, request);
  event.header.sequence = sequence;
  event.header.num_output_tokens = num_output_tokens;
  event.header.cached_tokens = cached_tokens;
  set_tokens(event, tokens, top);
  return event;
}

Event prompt_logprob_event(uint64_t request, uint32_t index, hearth_token_logprob token,
                           std::span<const hearth_token_logprob> top) {
  Event event = event_of(HEARTH_EVENT_PROMPT_LOGPROB, request);
  event.header.sequence = index;
  set_tokens(event, {&token, 1}, top);
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

Event error_event(uint64_t request, const hearth_error& error) {
  Event event = event_of(HEARTH_EVENT_ERROR, request);
  set_failure(event, error);
  return event;
}

Event ready_event() { return event_of(HEARTH_EVENT_READY, 0); }

Event failed_event() {
  Event event = event_of(HEARTH_EVENT_FAILED, 0);
  event.payload.reserve(sizeof(hearth_error));
  return event;
}

void set_failure(Event& event, const hearth_error& error) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(&error);
  event.payload.assign(bytes, bytes + sizeof(error));
}

}  // namespace hearth
