import assert from "node:assert/strict";
import { ActiveRun, type RunOptions } from "../../engine/run.ts";
import { type GenerateChunk, type GenerateRequest, LogprobList } from "../../engine/types.ts";
import { UnreadOutput } from "../../engine/unread_output.ts";
import { prepare } from "../../engine/prepare.ts";
import { ByteTokenizer } from "./byte_tokenizer.ts";

const tokenizer = new ByteTokenizer([]);
const limits = { vocabSize: 300, maxModelLen: 1 << 20, maxNumSeqs: 4, eosTokenIds: [] };

/** A run whose events a test sends by hand. */
class HandRun {
  readonly run: ActiveRun;
  numCancels = 0;
  readonly #numOutputTokens: number[] = [];

  constructor(request: GenerateRequest, options: Partial<RunOptions> = {}) {
    const model = { name: "test", chatTemplate: undefined };
    const { output: settings } = prepare(request, { model, limits, encode: () => [1] }).encode();
    this.run = new ActiveRun({
      numSequences: settings.numSequences,
      signal: request.signal,
      observer: {},
      cancelNative: () => this.numCancels++,
      unread: new UnreadOutput(1 << 30),
      ...options,
    });
    this.run.begin(1n, { settings, promptTokens: [1], tokenizer, stopSequence: () => {} });
  }

  token(sequence: number, text: string, numTop = 0): void {
    const top = Array.from({ length: numTop }, (_, token) => ({ token, logprob: -1 }));
    const drawn = tokenizer.encode(text).map((token) => ({ token, logprob: -1, top }));
    const tokens = LogprobList.of(drawn);
    const numOutputTokens = (this.#numOutputTokens[sequence] ?? 0) + tokens.length;
    this.#numOutputTokens[sequence] = numOutputTokens;
    const event = { request: 1n, cachedTokens: 0 };
    this.run.take({ ...event, kind: "token", sequence, tokens, numOutputTokens });
  }

  finish(sequence: number): void {
    const event = { request: 1n, cachedTokens: 0 };
    this.run.take({ ...event, kind: "finish", sequence, reason: "length" });
  }
}

async function read(run: ActiveRun, onChunk?: (chunk: GenerateChunk) => unknown) {
  const chunks: GenerateChunk[] = [];
  for await (const chunk of run) {
    chunks.push(chunk);
    await onChunk?.(chunk);
  }
  return chunks;
}

Deno.test("a slow reader has one chunk for each sequence, however many came", async () => {
  const hand = new HandRun({ prompt: "x", n: 2 });
  for (let i = 0; i < 10_000; i++) for (const sequence of [0, 1]) hand.token(sequence, "a");
  hand.finish(0);
  hand.finish(1);
  const chunks = await read(hand.run);
  assert.deepEqual(chunks.map(({ index, text }) => [index, text.length]), [
    [0, 10_000],
    [1, 10_000],
  ]);
});

Deno.test("each reader has its own pace, and none changes what another gets", async () => {
  const hand = new HandRun({ prompt: "x", logprobs: 0 });
  const fast = read(hand.run);
  const slow = read(hand.run, () => new Promise((resolve) => setTimeout(resolve, 20)));
  for (const letter of "abcdef") {
    hand.token(0, letter);
    await new Promise((resolve) => setTimeout(resolve));
  }
  hand.finish(0);
  const late = await read(hand.run);
  const whole = (chunks: GenerateChunk[]) => [
    chunks.map(({ text }) => text).join(""),
    chunks.flatMap(({ tokens }) => tokens),
    chunks.flatMap(({ logprobs }) => [...logprobs ?? []]).length,
  ];
  const expected = ["abcdef", tokenizer.encode("abcdef"), 6];
  assert.deepEqual([await fast, await slow, late].map(whole), [expected, expected, expected]);
  assert.ok((await fast).length > (await slow).length);
  assert.deepEqual(late, (await hand.run.result()).sequences);
});

Deno.test("what nobody reads is bounded: the request is cancelled and says so", async () => {
  const hand = new HandRun({ prompt: "x", logprobs: 20 }, { unread: new UnreadOutput(400_000) });
  for (let i = 0; i < 500 && hand.numCancels === 0; i++) hand.token(0, "a", 20);
  assert.equal(hand.numCancels, 1);
  await assert.rejects(hand.run.result(), { code: "output_too_long", message: /100000 bytes/ });
  await assert.rejects(read(hand.run), { code: "output_too_long" });
});

Deno.test("a reader that keeps up reads past the bound; one that does not is told", async () => {
  const hand = new HandRun({ prompt: "x", logprobs: 20 }, { unread: new UnreadOutput(400_000) });
  let numRead = 0;
  const fast = read(hand.run, () => numRead++);
  const stuck = hand.run[Symbol.asyncIterator]();
  const first = stuck.next();
  const whole = hand.run.result();
  whole.catch(() => {});
  for (let i = 0; i < 200; i++) {
    hand.token(0, "a", 20);
    while (numRead <= i) await new Promise((resolve) => setTimeout(resolve));
  }
  hand.finish(0);
  assert.equal((await fast).flatMap(({ tokens }) => tokens).length, 200);
  assert.equal((await first).value?.text, "a");
  await assert.rejects(stuck.next(), { code: "output_too_long" });
  await assert.rejects(whole, { code: "output_too_long" });
  assert.equal(hand.numCancels, 0);
});

Deno.test("a reader that keeps up is never over the bound, however its sequences alternate", async () => {
  const hand = new HandRun({ prompt: "x", n: 2 }, { unread: new UnreadOutput(80_000) });
  const reader = hand.run[Symbol.asyncIterator]();
  const first = reader.next();
  hand.token(0, "a");
  assert.equal((await first).value?.text, "a");
  for (let i = 0; i < 500; i++) {
    // One sequence always waits, prolonged, when the other is read.
    for (let k = 0; k < 3; k++) hand.token(i % 2, "b");
    hand.token((i + 1) % 2, "c");
    const { value } = await reader.next();
    assert.ok(value!.text.length <= 8, `${value!.text.length} wait`);
  }
  await reader.return();
});

Deno.test("all runs together are bounded: who keeps most gives up, what nobody waits for first", async () => {
  const unread = new UnreadOutput(400_000);
  const [large, small, followed] = [1, 2, 3].map(() =>
    new HandRun({ prompt: "x", logprobs: 20 }, { unread })
  );
  const stuck = [large!, small!].map(({ run }) => run[Symbol.asyncIterator]());
  const first = stuck.map((reader) => reader.next());
  for (const one of [large!, small!]) one.token(0, "a", 20);
  await Promise.all(first); // and nothing more
  let numRead = 0;
  const fast = read(followed!.run, () => numRead++);
  const perToken = 256 + 2 + 8 + 21 * 20;
  for (let i = 0; i < 90_000 / perToken; i++) {
    large!.token(0, "a", 20);
    if (i % 2 === 0) small!.token(0, "b", 20);
  }
  for (let i = 0; i < 300; i++) {
    followed!.token(0, "c", 20);
    while (numRead <= i) await new Promise((resolve) => setTimeout(resolve));
  }
  assert.ok(unread.bytes <= 400_000);
  followed!.finish(0);
  assert.equal((await fast).flatMap(({ tokens }) => tokens).length, 300, "who reads has all");
  assert.equal(large!.numCancels + small!.numCancels, 0, "what it has read is enough");
  // Many that nobody reads: the largest goes, and no more than needed.
  const others = Array.from(
    { length: 4 },
    () => new HandRun({ prompt: "x", logprobs: 20 }, { unread }),
  );
  for (let i = 0; i < 84_000 / perToken; i++) others.forEach((one) => one.token(0, "d", 20));
  assert.ok(unread.bytes <= 400_000, `${unread.bytes}`);
  assert.equal(small!.numCancels, 0, "the smallest stays");
  const gone = [large!, ...others].filter(({ numCancels }) => numCancels > 0);
  assert.ok(gone.length > 0 && gone.length < 4, `${gone.length}`);
  for (const { run } of gone) await assert.rejects(run.result(), { code: "output_too_long" });
  for (const one of [large!, small!, ...others]) one.finish(0);
  await Promise.all(stuck.map((reader) => reader.return()));
  assert.equal(unread.bytes, 0, "what has ended and nobody reads is not counted");
});
