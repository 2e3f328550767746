import assert from "node:assert/strict";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, streamText } from "ai";
import OpenAI from "openai";
import { fakeHarness, type Harness, settled } from "./harness.ts";

const KEY = "secret";
const messages: OpenAI.ChatCompletionMessageParam[] = [{ role: "user", content: "Hello" }];

/** The app on a free port, so that clients use their own `fetch`. */
async function withServer(
  engine: Parameters<typeof fakeHarness>[0],
  run: (url: string, harness: Harness) => Promise<void>,
): Promise<void> {
  await using harness = fakeHarness(engine, { apiKeys: [KEY] });
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    (request) => harness.app.fetch(request),
  );
  try {
    await run(`http://127.0.0.1:${server.addr.port}/v1`, harness);
  } finally {
    await server.shutdown();
  }
}

function openAi(baseURL: string, apiKey = KEY): OpenAI {
  return new OpenAI({ baseURL, apiKey, maxRetries: 0 });
}

Deno.test("openai: chat, whole and streamed, with usage", async () => {
  await withServer({ tokenMs: 1 }, async (url) => {
    const client = openAi(url);
    const body = { model: "fake", messages, max_completion_tokens: 30 };
    const whole = await client.chat.completions.create({
      ...body,
      logprobs: true,
      top_logprobs: 2,
    });
    assert.equal(whole.choices[0]!.finish_reason, "length");
    assert.equal(whole.choices[0]!.logprobs!.content!.length, 30);
    assert.equal(whole.usage!.completion_tokens, 30);

    const stream = await client.chat.completions.create({
      ...body,
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = "";
    let usage: OpenAI.CompletionUsage | null | undefined;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? "";
      usage = chunk.usage ?? usage;
    }
    assert.equal(text, whole.choices[0]!.message.content);
    assert.equal(usage!.completion_tokens, 30);
    assert.equal(usage!.prompt_tokens_details!.cached_tokens, 0);
  });
});

Deno.test("openai: the client's own stream helper puts the message together", async () => {
  await withServer({ tokenMs: 1 }, async (url) => {
    const body = { model: "fake", messages, max_tokens: 20, n: 2 };
    const final = await openAi(url).chat.completions.stream(body).finalChatCompletion();
    assert.deepEqual(final.choices.map(({ message }) => message.role), ["assistant", "assistant"]);
    assert.deepEqual(final.choices.map(({ finish_reason }) => finish_reason), ["length", "length"]);
  });
});

Deno.test("openai: completions, models, and what their errors become", async () => {
  await withServer({ maxRequests: 1 }, async (url) => {
    const client = openAi(url);
    const body = { model: "fake", prompt: "Once", max_tokens: 5 };
    const { choices: [choice] } = await client.completions.create({
      ...body,
      echo: true,
      logprobs: 1,
    });
    assert.ok(choice!.text.startsWith("Once"));
    const texts: string[] = [];
    for await (const chunk of await client.completions.create({ ...body, stream: true })) {
      texts.push(chunk.choices[0]!.text);
    }
    assert.equal(texts.join(""), choice!.text.slice("Once".length));

    const models: string[] = [];
    for await (const { id } of client.models.list()) models.push(id);
    assert.deepEqual(models, ["fake"]);
    assert.equal((await client.models.retrieve("fake")).id, "fake");

    const unknown = client.chat.completions.create({ model: "gpt-9", messages });
    await assert.rejects(unknown, (error) => {
      assert.ok(error instanceof OpenAI.NotFoundError);
      assert.deepEqual([error.code, error.param], ["model_not_found", "model"]);
      return true;
    });
    await assert.rejects(openAi(url, "wrong").models.list(), OpenAI.AuthenticationError);
    await assert.rejects(client.completions.create({ ...body, prompt: ["a", "b"] }), (error) => {
      return error instanceof OpenAI.RateLimitError && error.headers!.get("retry-after") === "3";
    });
    await assert.rejects(client.completions.create({ ...body, temperature: 3 }), (error) => {
      return error instanceof OpenAI.BadRequestError && error.param === "temperature";
    });
  });
});

Deno.test("openai: an error in a stream is thrown, leaving one ends its request", async () => {
  const body = { model: "fake", messages, stream: true as const };
  await withServer({ failAfter: 3 }, async (url) => {
    const stream = await openAi(url).chat.completions.create(body);
    await assert.rejects(async () => {
      for await (const _ of stream);
    }, /Internal error/);
  });
  await withServer({ tokenMs: 2 }, async (url, harness) => {
    const stream = await openAi(url).chat.completions.create({ ...body, max_tokens: 1000 });
    for await (const chunk of stream) {
      if (chunk.choices[0]!.delta.content) break;
    }
    await settled(harness.engine);
    const { cancelled, length } = harness.engine.stats().numFinished;
    assert.deepEqual([cancelled, length], [1, 0]);
  });
});

Deno.test("ai: text, whole and streamed", async () => {
  await withServer({ tokenMs: 1 }, async (baseURL) => {
    const provider = createOpenAICompatible({ name: "hearth", baseURL, apiKey: KEY });
    const model = provider("fake");
    const whole = await generateText({ model, prompt: "Hello", maxOutputTokens: 30 });
    assert.equal(whole.finishReason, "length");
    assert.equal(whole.usage.outputTokens, 30);

    const stream = streamText({ model, prompt: "Hello", maxOutputTokens: 30 });
    let text = "";
    for await (const part of stream.textStream) text += part;
    assert.equal(text, whole.text);
    assert.equal(await stream.finishReason, "length");
  });
});
