import assert from "node:assert/strict";
import { fingerprintOf } from "../../engine/fingerprint.ts";
import { prepare, type PrepareContext } from "../../engine/prepare.ts";
import type { Model } from "../../model/spec.ts";

const limits = { vocabSize: 100, maxModelLen: 32, maxNumSeqs: 4, eosTokenIds: [2] };
const model = { name: "test", chatTemplate: undefined };
const atOnce: PrepareContext<number[]> = {
  model,
  limits,
  encode: (text) => [...text].map((_, i) => i),
};

Deno.test("prepare() completes a request: tokens, defaults, and a seed where none is given", () => {
  const request = { prompt: "four", maxTokens: 3 };
  const one = prepare(request, atOnce).encode(), two = prepare(request, atOnce).encode();
  assert.deepEqual(one.promptTokens, [0, 1, 2, 3]);
  assert.deepEqual([one.native.maxTokens, one.native.temperature], [3, 1]);
  assert.ok(one.native.seed >= 0n && one.native.seed < 2n ** 64n);
  assert.notEqual(one.native.seed, two.native.seed);
  assert.equal(prepare({ ...request, seed: 7 }, atOnce).encode().native.seed, 7n);
});

Deno.test("prepare() refuses a field at once, a prompt when it is encoded", () => {
  const code = "invalid_argument";
  assert.throws(() => prepare({ prompt: "x", topP: 2 }, atOnce), { code, field: "topP" });
  const unknown = prepare({ tokens: [100] }, atOnce);
  assert.throws(() => unknown.encode(), { code, field: "tokens" });
  const long = prepare({ prompt: "x".repeat(40) }, atOnce);
  assert.throws(() => long.encode(), { code: "context_length_exceeded", field: "prompt" });
});

Deno.test("prepare() counts a deadline from its call, not from when the prompt is encoded", async () => {
  const encoded = Promise.withResolvers<number[]>();
  const later = { model, limits, encode: () => encoded.promise };
  const waiting = [40, 60_000, undefined].map((deadlineMs) =>
    prepare({ prompt: "x", ...(deadlineMs && { deadlineMs }) }, later).encode()
  );
  const passed = 60;
  setTimeout(() => encoded.resolve([1]), passed);
  const [short, long, none] = (await Promise.all(waiting)).map(({ native }) => native.deadlineMs);
  assert.equal(short, 1);
  assert.ok(long! > 50_000 && long! <= 60_000 - passed + 5, `${long} ms are left`);
  assert.equal(none, 0);
});

Deno.test("prepare() hands the prompt's name, its control tokens and the signal to the encoder", () => {
  const { signal } = new AbortController();
  const seen: unknown[] = [];
  const context = {
    ...atOnce,
    encode: (text: string, options: Parameters<typeof atOnce.encode>[1]) => {
      seen.push([text, options.addSpecialTokens, options.field, options.signal === signal]);
      return [1];
    },
  };
  prepare({ prompt: "a" }, context).encode(signal);
  prepare({ prompt: "b", addSpecialTokens: false }, context).encode();
  const rendered = { text: "rendered", spans: [] };
  const chatTemplate = { render: () => rendered, reasoning: undefined, takesParts: false };
  const messages = [{ role: "user", content: "c" }];
  prepare({ messages }, { ...context, model: { ...model, chatTemplate } }).encode(signal);
  assert.deepEqual(seen, [
    ["a", true, "prompt", true],
    ["b", false, "prompt", false],
    ["rendered", false, "messages", true],
  ]);
});

Deno.test("fingerprintOf() tells apart what decides answers, and only by name", () => {
  const stats = {
    device: "cpu",
    deviceIndex: 0,
    isa: "avx2",
    activationDtype: "fp32",
    kvCacheDtype: "fp32",
    maxModelLen: 128,
  };
  const all = { model: { spec: { fingerprint: 1n } }, build: "b", stats, devices: [], options: {} };
  const of = (changes: object) =>
    fingerprintOf({ ...all, ...changes } as unknown as Parameters<typeof fingerprintOf>[0]);
  const others = [
    { model: { spec: { fingerprint: 2n } } as Partial<Model> },
    { build: "c" },
    { stats: { ...stats, isa: "generic" } },
    { stats: { ...stats, activationDtype: "int8" } },
    { stats: { ...stats, kvCacheDtype: "fp16" } },
    { stats: { ...stats, maxModelLen: 64 } },
    { devices: [{ kind: "cpu", index: 0, name: "another" }] },
    { options: { blockSize: 32 } },
  ].map(of);
  assert.match(of({}), /^fp_[0-9a-f]{16}$/);
  assert.equal(new Set([of({}), ...others]).size, others.length + 1);
  assert.equal(of({ options: { library: "/elsewhere" } }), of({}));
  assert.equal(
    of({ options: { blockSize: 16, maxNumSeqs: 2 } }),
    of({ options: { maxNumSeqs: 2, blockSize: 16 } }),
  );
});
