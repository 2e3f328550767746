// What happened to a request, as the engine hands it to hearth_poll.
#pragma once

#include <span>
#include <vector>

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
Event error_event(uint64_t request, const hearth_error& error);
Event ready_event();
/// FAILED with room for its error, made ahead: it may have to be told when memory has run out.
Event failed_event();
/// Makes an event say why. Allocates nothing where there is room.
void set_failure(Event& event, const hearth_error& error);

}  // namespace hearth
