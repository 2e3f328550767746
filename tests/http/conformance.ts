/**
 * What every engine's answers must look like over HTTP, whatever its text says: OpenAI's shapes,
 * one role, one finish reason, usage where it was asked for, `[DONE]` at the end.
 *
 * @module
 */
import { allowLongTurns, LOADS_METRICS } from "../event_loop_guard.ts";
import assert from "node:assert/strict";
import { type EngineUnderTest, settled } from "./harness.ts";

const CHAT = "/v1/chat/completions";
const COMPLETIONS = "/v1/completions";
const messages = [{ role: "user", content: "Tell me a story" }];
const greedy = { temperature: 0, ignore_eos: true };

/** Registers the tests over one engine. */
export function testConformance(under: EngineUnderTest): void {
  const test = (name: string, body: (harness: Awaited<ReturnType<typeof under.open>>) => unknown) =>
    Deno.test(`${name} (${under.name})`, async () => {
      await using harness = await under.open();
      await body(harness);
    });

  test("chat answers with OpenAI's object", async (harness) => {
    const answer = await harness.json(CHAT, { messages, max_tokens: 5, ...greedy });
    const [choice] = answer.choices;
    assert.match(answer.id, /^chatcmpl-[0-9a-f]{32}$/);
    assert.equal(answer.object, "chat.completion");
    assert.equal(answer.model, harness.instance.model.names[0]);
    assert.ok(Math.abs(answer.created - Date.now() / 1000) < 5);
    assert.match(answer.system_fingerprint, /^fp_[0-9a-f]{16}$/);
    assert.equal(answer.choices.length, 1);
    assert.equal(choice.index, 0);
    assert.equal(choice.message.role, "assistant");
    assert.ok(choice.message.content.length > 0);
    assert.equal(choice.finish_reason, "length");
    assert.equal(choice.logprobs, null);
    const { prompt_tokens, completion_tokens, total_tokens, prompt_tokens_details } = answer.usage;
    assert.ok(prompt_tokens > 5);
    assert.equal(completion_tokens, 5);
    assert.equal(total_tokens, prompt_tokens + 5);
    assert.ok(prompt_tokens_details.cached_tokens >= 0);
  });

  test("a chat's stream says the same as its whole", async (harness) => {
    const body = { messages, max_tokens: 24, n: 2, ...greedy };
    const whole = await harness.json(CHAT, body);
    const events = await harness.events(CHAT, body);
    assert.equal(events.pop(), "[DONE]");
    for (const index of [0, 1]) {
      const choices = events.map(({ choices }) => choices[0]).filter((one) => one.index === index);
      assert.deepEqual(choices[0].delta, { role: "assistant", content: "" });
      assert.ok(choices.slice(1).every(({ delta }) => delta.role === undefined), "one role");
      const text = choices.map(({ delta }) => delta.content ?? "").join("");
      assert.equal(text, whole.choices[index].message.content);
      const reasons = choices.map(({ finish_reason }) => finish_reason);
      assert.equal(reasons.pop(), "length");
      assert.ok(reasons.every((reason) => reason === null));
    }
    assert.ok(events.every(({ object }) => object === "chat.completion.chunk"));
    assert.equal(new Set(events.map(({ id }) => id)).size, 1);
    assert.ok(events.every((event) => !("usage" in event)), "usage was not asked for");
  });

  test("usage comes in a last chunk without choices when asked for", async (harness) => {
    for (
      const [path, prompt] of [[CHAT, { messages }], [COMPLETIONS, { prompt: "Once" }]] as const
    ) {
      const body = { ...prompt, max_tokens: 3, ...greedy };
      const events = await harness.events(path, {
        ...body,
        stream_options: { include_usage: true },
      });
      assert.equal(events.pop(), "[DONE]");
      const last = events.pop();
      assert.deepEqual(last.choices, []);
      assert.equal(last.usage.completion_tokens, 3);
      assert.equal(last.usage.total_tokens, last.usage.prompt_tokens + 3);
      assert.ok(events.every(({ usage, choices }) => usage === null && choices.length === 1));
    }
  });

  test("a chat's log probabilities name token, bytes and the likeliest", async (harness) => {
    const body = { messages, max_tokens: 4, logprobs: true, top_logprobs: 3, ...greedy };
    const { choices: [choice] } = await harness.json(CHAT, body);
    const content = choice.logprobs.content;
    assert.equal(content.length, 4);
    for (const entry of content) {
      assert.equal(typeof entry.token, "string");
      assert.ok(entry.logprob <= 0);
      assert.ok(entry.bytes.every((byte: number) => byte >= 0 && byte < 256));
      assert.equal(entry.top_logprobs.length, 3);
      assert.ok(entry.top_logprobs[0].logprob >= entry.top_logprobs[2].logprob);
    }
    const events = await harness.events(CHAT, body);
    const streamed = events.slice(0, -1).flatMap(({ choices }) =>
      choices[0].logprobs?.content ?? []
    );
    assert.deepEqual(
      streamed.map(({ token }) => token),
      content.map((one: { token: string }) => one.token),
    );
  });

  test("max_completion_tokens goes before max_tokens", async (harness) => {
    const body = { messages, max_completion_tokens: 3, max_tokens: 9, ...greedy };
    assert.equal((await harness.json(CHAT, body)).usage.completion_tokens, 3);
  });

  test("developer is system, parts of content are lines", async (harness) => {
    const count = async (content: unknown, role: string) => {
      const body = { messages: [{ role, content }, ...messages], max_tokens: 1 };
      return (await harness.json(CHAT, body)).usage.prompt_tokens;
    };
    const parts = [{ type: "text", text: "Be" }, { type: "text", text: "brief" }];
    assert.equal(await count(parts, "developer"), await count("Be\nbrief", "system"));
  });

  test("fields that OpenAI has and we do not know are ignored", async (harness) => {
    const body = {
      messages,
      max_tokens: 1,
      user: "u",
      store: false,
      metadata: { a: "b" },
      zebra: 1,
    };
    await harness.json(CHAT, body);
    await harness.json(COMPLETIONS, { prompt: "x", max_tokens: 1, user: "u", zebra: 1 });
  });

  test("null is as good as absent, empty tools ask for nothing", async (harness) => {
    const nulls = {
      temperature: null,
      top_p: null,
      stop: null,
      seed: null,
      n: null,
      logit_bias: null,
    };
    const body = { messages, max_tokens: 1, ...nulls, logprobs: null, top_logprobs: null };
    const nothing = { tools: [], tool_choice: "none", response_format: { type: "text" } };
    await harness.json(CHAT, { ...body, ...nothing, stream_options: null });
    await harness.json(COMPLETIONS, {
      prompt: "x",
      max_tokens: 1,
      ...nulls,
      suffix: null,
      best_of: 1,
    });
  });

  test("a stop text ends the output and is left out", async (harness) => {
    const body = { prompt: "Once upon", max_tokens: 24, ...greedy };
    const { choices: [free] } = await harness.json(COMPLETIONS, body);
    const text: string = free.text;
    const stop = [...text].slice(4, 7).join("");
    assert.ok(stop.length > 0);
    const { choices: [stopped] } = await harness.json(COMPLETIONS, { ...body, stop });
    assert.equal(stopped.text, text.slice(0, text.indexOf(stop)));
    assert.equal(stopped.finish_reason, "stop");
    assert.equal(stopped.stop_reason, stop);
  });

  test("completions take texts and tokens, one or many, times n", async (harness) => {
    const { tokens } = await harness.json("/tokenize", { prompt: "Once upon" });
    const body = { max_tokens: 3, n: 2, ...greedy };
    const one = await harness.json(COMPLETIONS, { ...body, prompt: "Once upon" });
    const texts = one.choices.map(({ text }: { text: string }) => text);
    assert.equal(texts[0], texts[1]);
    for (const prompt of [["Once upon", "Once upon"], [tokens, tokens]]) {
      const answer = await harness.json(COMPLETIONS, { ...body, prompt });
      assert.deepEqual(answer.choices.map(({ index }: { index: number }) => index), [0, 1, 2, 3]);
      assert.deepEqual(answer.choices.map(({ text }: { text: string }) => text), [
        ...texts,
        ...texts,
      ]);
      assert.equal(answer.usage.prompt_tokens, 2 * tokens.length);
      assert.equal(answer.usage.completion_tokens, 12);
      const events = await harness.events(COMPLETIONS, { ...body, prompt });
      assert.equal(events.pop(), "[DONE]");
      for (const index of [0, 1, 2, 3]) {
        const choices = events.map(({ choices }) => choices[0]).filter((one) =>
          one.index === index
        );
        assert.equal(choices.map(({ text }) => text).join(""), texts[index % 2]);
        assert.equal(choices.at(-1).finish_reason, "length");
      }
    }
  });

  test("max_tokens of completions is 16 unless said", async (harness) => {
    const answer = await harness.json(COMPLETIONS, { prompt: "Once", ...greedy });
    assert.equal(answer.usage.completion_tokens, 16);
  });

  test("echo puts the prompt and its log probabilities first", async (harness) => {
    const prompt = "Once upon a time";
    const body = { prompt, max_tokens: 2, echo: true, logprobs: 2, ...greedy };
    const { choices: [choice], usage } = await harness.json(COMPLETIONS, body);
    assert.ok(choice.text.startsWith(prompt) && choice.text.length > prompt.length);
    const { tokens, token_logprobs, top_logprobs, text_offset } = choice.logprobs;
    const count = usage.prompt_tokens + 2;
    assert.deepEqual([tokens.length, token_logprobs.length, text_offset.length], [
      count,
      count,
      count,
    ]);
    assert.equal(token_logprobs[0], null);
    assert.equal(top_logprobs[0], null);
    assert.ok(token_logprobs.slice(1).every((logprob: number) => logprob <= 0));
    assert.ok(Object.keys(top_logprobs[1]).length >= 2);
    assert.deepEqual([text_offset[0], text_offset[1]], [0, tokens[0].length]);

    const streamed = await harness.events(COMPLETIONS, body);
    const choices = streamed.slice(0, -1).map(({ choices }) => choices[0]);
    assert.equal(choices.map(({ text }) => text).join(""), choice.text);
    assert.deepEqual(choices.flatMap(({ logprobs }) => logprobs.tokens), tokens);
    assert.deepEqual(choices.flatMap(({ logprobs }) => logprobs.text_offset), text_offset);
  });

  test("echo with max_tokens 0 scores the prompt alone", async (harness) => {
    const prompt = "Once upon a time";
    const body = { prompt, max_tokens: 0, echo: true, logprobs: 0 };
    const { choices: [choice], usage } = await harness.json(COMPLETIONS, body);
    assert.equal(choice.text, prompt);
    assert.equal(choice.finish_reason, "length");
    assert.equal(choice.logprobs.tokens.length, usage.prompt_tokens);
    assert.equal(usage.completion_tokens, 0);
  });

  test("token ids come along when asked for", async (harness) => {
    const body = { max_tokens: 3, return_token_ids: true, ...greedy };
    const { choices: [choice] } = await harness.json(COMPLETIONS, { prompt: "Once", ...body });
    const { tokens } = await harness.json("/tokenize", { prompt: "Once" });
    assert.deepEqual(choice.prompt_token_ids, tokens);
    assert.equal(choice.token_ids.length, 3);
    const chat = await harness.json(CHAT, { messages, ...body });
    assert.equal(chat.prompt_token_ids.length, chat.usage.prompt_tokens);
    assert.equal(chat.choices[0].token_ids.length, 3);
    const events = await harness.events(CHAT, { messages, ...body });
    const ids = events.slice(0, -1).flatMap(({ choices }) => choices[0].token_ids ?? []);
    assert.deepEqual(ids, chat.choices[0].token_ids);
  });

  test("prompt_logprobs come in vLLM's shape", async (harness) => {
    const body = { messages, max_tokens: 1, prompt_logprobs: 1 };
    const { prompt_logprobs, usage } = await harness.json(CHAT, body);
    assert.equal(prompt_logprobs.length, usage.prompt_tokens);
    assert.equal(prompt_logprobs[0], null);
    const [scored] = Object.values(prompt_logprobs[1]) as { logprob: number; rank: number }[];
    assert.ok(scored!.logprob <= 0);
  });

  test("generate takes prompt, tokens and messages", async (harness) => {
    const { tokens } = await harness.json("/tokenize", { prompt: "Once upon" });
    const body = { max_tokens: 4, logprobs: 1, ...greedy };
    const byText = await harness.json("/generate", { prompt: "Once upon", ...body });
    const byTokens = await harness.json("/generate", { tokens, ...body });
    assert.deepEqual(byText.outputs, byTokens.outputs);
    assert.equal(byText.outputs[0].logprobs.length, 4);
    assert.deepEqual(byText.usage.output_tokens, 4);
    const events = await harness.events("/generate", { prompt: "Once upon", ...body });
    assert.equal(events.pop(), "[DONE]");
    assert.equal(events.pop().usage.prompt_tokens, tokens.length);
    assert.deepEqual(events.flatMap((event) => event.tokens), byText.outputs[0].tokens);
    assert.equal(events.at(-1).finish_reason, "length");
    await harness.json("/generate", { messages, max_tokens: 1 });
  });

  test("tokenize and detokenize undo each other", async (harness) => {
    const prompt = "Once upon a time";
    const { tokens, count, max_model_len, token_strs } = await harness.json("/tokenize", {
      prompt,
      add_special_tokens: false,
      return_token_strs: true,
    });
    assert.equal(count, tokens.length);
    assert.equal(token_strs.length, count);
    assert.equal(max_model_len, harness.engine.maxModelLen);
    assert.deepEqual(await harness.json("/detokenize", { tokens }), { prompt });
  });

  test("tokenize counts messages as chat does", async (harness) => {
    const { count } = await harness.json("/tokenize", { messages });
    const { usage } = await harness.json(CHAT, { messages, max_tokens: 1 });
    assert.equal(count, usage.prompt_tokens);
  });

  test("models lists the one model", async (harness) => {
    const { object, data } = await (await harness.get("/v1/models")).json();
    assert.equal(object, "list");
    assert.equal(data.length, 1);
    assert.equal(data[0].max_model_len, harness.engine.maxModelLen);
    const card = await (await harness.get(`/v1/models/${encodeURIComponent(data[0].id)}`)).json();
    assert.deepEqual(card, data[0]);
    assert.equal((await harness.get("/v1/models/org/other")).status, 404);
  });

  test("metrics count what was generated", async (harness) => {
    await harness.json(COMPLETIONS, { prompt: "Once", max_tokens: 5, ...greedy });
    await settled(harness.engine);
    allowLongTurns(LOADS_METRICS);
    const response = await harness.get("/metrics");
    assert.match(response.headers.get("content-type")!, /^text\/plain/);
    const text = await response.text();
    const value = (name: string) => {
      const line = text.split("\n").find((line) => line.startsWith(`${name} `));
      assert.ok(line, `${name} is in\n${text}`);
      return Number(line.split(" ").at(-1));
    };
    assert.equal(value("hearth_ready"), 1);
    assert.equal(value("hearth_generation_tokens_total"), 5);
    assert.ok(value("hearth_prompt_tokens_total") > 0);
    assert.equal(value("hearth_prompt_tokens_cached_total"), 0);
    assert.equal(value("hearth_num_requests_running"), 0);
    assert.equal(value("hearth_num_requests_waiting"), 0);
    assert.equal(value("hearth_num_preemptions_total"), 0);
    assert.ok(value("hearth_kernel_launches_total") >= 0);
    assert.ok(value("hearth_device_busy_seconds_total") >= 0);
    assert.equal(value('hearth_kv_blocks{state="held"}'), 0);
    assert.ok(value('hearth_kv_blocks{state="free"}') > 0);
    assert.equal(value('hearth_requests_finished_total{reason="length"}'), 1);
    assert.equal(value("hearth_time_to_first_token_seconds_count"), 1);
    assert.equal(value("hearth_inter_token_latency_seconds_count"), 4);
    assert.equal(value("hearth_e2e_request_latency_seconds_count"), 1);
  });

  test("version tells what runs", async (harness) => {
    const { version, deno, engine } = await (await harness.get("/version")).json();
    assert.match(version, /^\d+\.\d+\.\d+$/);
    assert.equal(deno, Deno.version.deno);
    assert.ok(engine.device);
  });

  test("health and ready say so", async (harness) => {
    assert.deepEqual(await (await harness.get("/health")).json(), { status: "ok" });
    assert.deepEqual(await (await harness.get("/ready")).json(), { state: "ready", progress: 1 });
  });

  test("leaving a stream ends its request", async (harness) => {
    for (
      const [path, body] of [
        [CHAT, { messages }],
        [COMPLETIONS, { prompt: ["a", "b"] }],
        ["/generate", { prompt: "a" }],
      ] as const
    ) {
      const request = { ...body, stream: true, max_tokens: 1500, ...greedy };
      const response = await harness.post(path, request);
      const reader = response.body!.getReader();
      await reader.read();
      await reader.cancel();
      // The harness fails when blocks are still held at the end.
    }
  });

  test("leaving a whole answer ends its request", async (harness) => {
    const left = new AbortController();
    const body = { messages, n: 16, max_tokens: 1500, ...greedy };
    const answer = harness.post(CHAT, body, { signal: left.signal });
    while (harness.engine.stats().numRequestsSubmitted === 0) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    left.abort();
    assert.equal((await answer).status, 499);
  });
}
