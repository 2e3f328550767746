import assert from "node:assert/strict";
import { Engine } from "../../mod.ts";
import { Harness } from "../http/harness.ts";

const MODEL = "tests/data/smollm2-bf16";
const CHAT = "/v1/chat/completions", COMPLETIONS = "/v1/completions", GENERATE = "/generate";
const common = { n: 128, ignore_eos: true };
/**
 * Each within 10 s on a busy machine; the first, whole, is as large as is promised. That no turn of
 * theirs is long is judged where every test's turns are, by `deno task test:turns`.
 */
const tokensOf = (path: string, stream: boolean) => path === CHAT && !stream ? 256 : 64;
const bodies: [path: string, body: object][] = [
  [CHAT, { messages: [{ role: "user", content: "x" }], logprobs: true, top_logprobs: 20 }],
  [COMPLETIONS, { prompt: "x", logprobs: 5 }],
  [GENERATE, { prompt: "x", logprobs: 20 }],
];

/** Bytes of an answer's body, and how often `text` stands in it; nothing of it is kept. */
async function read({ body }: Response, text: string): Promise<{ bytes: number; count: number }> {
  let bytes = 0, count = 0, end = "";
  const decoder = new TextDecoder();
  for await (const piece of body!) {
    bytes += piece.length;
    const now = end + decoder.decode(piece, { stream: true });
    count += now.split(text).length - 1;
    end = now.slice(now.length - text.length + 1);
    await new Promise((resolve) => setTimeout(resolve)); // as a socket would
  }
  return { bytes, count };
}

for (const stream of [false, true]) {
  for (const [path, body] of bodies) {
    const max_tokens = tokensOf(path, stream);
    const name = `${max_tokens} of ${path}, ${stream ? "streamed" : "whole"}`;
    Deno.test(`128 sequences with logprobs are served: ${name}`, async () => {
      const engine = await Engine.open(MODEL, { numThreads: 2 });
      await using harness = new Harness(engine);
      await harness.json(path, { ...body, n: 2, max_tokens: 8 });
      const answer = await harness.post(path, { ...body, ...common, max_tokens, stream });
      const { bytes, count } = await read(answer, '"finish_reason":"length"');
      assert.equal(answer.status, 200);
      assert.equal(count, 128);
      assert.ok(bytes > 1e6, `${bytes} bytes`);
      assert.ok(engine.unread.bytes === 0, `${engine.unread.bytes} bytes are counted still`);
    });
  }
}

Deno.test("a whole answer that would be too large is refused with the figure; a stream is not", async () => {
  await using harness = new Harness(await Engine.open(MODEL, { numThreads: 1 }));
  const [[path, body]] = bodies as [[string, object]];
  const large = { ...body, ...common, max_tokens: 1500 };
  const { error } = await harness.json(path, large, 400);
  assert.deepEqual([error.code, error.param], ["answer_too_large", "logprobs"]);
  assert.match(error.message, /at most 1048576 .*n 128 x 1500 tokens x 21 are 4032000;/);
  const prompts = { prompt: Array(128).fill("x"), max_tokens: 2000, logprobs: 5 };
  const together = await harness.json(COMPLETIONS, prompts, 400);
  assert.match(together.error.message, /128 prompts x n 1 x 2000 tokens x 6 are 1536000;/);
  await (await harness.post(path, { ...large, stream: true })).body!.cancel();
});
