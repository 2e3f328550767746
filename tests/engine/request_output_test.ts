import assert from "node:assert/strict";
import { prepare } from "../../engine/prepare.ts";
import { RequestOutput } from "../../engine/request_output.ts";
import { type GenerateRequest, LogprobList, type PositionLogprobs } from "../../engine/types.ts";
import { ByteTokenizer } from "./byte_tokenizer.ts";

const tokenizer = new ByteTokenizer([]);

function tokensOf(text: string): PositionLogprobs[] {
  return tokenizer.encode(text).map((token) => ({
    token,
    logprob: -token,
    top: [{ token: token + 1, logprob: -1 }],
  }));
}

/** What comes out when `text` arrives in events of so many tokens each. */
function outputOf(text: string, tokensAnEvent: number, request: GenerateRequest) {
  const kept: number[] = [];
  const limits = { vocabSize: 300, maxModelLen: 2048, maxNumSeqs: 1, eosTokenIds: [] };
  const model = { name: "test", chatTemplate: undefined };
  const { output: settings } = prepare(request, { model, limits, encode: () => [1] }).encode();
  const output = new RequestOutput({
    settings,
    promptTokens: [1],
    tokenizer,
    stopSequence: (_, keepTokens) => kept.push(keepTokens),
  });
  const all = tokensOf(text);
  const chunks = [];
  for (let end = 0; end < all.length;) {
    const tokens = LogprobList.of(all.slice(end, end + tokensAnEvent));
    end += tokens.length;
    const chunk = output.take({
      kind: "token",
      request: 1n,
      sequence: 0,
      tokens,
      cachedTokens: 16,
      numOutputTokens: end,
    });
    if (chunk !== undefined) chunks.push(chunk);
  }
  const last = output.take({
    kind: "finish",
    request: 1n,
    sequence: 0,
    reason: "length",
    cachedTokens: 16,
  });
  if (last !== undefined) chunks.push(last);
  return {
    text: chunks.map(({ text }) => text).join(""),
    tokens: chunks.flatMap(({ tokens }) => tokens),
    logprobs: chunks.flatMap(({ logprobs }) => [...logprobs ?? []]),
    end: chunks.at(-1),
    numOutputTokens: output.numOutputTokens,
    kept,
  };
}

Deno.test("RequestOutput gives the same output however tokens are dealt out to events", () => {
  const text = "Grüße, 世界, and the STOP text is behind it";
  const requests: GenerateRequest[] = [
    { prompt: "x" },
    { prompt: "x", logprobs: 1 },
    { prompt: "x", stop: ["STOP"], logprobs: 1 },
    { prompt: "x", stop: ["the"], includeStop: true },
    { prompt: "x", stopTokenIds: [0x53] },
  ];
  for (const request of requests) {
    const { end, ...expected } = outputOf(text, 1, request);
    for (const tokensAnEvent of [2, 3, 7, 16]) {
      const { end: otherEnd, ...output } = outputOf(text, tokensAnEvent, request);
      assert.deepEqual(output, expected);
      assert.equal(otherEnd?.finishReason, end?.finishReason);
      assert.equal(otherEnd?.stopReason, end?.stopReason);
    }
  }
});

Deno.test("RequestOutput leaves out the tokens behind a stop text in the same event", () => {
  const { text, tokens, logprobs, end, numOutputTokens, kept } = outputOf("one STOP two", 16, {
    prompt: "x",
    stop: ["STOP"],
    logprobs: 1,
  });
  assert.equal(text, "one ");
  assert.deepEqual(tokens, tokenizer.encode("one STOP"));
  assert.deepEqual(logprobs, tokensOf("one STOP"));
  assert.equal(end?.stopReason, "STOP");
  assert.equal(numOutputTokens, 8);
  assert.deepEqual(kept, [8]);
});

Deno.test("RequestOutput finds a stop text that begins within minTokens and ends behind", () => {
  for (const tokensAnEvent of [1, 2, 16]) {
    const ask = (minTokens: number, stop: string[]) =>
      outputOf("one STOP two", tokensAnEvent, { prompt: "x", minTokens, stop });
    const across = ask(7, ["STOP"]);
    assert.deepEqual([across.text, across.end?.stopReason], ["one ", "STOP"]);
    const within = ask(8, ["STOP"]);
    assert.deepEqual([within.text, within.end?.finishReason], ["one STOP two", "length"]);
    assert.equal(ask(6, ["STO", "STOP"]).text, "one ", "the first that ends behind");
  }
});
