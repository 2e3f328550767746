// What happened to a request, as the engine hands it to hearth_poll.
#pragma once

#include <span>
#include <vector>

#include "../error.h"
#include "../hearth.h"

namespace hearth {

struct Event {
  hearth_event header{};         // payload_offset is the poll's to set
  std::vector<uint8_t> payload;  // fits HEARTH_MIN_PAYLOAD_BYTES
};

Event start_event(uint64_t request, uint64_t queue_microseconds, uint32_t cached_tokens);
/// tokens: 1 to HEARTH_MAX_EVENT_TOKENS, in order; logprob NaN when not asked for. top: the same
/// number of alternatives for each of them, token by token. num_output_tokens: number of the last.
Event token_event(uint64_t request, uint32_t sequence, std::span<const hearth_token_logprob> tokens,
                  std::span<const hearth_token_logprob> top, uint32_t num_output_tokens,
                  uint32_t cached_tokens);
/// index: of the prompt token.
Event prompt_logprob_event(uint64_t request, uint32_t index, hearth_token_logprob token,
                           std::span<const hearth_token_logprob> top);
Event finish_event(uint64_t request, uint32_t sequence, uint32_t reason, uint32_t num_output_tokens,
                   uint32_t cached_tokens);
/// kind: HEARTH_EVENT_ERROR, or _FAILED with request 0.
Event error_event(uint32_t kind, uint64_t request, const Error& error);
Event ready_event();

}  // namespace hearth
