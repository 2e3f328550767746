import assert from "node:assert/strict";
import { defaultLibraryPath } from "../../ffi/library.ts";
import { Engine } from "../../engine/engine.ts";
import { EngineError } from "../../engine/types.ts";
import { compileC } from "../ffi/compile_c.ts";
import { onTestDevice } from "../test_device.ts";
import { promptOf, tiny } from "./requests.ts";

/**
 * The library with a device that is lost at the first token: that request gets its own ERROR, the
 * engine is FAILED from then on, and the poll after tells why.
 */
const LOSING = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>
#include <unistd.h>
#include "hearth.h"

static int32_t (*poll)(hearth_engine*, hearth_event*, uint32_t, uint8_t*, uint32_t, uint32_t);
static hearth_status (*stats)(hearth_engine*, hearth_engine_stats*);
static volatile int is_lost, is_told;

static int32_t tell(hearth_event* event, uint32_t kind, uint64_t request, uint8_t* payload) {
  static const char text[] = "Cannot run a step: the device is gone";
  memset(event, 0, sizeof(*event));
  event->size = sizeof(*event);
  event->kind = kind;
  event->request = request;
  event->finish_reason = -HEARTH_DEVICE_LOST;
  event->payload_bytes = sizeof(text) - 1;
  memcpy(payload, text, sizeof(text) - 1);
  return 1;
}

int32_t hearth_poll(hearth_engine* engine, hearth_event* events, uint32_t capacity,
                    uint8_t* payload, uint32_t payload_capacity, uint32_t timeout_ms) {
  if (is_lost && !is_told) {
    usleep(20000);
    is_told = 1;
    return tell(events, HEARTH_EVENT_FAILED, 0, payload);
  }
  *(void**)&poll = dlsym(RTLD_NEXT, "hearth_poll");
  const int32_t count = poll(engine, events, capacity, payload, payload_capacity, timeout_ms);
  if (is_lost) return count == HEARTH_CLOSED ? count : 0;
  for (int32_t i = 0; i < count; ++i) {
    if (events[i].kind != HEARTH_EVENT_TOKEN) continue;
    is_lost = 1;
    return tell(events, HEARTH_EVENT_ERROR, events[i].request, payload);
  }
  return count;
}

hearth_status hearth_stats(hearth_engine* engine, hearth_engine_stats* out) {
  *(void**)&stats = dlsym(RTLD_NEXT, "hearth_stats");
  const hearth_status status = stats(engine, out);
  if (is_lost && out->state != HEARTH_STATE_CLOSED) out->state = HEARTH_STATE_FAILED;
  return status;
}
`;

Deno.test("Engine whose device is lost fails every request, and says why for good", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const library = `${folder}/losing.so`;
    const real = await Deno.realPath(defaultLibraryPath());
    await compileC(LOSING, library, ["-shared", "-fPIC", "-Wl,--no-as-needed", real]);
    await using engine = await Engine.open(tiny, { ...onTestDevice, library });
    assert.equal(engine.failure, undefined);

    // One of them has an ERROR of its own, the other ends with the engine.
    const requests = [1, 2].map((seed) => {
      return engine.generate({ tokens: promptOf(8), maxTokens: 100, temperature: 1, seed });
    });
    const isLost = (error: unknown) => {
      assert.ok(error instanceof EngineError);
      assert.deepEqual([error.code, error.message], [
        "device_lost",
        "Cannot run a step: the device is gone",
      ]);
      return true;
    };
    await Promise.all(requests.map((request) => {
      return assert.rejects(async () => {
        for await (const _ of request);
      }, isLost);
    }));
    while (engine.failure === undefined) await new Promise((resolve) => setTimeout(resolve, 5));
    isLost(engine.failure);
    assert.equal(engine.stats().state, "failed");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
