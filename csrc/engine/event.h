// What happened to a request, as the engine hands it to hearth_poll.
#pragma once

#include <span>
#include <string_view>
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
Event error_event(uint64_t request, hearth_status status, std::string_view message);
Event ready_event();
/// FAILED with room for its text, made ahead: it may have to be told when memory has run out.
Event failed_event();
/// Makes an event say why: its text, and its status where finish_reason is. Allocates nothing where
/// there is room for the text.
void set_failure(Event& event, hearth_status status, std::string_view message);

}  // namespace hearth
