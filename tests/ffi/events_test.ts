import assert from "node:assert/strict";
import { LogprobList } from "../../engine/types.ts";
import { decodeEvent, type NativeEvent } from "../../ffi/events.ts";
import * as c from "../../ffi/structs.ts";
import { runCpp } from "./compile_c.ts";

/** Tokens and alternatives of an event; entries tell their number. */
const CASES = [[1, 0], [1, 1], [1, 20], [2, 0], [2, 3], [5, 20], [16, 20]] as const;

/** The library's own packer and queue, as hearth_poll uses them; buffers go to stdout. */
const PROGRAM = `
#include <cstdio>

#include "engine/event_queue.h"
#include "error.h"

using namespace hearth;

int main() {
  std::vector<Event> events{start_event(1, 1500, 32)};
  for (const auto& [num_tokens, num_top] : {${CASES.map(([n, k]) => `std::pair{${n}u, ${k}u}`)}}) {
    std::vector<hearth_token_logprob> tokens, top;
    for (uint32_t i = 0; i < num_tokens; ++i) tokens.push_back({100 + i, -0.5f * i});
    for (uint32_t i = 0; i < num_tokens * num_top; ++i) top.push_back({1000 + i, -0.25f * i});
    events.push_back(token_event(2, 3, tokens, top, 40 + num_tokens, 16));
  }
  const std::vector<hearth_token_logprob> two{{8, -1.5f}, {9, -2.5f}};
  events.push_back(prompt_logprob_event(4, 6, {7, -0.5f}, two));
  events.push_back(finish_event(5, 1, HEARTH_FINISH_LENGTH, 44, 48));
  events.push_back(error_event(
      6, to_abi(Error(HEARTH_DEADLINE, "Cannot submit request", "deadline_ms", "be >= 9", "5"))));
  events.push_back(ready_event());
  const size_t count = events.size() + 1;
  EventQueue queue;
  queue.push(events);
  queue.fail(to_abi(HEARTH_DEVICE_LOST, "gone"));
  std::vector<hearth_event> headers(count);
  std::vector<uint8_t> payload(1 << 16, 0xff);
  if (queue.poll(headers.data(), sizeof(hearth_event), uint32_t(count), payload.data(),
                 uint32_t(payload.size()), std::chrono::milliseconds(0)) != int32_t(count)) {
    return 1;
  }
  std::fwrite(headers.data(), sizeof(hearth_event), count, stdout);
  std::fwrite(payload.data(), 1, payload.size(), stdout);
}
`;

async function packedByTheLibrary(): Promise<NativeEvent[]> {
  const files = ["engine/event.cpp", "engine/event_queue.cpp", "error.cpp"];
  const bytes = await runCpp(PROGRAM, files);
  const headerBytes = (CASES.length + 6) * c.Event.byteLength;
  const view = (begin: number, end: number) => new DataView(bytes.slice(begin, end).buffer);
  const events = view(0, headerBytes);
  const payload = view(headerBytes, bytes.length);
  return Array.from(
    { length: CASES.length + 6 },
    (_, i) => decodeEvent(events, i * c.Event.byteLength, payload),
  );
}

function expectedTokens(numTokens: number, numTop: number): LogprobList {
  const positions = Array.from({ length: numTokens }, (_, i) => ({
    token: 100 + i,
    logprob: -0.5 * i,
    top: Array.from({ length: numTop }, (_, j) => {
      const number = i * numTop + j;
      return { token: 1000 + number, logprob: -0.25 * number };
    }),
  }));
  return LogprobList.of(positions);
}

Deno.test("decodeEvent() reads what the library packs", async () => {
  const [start, ...rest] = await packedByTheLibrary();
  const tokens = rest.slice(0, CASES.length);
  const [prompt, finish, error, ready, failed] = rest.slice(CASES.length);
  assert.deepEqual(start, {
    kind: "start",
    request: 1n,
    cachedTokens: 32,
    queueMicroseconds: 1500,
  });
  CASES.forEach(([numTokens, numTop], i) => {
    assert.deepEqual(tokens[i], {
      kind: "token",
      request: 2n,
      sequence: 3,
      tokens: expectedTokens(numTokens, numTop),
      cachedTokens: 16,
      numOutputTokens: 40 + numTokens,
    });
  });
  assert.deepEqual(prompt, {
    kind: "prompt_logprob",
    request: 4n,
    position: 6,
    token: {
      token: 7,
      logprob: -0.5,
      top: [{ token: 8, logprob: -1.5 }, { token: 9, logprob: -2.5 }],
    },
  });
  assert.deepEqual(finish, {
    kind: "finish",
    request: 5n,
    sequence: 1,
    reason: "length",
    cachedTokens: 48,
  });
  assert.ok(error?.kind === "error" && failed?.kind === "failed");
  assert.equal(error.request, 6n);
  const { code, field, rule, value, message } = error.error;
  assert.deepEqual([code, field, rule, value], ["deadline", "deadlineMs", "be >= 9", "5"]);
  assert.equal(
    message,
    "Cannot submit request: deadline_ms must be >= 9: current value is 5",
  );
  assert.deepEqual(ready, { kind: "ready" });
  assert.deepEqual([failed.error.code, failed.error.message], ["device_lost", "gone"]);
});

Deno.test("decodeEvent() refuses a kind that it does not know", () => {
  const event = c.Event.allocate();
  event.setUint32(4, 99, true);
  assert.throws(() => decodeEvent(event, 0, event), /kind 99/);
});
