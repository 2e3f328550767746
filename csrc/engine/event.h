// What happened to a request, as the engine hands it to hearth_poll.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "../hearth.h"

namespace hearth {

struct Event {
  hearth_event header{};         // payload_offset is the poll's to set
  std::vector<uint8_t> payload;  // at most kMaxErrorText or 20 hearth_token_logprob
};

/// Longest error text of an event in bytes: every payload fits hearth_poll's smallest buffer.
constexpr size_t kMaxErrorText = 2048;

Event start_event(uint64_t request, uint64_t queue_microseconds, uint32_t cached_tokens);
Event token_event(uint64_t request, uint32_t sequence, uint32_t token, float logprob,
                  std::span<const hearth_token_logprob> top, uint32_t num_output_tokens,
                  uint32_t cached_tokens);
Event prompt_logprob_event(uint64_t request, uint32_t index, uint32_t token, float logprob,
                           std::span<const hearth_token_logprob> top);
Event finish_event(uint64_t request, uint32_t sequence, uint32_t reason, uint32_t num_output_tokens,
                   uint32_t cached_tokens);
/// kind: HEARTH_EVENT_ERROR, or _FAILED with request 0.
Event error_event(uint32_t kind, uint64_t request, hearth_status status,
                  const std::string& message);
Event ready_event();

}  // namespace hearth
