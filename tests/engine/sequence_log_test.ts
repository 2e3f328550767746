import assert from "node:assert/strict";
import { SequenceLog, SequenceSlots } from "../../engine/sequence_log.ts";
import { type GenerateChunk, LogprobList } from "../../engine/types.ts";

function chunkOf(index: number, text: string, changes: Partial<GenerateChunk> = {}): GenerateChunk {
  return {
    index,
    text,
    parts: [{ kind: "text", text }],
    tokens: [...text].map((_, i) => i),
    logprobs: undefined,
    finishReason: null,
    stopReason: null,
    ...changes,
  };
}

Deno.test("SequenceLog puts chunks together, and parts of a kind", () => {
  const first = chunkOf(3, "ab", {
    logprobs: LogprobList.of([{ token: 0, logprob: -1, top: [] }]),
  });
  const log = new SequenceLog(first);
  log.add(chunkOf(3, "c", {
    parts: [{ kind: "reasoning", text: "r" }, { kind: "text", text: "c" }],
    logprobs: LogprobList.of([{ token: 1, logprob: -2, top: [] }]),
    finishReason: "stop",
    stopReason: 7,
  }));
  assert.deepEqual({ ...log }, {
    index: 3,
    text: "abc",
    parts: [
      { kind: "text", text: "ab" },
      { kind: "reasoning", text: "r" },
      { kind: "text", text: "c" },
    ],
    tokens: [0, 1, 0],
    logprobs: LogprobList.of([
      { token: 0, logprob: -1, top: [] },
      { token: 1, logprob: -2, top: [] },
    ]),
    finishReason: "stop",
    stopReason: 7,
  });
  log.add(chunkOf(3, "d"));
  assert.deepEqual(log.parts.at(-1), { kind: "text", text: "cd" });
  assert.equal(first.text, "ab", "a chunk is another reader's too");
  assert.deepEqual(first.tokens, [0, 1]);
});

Deno.test("SequenceSlots gives what has waited longest, and counts the memory that waits", () => {
  const slots = new SequenceSlots();
  const sizeOf = (chunk: GenerateChunk) => {
    const before = slots.bytes;
    slots.add(chunk);
    return slots.bytes - before;
  };
  const top = [{ token: 1, logprob: -1 }, { token: 2, logprob: -2 }];
  assert.equal(sizeOf(chunkOf(2, "ab")), 256 + 2 * 2 + 8 * 2);
  assert.equal(sizeOf(chunkOf(0, "", { tokens: [] })), 256);
  const logprobs = LogprobList.of([{ token: 0, logprob: -1, top }]);
  assert.equal(sizeOf(chunkOf(1, "x", { logprobs })), 256 + 2 + 8 + 3 * 20);
  assert.equal(sizeOf(chunkOf(2, "c")), 256 + 2 + 8);
  const before = slots.bytes;
  const taken = slots.take();
  assert.deepEqual([taken?.index, taken?.text], [2, "abc"]);
  assert.equal(before - slots.bytes, 512 + 6 + 24);
  assert.equal(slots.take()?.index, 0);
  slots.add(chunkOf(0, "y"));
  assert.equal(slots.take()?.index, 1);
  slots.clear();
  assert.deepEqual([slots.bytes, slots.take()], [0, undefined]);
});

Deno.test("SequenceSlots leaves a chunk as it is, of which others hold a part", () => {
  const slots = new SequenceSlots();
  const chunk = chunkOf(0, "a");
  slots.add(chunk);
  slots.add(chunkOf(0, "b"));
  slots.add(chunkOf(0, "c"));
  assert.equal(chunk.text, "a");
  const { text, tokens } = slots.take()!;
  assert.deepEqual([text, tokens], ["abc", [0, 0, 0]]);
  slots.add(chunk);
  assert.equal(slots.take(), chunk, "no object is made for a reader that keeps up");
});
