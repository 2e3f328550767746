/**
 * Our side of the calls, over a library whose answers a test has chosen.
 *
 * @module
 */
import assert from "node:assert/strict";
import { FlatBuffer } from "../../ffi/flat_buffer.ts";
import {
  buildInfo,
  defaultLibraryPath,
  listDevices,
  nameOf,
  openLibrary,
  readText,
} from "../../ffi/library.ts";
import { NativeEngine, type NativeRequest } from "../../ffi/native_engine.ts";
import { Struct } from "../../ffi/struct.ts";
import { statusError } from "../../ffi/status.ts";
import * as c from "../../ffi/structs.ts";
import { compileC } from "./compile_c.ts";

/** Numbers of the library's enumerations; each other field of the statistics has its place's number. */
const NAMED: Readonly<Record<string, number>> = {
  state: c.State.ready,
  isa: c.Isa.avx512,
  activation_dtype: c.DType.int8,
  kv_cache_dtype: c.DType.bf16,
  device_kind: c.DeviceKind.cuda,
};
const numbers = c.EngineStats.fields.slice(1).map(({ name }, i) =>
  [name, NAMED[name] ?? (i + 1) * 1_000_000] as const
);

/**
 * It writes what it is asked into `seen`, which `hearth_engine_describe` tells. Request 7 is not known,
 * request 8 makes it fail.
 */
const SOURCE = `
#include <stdio.h>
#include <string.h>
#include "hearth.h"

static char seen[4096];

uint32_t hearth_abi_version(void) { return HEARTH_ABI_VERSION; }

static int32_t told(const char* said, char* text, uint32_t capacity) {
  if (text != NULL) snprintf(text, capacity, "%s", said);
  return (int32_t)strlen(said);
}

int32_t hearth_build_info(char* text, uint32_t capacity) { return told("built \\xc3\\xa9", text, capacity); }

int32_t hearth_devices(hearth_device* devices, uint32_t device_size, uint32_t capacity) {
  if (capacity < 2 || device_size != sizeof(hearth_device)) return 2;
  devices[0].kind = HEARTH_DEVICE_CPU;
  devices[0].best_isa = HEARTH_ISA_AVX2;
  devices[0].num_cores = 12;
  devices[0].memory_bytes = 1ull << 40;
  devices[0].free_bytes = 1ull << 39;
  strcpy(devices[0].name, "a CPU");
  devices[1].kind = HEARTH_DEVICE_CUDA;
  devices[1].index = 3;
  devices[1].best_isa = 90;
  devices[1].num_cores = 132;
  devices[1].memory_bytes = 5;
  devices[1].free_bytes = 4;
  strcpy(devices[1].name, "a GPU");
  return 2;
}

hearth_status hearth_engine_open(const hearth_engine_options* options, const hearth_model_spec* spec,
                                 const hearth_tensor* tensors, const hearth_file* files,
                                 const uint8_t* flat, hearth_engine** engine, hearth_error* error) {
  snprintf(seen, sizeof(seen), "open kind %u index %u manual %u flat %u tensors %u files %u: %d %d %d %d",
           options->device_kind, options->device_index, options->manual, options->flat_bytes,
           options->num_tensors, options->num_files, ((const uint8_t*)spec)[0],
           ((const uint8_t*)tensors)[0], ((const uint8_t*)files)[0], flat[0]);
  *engine = (hearth_engine*)(uintptr_t)0x1234;
  return HEARTH_OK;
}

void hearth_engine_stop(hearth_engine* engine, uint32_t drain) {
  snprintf(seen, sizeof(seen), "stop %u", drain);
}

static int num_closed;
void hearth_engine_close(hearth_engine* engine) { ++num_closed; }

int32_t hearth_engine_describe(hearth_engine* engine, char* text, uint32_t capacity) {
  return engine == (hearth_engine*)(uintptr_t)0x1234 ? told(seen, text, capacity) : 0;
}

hearth_status hearth_submit(hearth_engine* engine, const uint32_t* tokens, uint32_t num_tokens,
                            const hearth_request_options* options, const uint8_t* flat,
                            uint64_t* request, hearth_error* error) {
  char* at = seen;
  const uint32_t* stops = (const uint32_t*)(flat + options->stop_ids_offset);
  const hearth_logit_bias* biases = (const hearth_logit_bias*)(flat + options->logit_bias_offset);
  const uint32_t* words = (const uint32_t*)(flat + options->bad_words_offset);
  at += sprintf(at, "tokens");
  for (uint32_t i = 0; i < num_tokens; ++i) at += sprintf(at, " %u", tokens[i]);
  at += sprintf(at, "; seed %llu %u; caller %llu %u; salt %llu %llu; stops", (unsigned long long)options->seed,
                options->has_seed, (unsigned long long)options->caller, options->caller_weight,
                (unsigned long long)options->salt[0],
                (unsigned long long)options->salt[1]);
  for (uint32_t i = 0; i < options->stop_ids_count; ++i) at += sprintf(at, " %u", stops[i]);
  at += sprintf(at, "; biases");
  for (uint32_t i = 0; i < options->logit_bias_count; ++i) {
    at += sprintf(at, " %u:%g", biases[i].token, biases[i].bias);
  }
  at += sprintf(at, "; words");
  for (uint32_t i = 0; i < options->bad_words_count; ++i) at += sprintf(at, " %u", words[i]);
  at += sprintf(at, "; flat %u; max_tokens %u temperature %g", options->flat_bytes,
                options->max_tokens, options->temperature);
  if (num_tokens == 9) {
    error->status = HEARTH_QUEUE_FULL;
    strcpy(error->message, "full");
    return HEARTH_QUEUE_FULL;
  }
  *request = 99;
  return HEARTH_OK;
}

hearth_status hearth_cancel(hearth_engine* engine, uint64_t request, int32_t sequence,
                            uint32_t reason, uint32_t keep_tokens) {
  snprintf(seen, sizeof(seen), "cancel %llu sequence %d reason %u keep %u",
           (unsigned long long)request, sequence, reason, keep_tokens);
  return request == 7 ? HEARTH_NOT_FOUND : request == 8 ? HEARTH_INTERNAL : HEARTH_OK;
}

static int32_t next_poll[] = {2, 0, HEARTH_DEVICE_LOST, HEARTH_CLOSED};
static int num_polls;
int32_t hearth_poll(hearth_engine* engine, hearth_event* events, uint32_t event_size,
                    uint32_t capacity, uint8_t* payload, uint32_t payload_capacity,
                    uint32_t timeout_ms) {
  snprintf(seen, sizeof(seen), "poll size %u capacity %u payload %u timeout %u", event_size, capacity,
           payload_capacity, timeout_ms);
  events[0].kind = HEARTH_EVENT_READY;
  events[1].kind = HEARTH_EVENT_FINISH;
  events[1].request = 5;
  events[1].finish_reason = HEARTH_FINISH_LENGTH;
  return next_poll[num_polls++];
}

hearth_status hearth_step(hearth_engine* engine, uint32_t* num_tokens, hearth_error* error) {
  *num_tokens = 17;
  return HEARTH_OK;
}

hearth_status hearth_check_integrity(hearth_engine* engine, hearth_error* error) {
  error->status = HEARTH_INTERNAL;
  snprintf(error->message, sizeof(error->message), "closed %d times", num_closed);
  return HEARTH_INTERNAL;
}

hearth_status hearth_stats(hearth_engine* engine, hearth_engine_stats* stats) {
  if (stats->size != sizeof(*stats)) return HEARTH_INVALID_ARGUMENT;
${numbers.map(([name, number]) => `  stats->${name} = ${number};`).join("\n")}
  return HEARTH_OK;
}
`;

/** What an engine's tables are does not matter here: their first bytes tell them apart. */
function openEngine(library: ReturnType<typeof openLibrary>, options = {}): NativeEngine {
  const flat = new FlatBuffer();
  flat.append(Uint8Array.of(4, 0, 0));
  const tables = {
    spec: Uint8Array.of(1),
    tensors: Uint8Array.of(2),
    files: Uint8Array.of(3),
    numTensors: 31,
    numFiles: 32,
    flat,
  };
  return NativeEngine.open(library, tables, options);
}

const request = {
  maxTokens: 6,
  temperature: 0.5,
  seed: 2n ** 63n,
  salt: [10n, 11n],
  caller: 2n ** 63n + 12n,
  callerWeight: 13,
  stopIds: [20, 21, 22],
  logitBias: new Map([[30, -1.5], [31, 2]]),
  badWords: [[40], [41, 42]],
} as unknown as NativeRequest;

const STATS = {
  state: "ready",
  bytesLoaded: 2e6,
  bytesTotal: 3e6,
  numRequestsRunning: 4e6,
  numRequestsWaiting: 5e6,
  numSequencesRunning: 38e6,
  numQueuedTokens: 40e6,
  kvBlocks: { total: 6e6, free: 7e6, cached: 8e6, held: 9e6 },
  numPromptTokens: 10e6,
  numPromptTokensCached: 11e6,
  numGenerationTokens: 12e6,
  numRequestsSubmitted: 13e6,
  numFinished: { stop: 14e6, length: 15e6, cancelled: 16e6, deadline: 17e6, error: 18e6 },
  numPreemptions: 19e6,
  numSteps: 20e6,
  numStepTokens: 21e6,
  stepSeconds: 22,
  stepBytes: 23e6,
  stepFlops: 24e6,
  weightsBytes: 25e6,
  kvBytes: 26e6,
  workspaceBytes: 27e6,
  expectedWaitMs: 28e6,
  loadSeconds: 29,
  maxModelLen: 30e6,
  maxNumSeqs: 31e6,
  maxNumBatchedTokens: 32e6,
  blockSize: 33e6,
  numThreads: 34e6,
  isa: "avx512",
  activationDtype: "int8",
  kvCacheDtype: "bf16",
  device: "cuda",
  deviceIndex: 43e6,
  numAllocations: 44e6,
  numLaunches: 41e6,
  deviceSeconds: 42,
};

Deno.test("NativeEngine hands over and reads each value of each call", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = `${folder}/told.so`;
    await compileC(SOURCE, path, ["-shared", "-fPIC"]);
    const library = openLibrary(path);
    assert.equal(openLibrary(path), library, "it is opened once");
    assert.equal(buildInfo(path), "built é");
    assert.deepEqual(listDevices(path), [
      {
        kind: "cpu",
        index: 0,
        name: "a CPU",
        capability: "avx2",
        numCores: 12,
        memoryBytes: 2 ** 40,
        freeBytes: 2 ** 39,
      },
      {
        kind: "cuda",
        index: 3,
        name: "a GPU",
        capability: "9.0",
        numCores: 132,
        memoryBytes: 5,
        freeBytes: 4,
      },
    ]);

    const opened = (options: object) => openEngine(library, options).describe();
    const tables = "flat 3 tensors 31 files 32: 1 2 3 4";
    assert.equal(opened({}), `open kind 0 index 0 manual 0 ${tables}`);
    assert.equal(
      opened({ device: "cuda:7", manual: true }),
      `open kind 2 index 7 manual 1 ${tables}`,
    );
    assert.equal(opened({ device: "cpu" }), `open kind 1 index 0 manual 0 ${tables}`);

    const engine = openEngine(library);
    assert.deepEqual(engine.stats(), STATS);
    assert.equal(engine.submit(Uint32Array.of(1, 2, 3), request), 99n);
    assert.equal(
      engine.describe(),
      "tokens 1 2 3; seed 9223372036854775808 1; caller 9223372036854775820 13; " +
        "salt 10 11; stops 20 21 22; " +
        "biases 30:-1.5 31:2; words 1 40 2 41 42; flat 52; max_tokens 6 temperature 0.5",
    );
    assert.throws(() => engine.submit(new Uint32Array(9), request), {
      code: "queue_full",
      message: "full",
      retryAfterMs: 28e6,
    });
    engine.cancel(6n);
    assert.equal(engine.describe(), "cancel 6 sequence -1 reason 0 keep 4294967295");
    engine.stopSequence(6n, 2, 3);
    assert.equal(engine.describe(), "cancel 6 sequence 2 reason 1 keep 3");
    engine.cancel(7n); // it has ended
    assert.throws(() => engine.cancel(8n), {
      code: "internal",
      message: /failed with status -\d+$/,
    });
    assert.equal(engine.step(), 17);
    for (const drain of [true, false]) {
      engine.stop(drain);
      assert.equal(engine.describe(), `stop ${Number(drain)}`);
    }

    const pending = engine.poll(123);
    const second = engine.poll(1);
    assert.throws(() => engine.close(), /Cannot close the engine: a poll is pending/);
    await assert.rejects(second, /Cannot poll: a poll is pending already/);
    assert.deepEqual(await pending, [
      { kind: "ready" },
      { kind: "finish", request: 5n, sequence: 0, reason: "length", cachedTokens: 0 },
    ]);
    const size = c.Event.byteLength;
    const buffers = `poll size ${size} capacity 4096 payload 262144`;
    assert.equal(engine.describe(), `${buffers} timeout 123`);
    assert.deepEqual(engine.pollNow(), []);
    assert.equal(engine.describe(), `${buffers} timeout 0`);
    assert.throws(() => engine.pollNow(), { code: "device_lost" });
    assert.equal(engine.pollNow(), undefined);

    assert.throws(() => engine.checkIntegrity(), { message: "closed 0 times" });
    engine.close();
    engine.close();
    engine[Symbol.dispose]();
    const closed = { code: "closing", message: "The engine is closed" };
    const calls = [
      () => engine.stats(),
      () => engine.describe(),
      () => engine.step(),
      () => engine.stop(true),
      () => engine.cancel(1n),
      () => engine.submit(new Uint32Array(1), request),
      () => engine.pollNow(),
    ];
    for (const call of calls) assert.throws(call, closed, `${call}`);
    using another = openEngine(library);
    assert.throws(() => another.checkIntegrity(), { message: "closed 1 times" });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("defaultLibraryPath() is what HEARTH_LIBRARY names, else beside the package", () => {
  const before = Deno.env.get("HEARTH_LIBRARY");
  try {
    Deno.env.set("HEARTH_LIBRARY", "/named.so");
    assert.equal(defaultLibraryPath(), "/named.so");
    Deno.env.delete("HEARTH_LIBRARY");
    const beside = new URL("../../build/libhearth.so", import.meta.url).pathname;
    assert.equal(defaultLibraryPath(), beside);
  } finally {
    if (before !== undefined) Deno.env.set("HEARTH_LIBRARY", before);
  }
});

Deno.test("nameOf() names a value, readText() a text of any length", () => {
  assert.equal(nameOf({ a: 1, b: 2 }, 2), "b");
  assert.throws(() => nameOf({ a: 1 }, 3), {
    code: "internal",
    message: "Cannot name 3: it is none of hearth.h's values",
  });
  const capacities: number[] = [];
  const text = readText((bytes, capacity) => {
    capacities.push(capacity);
    bytes?.set([0x61, 0xc3, 0xa9]);
    return 3;
  });
  assert.deepEqual([text, capacities], ["aé", [0, 4]]);
  const { code, message } = statusError(c.Status.io_error);
  assert.deepEqual([code, message], [
    "io_error",
    `The library failed with status ${c.Status.io_error}`,
  ]);
});

Deno.test("FlatBuffer begins each part at a multiple of eight", () => {
  const flat = new FlatBuffer();
  const offsets = [
    flat.append(Uint8Array.of(1, 2, 3)),
    flat.append(new Uint8Array(0)),
    flat.append(Uint16Array.of(0x0504, 0x0706, 0x0908, 0x0b0a)),
    flat.append(new Uint8Array([0, 0, 12, 13]).subarray(2)),
  ];
  assert.deepEqual(offsets, [0, 8, 8, 16]);
  assert.deepEqual(flat.appendText("é"), { offset: 24, bytes: 2 });
  assert.equal(flat.byteLength, 26);
  const bytes = [1, 2, 3, 0, 0, 0, 0, 0, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 0, 0, 0, 0, 0, 0];
  assert.deepEqual([...flat.toBytes()], [...bytes, 0xc3, 0xa9]);
});

Deno.test("Struct writes every type of field, and reads what it wrote", () => {
  const struct = new Struct("test", {
    a: "u32",
    text: "char[6]",
    b: "u64",
    many: "i32[3]",
    floats: "f32[2]",
    large: "u64[2]",
  });
  const value = {
    a: 2 ** 32 - 1,
    text: "abcde",
    b: 2n ** 64n - 1n,
    many: [-(2 ** 31), 0, 2 ** 31 - 1],
    floats: [-0.5, 1.5],
    large: [1n, 2n ** 63n],
  };
  assert.deepEqual(struct.decode(new DataView(struct.encode(value).buffer)), value);
  const cut = struct.decode(new DataView(struct.encode({ ...value, text: "abcdefgh" }).buffer));
  assert.equal(cut.text, "abcde", "the last is NUL");
  assert.deepEqual(struct.fields.map(({ name, offset }) => [name, offset]), [
    ["size", 0],
    ["a", 4],
    ["text", 8],
    ["b", 16],
    ["many", 24],
    ["floats", 36],
    ["large", 48],
  ]);
  assert.equal(struct.byteLength, 64);
  assert.deepEqual(struct.offsets.many, 24);
  const three = struct.allocate(3);
  assert.deepEqual([0, 64, 128].map((at) => three.getUint32(at, true)), [64, 64, 64]);
  const padded = new Struct("padded", { a: "u64", b: "u32" }, { sized: false });
  assert.equal(padded.byteLength, 16, "to its widest scalar");
  const pair = new Struct("pair", { a: "u32", b: "u32" }, { sized: false });
  assert.deepEqual([...new Uint32Array(pair.encode({ a: 1, b: 2 }).buffer)], [1, 2]);
  assert.deepEqual(new Uint8Array(pair.allocate(2).buffer), new Uint8Array(16));
});
