import assert from "node:assert/strict";
import { fakeHarness, settled } from "./harness.ts";

const NUM_TOKENS = 200, NUM_TOP = 5;
const common = { max_tokens: NUM_TOKENS, logprobs: NUM_TOP, stream: false };

for (
  const [what, body] of [
    ["of one prompt", { prompt: "x", n: 4 }],
    ["of several prompts", { prompt: ["x", "y", "z"], n: 2 }],
  ] as const
) {
  Deno.test(`what a whole answer keeps is counted until it is written: ${what}`, async () => {
    await using harness = fakeHarness();
    const answer = await harness.post("/v1/completions", { ...common, ...body });
    let kept = 0, text = "";
    for await (const piece of answer.body!.pipeThrough(new TextDecoderStream())) {
      kept ||= harness.engine.unread.bytes;
      text += piece;
    }
    // As engine/sequence_log.ts counts: a chunk, its tokens, their log probabilities, its text.
    const each = 256 + NUM_TOKENS * (8 + 20 * (1 + NUM_TOP));
    const choices: { text: string }[] = JSON.parse(text).choices;
    assert.equal(kept, choices.reduce((sum, { text }) => sum + each + 2 * text.length, 0));
    await settled(harness.engine);
    assert.equal(harness.engine.unread.bytes, 0);
  });
}
