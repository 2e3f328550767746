import assert from "node:assert/strict";
import { Encoder } from "../../engine/encoder.ts";
import { loadModel } from "../../model/load.ts";
import type { Tokenizer } from "../../model/spec.ts";
import { tiny } from "./requests.ts";

const words = "the quick brown fox jumps over the lazy dog; 12345, été, 日本語, 😀\n";
const textOf = (length: number) => words.repeat(Math.ceil(length / words.length)).slice(0, length);

async function withEncoder(
  test: (encoder: Encoder, tokenizer: Tokenizer) => Promise<void> | void,
): Promise<void> {
  const { tokenizer } = await loadModel(tiny);
  const encoder = new Encoder(tokenizer);
  try {
    await test(encoder, tokenizer);
  } finally {
    await encoder.close();
  }
}

Deno.test("Encoder encodes short texts at once", () =>
  withEncoder((encoder, tokenizer) => {
    assert.deepEqual(encoder.encode(textOf(100), true), tokenizer.encode(textOf(100)));
  }));

Deno.test("Encoder gives the same ids beside the event loop", () =>
  withEncoder(async (encoder, tokenizer) => {
    for (const length of [20_000, 600, 5000]) {
      for (const addSpecialTokens of [true, false]) {
        const ids = encoder.encode(textOf(length), addSpecialTokens);
        assert.ok(ids instanceof Promise);
        assert.deepEqual(await ids, tokenizer.encode(textOf(length), { addSpecialTokens }));
      }
    }
  }));

Deno.test("Encoder leaves the event loop free", () =>
  withEncoder(async (encoder) => {
    await encoder.encode(textOf(5000), true); // the worker is up
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    await encoder.encode(textOf(500_000), true);
    clearInterval(timer);
    assert.ok(turns >= 10, `${turns} turns of the event loop`);
  }));

Deno.test("Encoder lets short texts overtake long ones", () =>
  withEncoder(async (encoder) => {
    await encoder.encode(textOf(5000), true); // the worker listens
    const order: number[] = [];
    const lengths = [100_000, 100_001, 100_002, 1000];
    await Promise.all(lengths.map(async (length) => {
      await encoder.encode(textOf(length), true);
      order.push(length);
    }));
    assert.deepEqual(order, [100_000, 1000, 100_001, 100_002]); // the first had begun
  }));

Deno.test("Encoder encodes with a tokenizer of the caller's own at once", async () => {
  const { tokenizer } = await loadModel(tiny);
  const reversed: Tokenizer = {
    ...tokenizer,
    encode: (text) => tokenizer.encode([...text].reverse().join("")),
  };
  const encoder = new Encoder(reversed);
  assert.deepEqual(encoder.encode(textOf(5000), true), reversed.encode(textOf(5000)));
  await encoder.close();
});

Deno.test("Encoder refuses the texts that wait when it is closed", () =>
  withEncoder(async (encoder) => {
    const waiting = [30_000, 40_000].map((length) => encoder.encode(textOf(length), true));
    const outcomes = Promise.allSettled(waiting);
    await encoder.close();
    for (const outcome of await outcomes) {
      assert.equal(outcome.status, "rejected");
      assert.equal(outcome.reason.code, "closing");
    }
  }));
