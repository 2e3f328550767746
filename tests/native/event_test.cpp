// Events as hearth_poll hands them over: the layout of tokens, and small buffers.
#include "engine/event.h"

#include <cmath>
#include <cstring>

#include "check.h"
#include "engine/event_queue.h"
#include "error.h"

namespace hearth::test {
namespace {

using Entries = std::vector<hearth_token_logprob>;

/// Entries that tell their number.
Entries entries(uint32_t count, uint32_t first) {
  Entries made;
  for (uint32_t i = 0; i < count; ++i) made.push_back({first + i, -0.5f * float(first + i)});
  return made;
}

/// What a caller reads at an index of the payload.
hearth_token_logprob entry_at(const Event& event, size_t index) {
  hearth_token_logprob entry;
  CHECK((index + 1) * sizeof(entry) <= event.payload.size());
  std::memcpy(&entry, event.payload.data() + index * sizeof(entry), sizeof(entry));
  return entry;
}

TEST("token_event lays tokens and their alternatives out as hearth.h draws them") {
  for (const uint32_t num_tokens : {1u, 2u, 5u, uint32_t(HEARTH_MAX_EVENT_TOKENS)}) {
    for (const uint32_t num_top : {0u, 1u, 3u, uint32_t(HEARTH_MAX_LOGPROBS)}) {
      const Entries tokens = entries(num_tokens, 100), top = entries(num_tokens * num_top, 1000);
      const Event event = token_event(7, 2, tokens, top, 40, 16);
      CHECK_EQUAL(event.header.size, sizeof(hearth_event));
      CHECK_EQUAL(event.header.kind, uint32_t(HEARTH_EVENT_TOKEN));
      CHECK_EQUAL(event.header.request, 7u);
      CHECK_EQUAL(event.header.sequence, 2u);
      CHECK_EQUAL(event.header.num_tokens, num_tokens);
      CHECK_EQUAL(event.header.num_top, num_top);
      CHECK_EQUAL(event.header.num_output_tokens, 40u);
      CHECK_EQUAL(event.header.cached_tokens, 16u);
      CHECK_EQUAL(event.payload.size(),
                  (num_tokens - 1 + num_tokens * num_top) * sizeof(hearth_token_logprob));
      CHECK(event.payload.size() <= HEARTH_MIN_PAYLOAD_BYTES);
      CHECK_EQUAL(event.header.token, 100u);
      CHECK_EQUAL(event.header.logprob, -50.0f);
      for (uint32_t i = 1; i < num_tokens; ++i) {
        CHECK_EQUAL(entry_at(event, i - 1).token, 100 + i);
        CHECK_EQUAL(entry_at(event, i - 1).logprob, tokens[i].logprob);
      }
      for (uint32_t i = 0; i < num_tokens * num_top; ++i) {
        CHECK_EQUAL(entry_at(event, num_tokens - 1 + i).token, 1000 + i);
      }
    }
  }
}

TEST("token_event of one token without alternatives has no payload") {
  const hearth_token_logprob token{5, NAN};
  const Event event = token_event(1, 0, {&token, 1}, {}, 1, 0);
  CHECK(event.payload.empty());
  CHECK(std::isnan(event.header.logprob));
}

TEST("prompt_logprob_event is one token with its alternatives") {
  const Event event = prompt_logprob_event(3, 9, {4, -1.5f}, entries(2, 10));
  CHECK_EQUAL(event.header.kind, uint32_t(HEARTH_EVENT_PROMPT_LOGPROB));
  CHECK_EQUAL(event.header.sequence, 9u);
  CHECK_EQUAL(event.header.token, 4u);
  CHECK_EQUAL(event.header.num_tokens, 1u);
  CHECK_EQUAL(event.header.num_top, 2u);
  CHECK_EQUAL(entry_at(event, 1).token, 11u);
}

TEST("error_event carries the error as data") {
  const Event event =
      error_event(3, to_abi(HEARTH_DEVICE_LOST, "Cannot run a step: the device is gone"));
  hearth_error error;
  CHECK_EQUAL(event.payload.size(), sizeof(error));
  std::memcpy(&error, event.payload.data(), sizeof(error));
  CHECK_EQUAL(error.size, sizeof(error));
  CHECK_EQUAL(error.status, int32_t(HEARTH_DEVICE_LOST));
  CHECK_EQUAL(std::string(error.message), std::string("Cannot run a step: the device is gone"));
}

TEST("EventQueue splits over small buffers and loses nothing") {
  EventQueue queue;
  std::vector<Event> events;
  for (uint64_t i = 1; i <= 5; ++i) {
    events.push_back(error_event(i, to_abi(HEARTH_INTERNAL, "x")));
  }
  queue.push(events);
  queue.close();
  hearth_event headers[16];
  uint8_t payload[HEARTH_MIN_PAYLOAD_BYTES];
  uint64_t next = 1;
  for (;;) {
    const int32_t count = queue.poll(headers, sizeof(headers[0]), 16, payload, sizeof(payload),
                                     std::chrono::milliseconds(0));
    if (count == HEARTH_CLOSED) break;
    CHECK_EQUAL(count, next < 5 ? 2 : 1);  // two errors fill the buffer
    for (int32_t i = 0; i < count; ++i) {
      CHECK_EQUAL(headers[i].request, next++);
      CHECK_EQUAL(headers[i].payload_bytes, sizeof(hearth_error));
      CHECK_EQUAL(headers[i].payload_offset, uint32_t(i) * sizeof(hearth_error));
    }
  }
  CHECK_EQUAL(next, 6u);
}

}  // namespace
}  // namespace hearth::test
