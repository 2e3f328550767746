import assert from "node:assert/strict";
import { setImmediate } from "node:timers";
import { EncodeQueue } from "../../engine/encode_queue.ts";
import { loadModel } from "../../model/load.ts";
import { finished } from "../../model/steps.ts";
import { ByteTokenizer } from "./byte_tokenizer.ts";
import { tiny } from "./requests.ts";

/** A step a character, each longer than a turn by its own clock; notes what it works at. */
class SlowTokenizer extends ByteTokenizer {
  readonly steps: string[] = [];
  readonly now = () => 11 * this.steps.length;

  constructor() {
    super([]);
  }

  *encodeSteps(text: string) {
    for (const character of text) {
      if (character === "!") throw new Error("no such text");
      this.steps.push(character);
      yield;
    }
    return this.encode(text);
  }
}

const plain = { addSpecialTokens: false, literal: [] };

/** Adds texts by their callers, `"one:aaa"`; gives each one's tokens as text, or its error. */
function addAll(queue: EncodeQueue, ...texts: string[]): Promise<string[]> {
  return Promise.all(texts.map((given) => {
    const [caller, text] = given.split(":") as [string, string];
    const { promise, resolve } = Promise.withResolvers<string>();
    queue.add({ text, caller, ...plain }, {
      resolve: (tokens) => resolve(String.fromCharCode(...tokens)),
      reject: (error) => resolve(String(error)),
    });
    return promise;
  }));
}

Deno.test("callers have turns one after another, whatever each has brought", async () => {
  const tokenizer = new SlowTokenizer();
  const texts = ["one:aaaa", "one:bbbbb", "two:cccc", "three:dddd"];
  const done = await addAll(new EncodeQueue(tokenizer, tokenizer.now), ...texts);
  assert.deepEqual(done, ["aaaa", "bbbbb", "cccc", "dddd"]);
  assert.equal(tokenizer.steps.slice(0, 12).join(""), "acdacdacdacd");
  assert.equal(tokenizer.steps.slice(-5).join(""), "bbbbb");
});

Deno.test("of one caller's texts the shortest is encoded first, then the oldest", async () => {
  const tokenizer = new SlowTokenizer();
  await addAll(new EncodeQueue(tokenizer, tokenizer.now), "one:aaa", "one:bb", "one:cc", "one:d");
  assert.equal(tokenizer.steps.join(""), "dbbccaaa");
});

Deno.test("who comes later has no turns to catch up on", async () => {
  const tokenizer = new SlowTokenizer();
  const queue = new EncodeQueue(tokenizer, tokenizer.now);
  const early = addAll(queue, "one:aaaaaaaaaaaa");
  while (tokenizer.steps.length < 4) await new Promise((resume) => setImmediate(resume));
  await addAll(queue, "two:bbbb");
  await early;
  const since = tokenizer.steps.slice(tokenizer.steps.indexOf("b")).join("");
  assert.match(since, /^b(ab){3}/);
});

Deno.test("a text that is dropped is worked at no more; its caller may come again", async () => {
  const tokenizer = new SlowTokenizer();
  const queue = new EncodeQueue(tokenizer, tokenizer.now);
  const job = { text: "aaaaaaaaaaaaaaaaaaaa", caller: "one", ...plain };
  const fail = () => assert.fail("it was encoded");
  queue.add(job, { resolve: fail, reject: fail });
  while (tokenizer.steps.length < 2) await new Promise((resume) => setImmediate(resume));
  queue.drop(job);
  queue.drop(job);
  const numSteps = tokenizer.steps.length;
  assert.deepEqual(await addAll(queue, "one:b"), ["b"]);
  assert.equal(tokenizer.steps.slice(numSteps).join(""), "b");
});

Deno.test("a text that cannot be encoded says so, and others go on", async () => {
  const tokenizer = new SlowTokenizer();
  const done = await addAll(new EncodeQueue(tokenizer, tokenizer.now), "one:a!", "one:bbb");
  assert.deepEqual(done, ["Error: no such text", "bbb"]);
});

Deno.test("adding a text does not encode it at once", () => {
  const tokenizer = new SlowTokenizer();
  addAll(new EncodeQueue(tokenizer, tokenizer.now), "one:a");
  assert.deepEqual(tokenizer.steps, []);
});

/** What takes long by itself: one piece, nothing but pieces, parts without end. */
const HARD = {
  "one letter": "a".repeat(150_000),
  "letters that all merge otherwise": "qzjxkv".repeat(25_000),
  spaces: " ".repeat(150_000),
  ideographs: "総整理".repeat(50_000),
  words: "of all the hard texts ".repeat(7000),
};

for (const [name, text] of Object.entries(HARD)) {
  Deno.test(`a long text is encoded in many steps: ${name}`, async () => {
    const { tokenizer } = await loadModel(tiny);
    const steps = tokenizer.encodeSteps!(text);
    let numSteps = 1;
    while (!steps.next().done) numSteps++;
    assert.ok(numSteps >= 15, `${numSteps} steps`);
    assert.deepEqual(finished(tokenizer.encodeSteps!(text)), tokenizer.encode(text));
  });
}
