import assert from "node:assert/strict";
import { Worker } from "node:worker_threads";
import { Encoder } from "../../engine/encoder.ts";
import { loadModel } from "../../model/load.ts";
import type { Tokenizer } from "../../model/spec.ts";
import { tiny } from "./requests.ts";

const words = "the quick brown fox jumps over the lazy dog; 12345, été, 日本語, 😀\n";
const textOf = (length: number) => words.repeat(Math.ceil(length / words.length)).slice(0, length);

const limits = { maxModelLen: 2_000_000, maxQueuedRequests: 8, trustMessageTokens: false };
const plain = { addSpecialTokens: true };

async function withEncoder(
  test: (encoder: Encoder, tokenizer: Tokenizer) => Promise<void> | void,
): Promise<void> {
  const model = await loadModel(tiny);
  const encoder = new Encoder(model, limits);
  try {
    await test(encoder, model.tokenizer);
  } finally {
    await encoder.close();
  }
}

Deno.test("Encoder encodes short texts at once", () =>
  withEncoder((encoder, tokenizer) => {
    assert.deepEqual(encoder.encode(textOf(100), plain), tokenizer.encode(textOf(100)));
  }));

Deno.test("Encoder encodes up to 4 K at once until its worker listens, then up to 512", () =>
  withEncoder(async (encoder, tokenizer) => {
    for (const length of [513, 4096]) {
      assert.deepEqual(encoder.encode(textOf(length), plain), tokenizer.encode(textOf(length)));
    }
    const long = encoder.encode(textOf(4097), plain);
    assert.ok(long instanceof Promise);
    assert.deepEqual(await long, tokenizer.encode(textOf(4097)));
    assert.ok(Array.isArray(encoder.encode(textOf(512), plain)));
    const later = encoder.encode(textOf(513), plain);
    assert.ok(later instanceof Promise);
    assert.deepEqual(await later, tokenizer.encode(textOf(513)));
  }));

Deno.test("Encoder gives the same ids beside the event loop", () =>
  withEncoder(async (encoder, tokenizer) => {
    for (const length of [20_000, 600, 5000]) {
      for (const addSpecialTokens of [true, false]) {
        const ids = encoder.encode(textOf(length), { addSpecialTokens });
        assert.ok(ids instanceof Promise);
        assert.deepEqual(await ids, tokenizer.encode(textOf(length), { addSpecialTokens }));
      }
    }
  }));

Deno.test("Encoder leaves the event loop free", () =>
  withEncoder(async (encoder) => {
    await encoder.encode(textOf(5000), plain); // the worker is up
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    await encoder.encode(textOf(500_000), plain);
    clearInterval(timer);
    assert.ok(turns >= 10, `${turns} turns of the event loop`);
  }));

Deno.test("Encoder lets short texts overtake long ones, also one that has begun", () =>
  withEncoder(async (encoder) => {
    await encoder.encode(textOf(5000), plain); // the worker listens
    const order: number[] = [];
    const lengths = [100_000, 100_001, 100_002, 1000];
    await Promise.all(lengths.map(async (length) => {
      await encoder.encode(textOf(length), plain);
      order.push(length);
    }));
    assert.deepEqual(order, [1000, 100_000, 100_001, 100_002]);
  }));

Deno.test("Encoder takes texts of one length in the order of their arrival", () =>
  withEncoder(async (encoder) => {
    await encoder.encode(textOf(5000), plain);
    const order: number[] = [];
    await Promise.all([0, 1, 2, 3].map(async (number) => {
      await encoder.encode(textOf(20_000), plain);
      order.push(number);
    }));
    assert.deepEqual(order, [0, 1, 2, 3]);
  }));

Deno.test("Encoder refuses a text that cannot fit without encoding it", async () => {
  const model = await loadModel(tiny);
  const encodeSteps = () => assert.fail("it was encoded");
  const tokenizer = Object.assign(Object.create(model.tokenizer) as Tokenizer, {
    vocabSize: 3,
    tokenText: (token: number) => "xé世"[token],
    tokenBytes: (token: number) => new Uint8Array(token + 1),
    encodeSteps,
  });
  const encoder = new Encoder({ ...model, tokenizer }, { ...limits, maxModelLen: 1000 });
  assert.throws(() => encoder.encode("x".repeat(3001), plain), {
    name: "EngineError",
    code: "context_length_exceeded",
    message: /length is 1000 tokens: current value is 3001 characters, at least 1001 tokens/,
  });
  await assert.rejects(async () => await encoder.encode("x".repeat(3000), plain), /it was encoded/);
  await encoder.close();
});

Deno.test("Encoder drops a text whose caller leaves, and loses nothing of others", () =>
  withEncoder(async (encoder, tokenizer) => {
    await encoder.encode(textOf(5000), plain);
    const gone = new AbortController();
    const leaving = [8_000_000, 7_000_000].map((length) =>
      encoder.encode(textOf(length), { ...plain, signal: gone.signal, caller: "one" })
    );
    const outcomes = Promise.allSettled(leaving);
    const [short, long] = [2000, 300_000].map(async (length) => {
      assert.deepEqual(
        await encoder.encode(textOf(length), { ...plain, caller: "two" }),
        tokenizer.encode(textOf(length)),
      );
    });
    await short; // by then the long ones of both have begun
    gone.abort(new Error("left"));
    for (const outcome of await outcomes) {
      assert.equal(outcome.status, "rejected");
      assert.equal(outcome.reason.message, "left");
    }
    await long;
    await encoder.encode(textOf(600), { ...plain, signal: new AbortController().signal });
    assert.throws(() => encoder.encode(textOf(600), { ...plain, signal: gone.signal }), /left/);
  }));

Deno.test("Encoder counts the texts that wait", () =>
  withEncoder(async (encoder) => {
    await encoder.encode(textOf(5000), plain);
    const texts = Array.from({ length: 8 }, () => encoder.encode(textOf(1000), plain));
    const full = { code: "queue_full", retryAfterMs: 2 };
    assert.throws(() => encoder.encode(textOf(1000), plain), full);
    await Promise.all(texts);
    await encoder.encode(textOf(1000), plain);
  }));

for (
  const [change, alter] of [
    ["are another model's", (folder: string) => Deno.utime(`${folder}/model.safetensors`, 1, 1)],
    ["are gone", (folder: string) => Deno.remove(folder, { recursive: true })],
  ] as const
) {
  Deno.test(`Encoder encodes with the tokenizer it has when the files ${change}`, async () => {
    const folder = await Deno.makeTempDir();
    for (const { name } of Deno.readDirSync(tiny)) {
      await Deno.copyFile(`${tiny}/${name}`, `${folder}/${name}`);
    }
    const model = await loadModel(folder);
    const encoder = new Encoder(model, limits);
    await alter(folder);
    const said: string[] = [];
    const { error } = console;
    console.error = (line: string) => said.push(line);
    let numEnded = 0;
    const { terminate } = Worker.prototype;
    Worker.prototype.terminate = function () {
      numEnded++;
      return terminate.call(this);
    };
    try {
      for (const length of [10_000, 20_000]) {
        const tokens = await encoder.encode(textOf(length), plain);
        assert.deepEqual(tokens, model.tokenizer.encode(textOf(length)));
      }
      assert.equal(said.length, 1, said.join("\n"));
      assert.match(said[0]!, /without a worker/);
      assert.equal(numEnded, 1, "else it would keep the program alive");
    } finally {
      Worker.prototype.terminate = terminate;
      console.error = error;
      await encoder.close();
      await Deno.remove(folder, { recursive: true }).catch(() => {});
    }
  });
}

Deno.test("Encoder encodes with a tokenizer of the caller's own", async () => {
  const model = await loadModel(tiny);
  const { tokenizer } = model;
  const reversed: Tokenizer = {
    ...tokenizer,
    encode: (text) => tokenizer.encode([...text].reverse().join("")),
  };
  const encoder = new Encoder({ ...model, tokenizer: reversed }, limits);
  assert.deepEqual(await encoder.encode(textOf(5000), plain), reversed.encode(textOf(5000)));
  await encoder.close();
});

Deno.test("Encoder refuses the texts that wait when it is closed", () =>
  withEncoder(async (encoder) => {
    const waiting = [30_000, 40_000].map((length) => encoder.encode(textOf(length), plain));
    const outcomes = Promise.allSettled(waiting);
    await encoder.close();
    for (const outcome of await outcomes) {
      assert.equal(outcome.status, "rejected");
      assert.equal(outcome.reason.code, "closing");
    }
  }));
