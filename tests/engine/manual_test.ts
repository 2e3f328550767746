import assert from "node:assert/strict";
import { ManualEngine, type ManualRequest } from "../../engine/testing.ts";
import type { GenerateRequest } from "../../engine/types.ts";
import { onTestDevice } from "../test_device.ts";
import { promptOf, tiny } from "./requests.ts";

/** As many steps are staged on any device: the tests count them. */
const open = (options = {}) =>
  ManualEngine.open(tiny, { ...onTestDevice, pipelineDepth: 1, maxModelLen: 256, ...options });

const greedy = (length: number, rest: Partial<GenerateRequest> = {}): GenerateRequest => ({
  tokens: promptOf(length),
  maxTokens: 12,
  temperature: 0,
  ignoreEos: true,
  ...rest,
});

const firstOf = ({ outputs }: ManualRequest) => outputs[0]!;

Deno.test("ManualEngine computes nothing before it is stepped", async () => {
  using engine = await open();
  const request = engine.generate(greedy(5));
  assert.deepEqual(firstOf(request).tokens, []);
  assert.equal(engine.stats().numSteps, 0);
  assert.equal(engine.step(), 5);
  assert.equal(firstOf(request).tokens.length, 1);
  assert.equal(engine.step(), 1);
  assert.equal(firstOf(request).tokens.length, 2);
});

Deno.test("ManualEngine tells that there is nothing to do", async () => {
  using engine = await open();
  assert.equal(engine.step(), 0);
  assert.equal(engine.runUntilIdle(), 0);
});

Deno.test("A prompt is prefilled in chunks of the token budget", async () => {
  using engine = await open({ maxNumBatchedTokens: 20 });
  engine.generate(greedy(50));
  assert.deepEqual([engine.step(), engine.step(), engine.step()], [20, 20, 10]);
});

for (const pipelineDepth of [1, 2]) {
  Deno.test(`Cancelling during prefill frees the blocks within one step, depth ${pipelineDepth}`, async () => {
    using engine = await open({ maxNumBatchedTokens: 20, pipelineDepth });
    const request = engine.generate(greedy(200));
    engine.step();
    assert.ok(engine.stats().kvBlocks.held > 0);
    request.cancel();
    engine.step();
    assert.equal(engine.stats().kvBlocks.held, 0);
    assert.equal(firstOf(request).finishReason, "cancelled");
    assert.equal(request.ended, true);
    engine.checkIntegrity();
    request.cancel(); // harmless
  });

  Deno.test(`A stop text ends the sequence at its token, depth ${pipelineDepth}`, async () => {
    using engine = await open({ pipelineDepth });
    const whole = engine.generate(greedy(5));
    engine.runUntilIdle();
    const { text, tokens } = firstOf(whole);
    const stop = text.slice(3, 6);
    const counted = engine.stats().numGenerationTokens;

    const request = engine.generate(greedy(5, { stop: [stop] }));
    engine.runUntilIdle();
    const output = firstOf(request);
    assert.equal(output.text, text.slice(0, text.indexOf(stop)));
    assert.equal(output.finishReason, "stop");
    assert.equal(output.stopReason, stop);
    assert.deepEqual(output.tokens, tokens.slice(0, output.tokens.length));
    assert.ok(output.tokens.length < tokens.length);
    // Tokens that were made after the one that completed the stop text do not count.
    assert.equal(engine.stats().numGenerationTokens - counted, output.tokens.length);
    assert.equal(engine.stats().numFinished.stop, 1);
    assert.equal(engine.stats().kvBlocks.held, 0);
    engine.checkIntegrity();
  });
}

Deno.test("A stop text stays when asked for", async () => {
  using engine = await open();
  const whole = engine.generate(greedy(5));
  engine.runUntilIdle();
  const stop = firstOf(whole).text.slice(3, 6);
  const request = engine.generate(greedy(5, { stop: [stop], includeStop: true }));
  engine.runUntilIdle();
  assert.ok(firstOf(request).text.endsWith(stop));
});

Deno.test("A stop text does not count before minTokens", async () => {
  using engine = await open();
  const whole = engine.generate(greedy(5));
  engine.runUntilIdle();
  const stop = firstOf(whole).text.slice(0, 1);
  const request = engine.generate(greedy(5, { stop: [stop], minTokens: 12 }));
  engine.runUntilIdle();
  assert.deepEqual(request.outputs, whole.outputs);
});

Deno.test("A stop token ends the sequence and is no text", async () => {
  using engine = await open();
  const whole = engine.generate(greedy(5));
  engine.runUntilIdle();
  const { tokens } = firstOf(whole);
  const stop = tokens[4]!;
  const request = engine.generate(greedy(5, { stopTokenIds: [stop] }));
  engine.runUntilIdle();
  const end = tokens.indexOf(stop) + 1;
  assert.deepEqual(firstOf(request).tokens, tokens.slice(0, end));
  assert.equal(firstOf(request).finishReason, "stop");
  assert.equal(firstOf(request).stopReason, stop);
  const { tokenizer } = engine.model;
  const decoded = tokenizer.decode([...promptOf(5), ...tokens.slice(0, end - 1)]);
  assert.equal(tokenizer.decode(promptOf(5)) + firstOf(request).text, decoded);
});

Deno.test("The model's own end of text is no stop reason", async () => {
  using engine = await open();
  const [eos] = engine.model.eosTokenIds;
  const logitBias = new Map([[eos!, 100]]);
  const request = engine.generate(greedy(5, { ignoreEos: false, logitBias }));
  engine.runUntilIdle();
  const { text, tokens, logprobs, finishReason, stopReason } = firstOf(request);
  assert.deepEqual([text, tokens, logprobs], ["", [eos], undefined]);
  assert.deepEqual([finishReason, stopReason], ["stop", null]);
});

Deno.test("minTokens keeps the end of text away", async () => {
  using engine = await open();
  const [eos] = engine.model.eosTokenIds;
  const logitBias = new Map([[eos!, 100]]);
  const request = engine.generate(greedy(5, { ignoreEos: false, logitBias, minTokens: 4 }));
  engine.runUntilIdle();
  const { tokens } = firstOf(request);
  assert.equal(tokens.length, 5);
  assert.equal(tokens.indexOf(eos!), 4);
});

Deno.test("Bans by logit bias and bad words are kept", async () => {
  using engine = await open();
  const whole = engine.generate(greedy(5));
  engine.runUntilIdle();
  const [first, second] = firstOf(whole).tokens;
  const banned = engine.generate(greedy(5, { logitBias: new Map([[first!, -100]]) }));
  const badWord = engine.generate(greedy(5, { badWords: [[first!, second!]] }));
  engine.runUntilIdle();
  assert.ok(!firstOf(banned).tokens.includes(first!));
  assert.equal(firstOf(badWord).tokens[0], first);
  assert.notEqual(firstOf(badWord).tokens[1], second);
});

Deno.test("n sequences share the prompt's blocks", async () => {
  using engine = await open();
  const prompt = greedy(64, { temperature: 1, seed: 3, n: 8 });
  const request = engine.generate(prompt);
  engine.step();
  // Four full blocks once, and one block of its own for each sequence at most.
  assert.ok(engine.stats().kvBlocks.held <= 4 + 8, `${engine.stats().kvBlocks.held} blocks`);
  engine.runUntilIdle();
  assert.equal(new Set(request.outputs.map(({ tokens }) => tokens.join())).size, 8);
  for (const { tokens, finishReason } of request.outputs) {
    assert.equal(tokens.length, 12);
    assert.equal(finishReason, "length");
  }
});

Deno.test("One of n sequences may stop before the others", async () => {
  using engine = await open();
  const request = greedy(5, { temperature: 1, seed: 3, n: 4, maxTokens: 30 });
  const whole = engine.generate(request);
  engine.runUntilIdle();
  const stop = whole.outputs[2]!.text.slice(4, 7);
  const stopped = engine.generate({ ...request, stop: [stop] });
  engine.runUntilIdle();
  whole.outputs.forEach(({ text }, i) => {
    const end = text.indexOf(stop);
    assert.equal(stopped.outputs[i]!.text, end < 0 ? text : text.slice(0, end));
    assert.equal(stopped.outputs[i]!.finishReason, end < 0 ? "length" : "stop");
  });
  assert.equal(engine.stats().kvBlocks.held, 0);
});

Deno.test("Prompt logprobs are of every token but the first, warm or cold", async () => {
  using engine = await open({ maxNumBatchedTokens: 24 });
  const request = greedy(60, { promptLogprobs: 3, maxTokens: 1 });
  const cold = engine.generate(request);
  engine.runUntilIdle();
  const warm = engine.generate(request);
  engine.runUntilIdle();
  const { promptLogprobs } = cold;
  assert.equal(promptLogprobs?.length, 60);
  assert.equal(promptLogprobs[0], undefined);
  for (const [i, position] of promptLogprobs.slice(1).entries()) {
    assert.ok(position !== undefined);
    assert.equal(position.token, promptOf(60)[i + 1]);
    assert.equal(position.top.length, 3);
    assert.ok(position.logprob <= position.top[0]!.logprob);
    assert.ok(position.top[0]!.logprob < 0);
  }
  assert.deepEqual(warm.promptLogprobs, promptLogprobs);
});

Deno.test("Prompt logprobs of a long prompt come over several polls", async () => {
  using engine = await open({ maxModelLen: 2048 });
  const tokens = promptOf(2000);
  const request = engine.generate({ tokens, maxTokens: 1, promptLogprobs: 20, logprobs: 20 });
  engine.runUntilIdle();
  const positions = request.promptLogprobs!.slice(1);
  assert.deepEqual(positions.map((it) => it?.token), tokens.slice(1));
  assert.ok(positions.every((it) => it?.top.length === 20));
  assert.equal(firstOf(request).logprobs?.at(0)?.top.length, 20);
});

Deno.test("Prompt logprobs alone generate nothing", async () => {
  using engine = await open();
  const request = engine.generate(greedy(10, { promptLogprobs: 0, maxTokens: 0 }));
  engine.runUntilIdle();
  assert.equal(request.promptLogprobs?.length, 10);
  assert.deepEqual(firstOf(request).tokens, []);
  assert.equal(firstOf(request).finishReason, "length");
});

Deno.test("Logprobs are sorted, and greedy takes the first", async () => {
  using engine = await open();
  const request = engine.generate(greedy(10, { logprobs: 5 }));
  engine.runUntilIdle();
  const { tokens, logprobs } = firstOf(request);
  assert.equal(logprobs?.length, tokens.length);
  for (const [i, { token, logprob, top }] of [...logprobs].entries()) {
    assert.equal(token, tokens[i]);
    assert.deepEqual(top[0], { token, logprob });
    const sorted = top.toSorted((a, b) => b.logprob - a.logprob);
    assert.deepEqual(top, sorted);
  }
});

Deno.test("A sequence ends with length at the model's length", async () => {
  using engine = await open({ maxModelLen: 32 });
  const request = engine.generate({ tokens: promptOf(20), temperature: 0, ignoreEos: true });
  engine.runUntilIdle();
  assert.equal(firstOf(request).tokens.length, 12);
  assert.equal(firstOf(request).finishReason, "length");
});

Deno.test("The best priority goes first, then the order of arrival", async () => {
  using engine = await open({ maxNumSeqs: 1 });
  const order: string[] = [];
  const requests = ["b", "c", "a"].map((name, i) => ({
    name,
    request: engine.generate(greedy(4, { maxTokens: 1, priority: [1, 1, 0][i]! })),
  }));
  while (order.length < 3) {
    engine.step();
    for (const { name, request } of requests) {
      if (request.ended && !order.includes(name)) order.push(name);
    }
  }
  assert.deepEqual(order, ["a", "b", "c"]);
});

Deno.test("A caller's short prompt begins beside another's long ones, which get the same tokens", async () => {
  using engine = await open({ maxNumBatchedTokens: 32, enablePrefixCaching: false });
  const long = greedy(200, { caller: "long", maxTokens: 4 });
  const alone = engine.generate(long);
  engine.runUntilIdle();
  const others = [1, 2, 3].map(() => engine.generate(long));
  engine.step();
  const hello = engine.generate(greedy(5, { caller: "hello" }));
  engine.step();
  assert.equal(firstOf(hello).tokens.length, 1);
  assert.equal(firstOf(others[0]!).tokens.length, 0);
  engine.runUntilIdle();
  for (const other of others) assert.deepEqual(firstOf(other).tokens, firstOf(alone).tokens);
});

Deno.test("A full queue refuses, and says when to come back", async () => {
  using engine = await open({ maxNumSeqs: 1, maxQueuedRequests: 2 });
  // One that will run, and two that wait for it.
  for (let i = 0; i < 3; i++) engine.generate(greedy(4));
  assert.throws(
    () => engine.generate(greedy(4)),
    (error: { retryAfterMs: unknown; code: string }) => {
      assert.equal(error.code, "queue_full");
      assert.equal(typeof error.retryAfterMs, "number");
      return true;
    },
  );
  engine.runUntilIdle();
  engine.generate(greedy(4));
});

Deno.test("A queue full of tokens refuses", async () => {
  using engine = await open({ maxModelLen: 64, maxQueuedTokens: 64 });
  engine.generate(greedy(40));
  assert.throws(() => engine.generate(greedy(40)), { code: "queue_full" });
});

Deno.test("A deadline that has passed ends the request", async () => {
  using engine = await open();
  const request = engine.generate(greedy(40, { deadlineMs: 1 }));
  await new Promise((resolve) => setTimeout(resolve, 5));
  engine.runUntilIdle();
  assert.equal(firstOf(request).finishReason, "deadline");
  assert.equal(engine.stats().numFinished.deadline, 1);
  assert.equal(engine.stats().kvBlocks.held, 0);
});

Deno.test("Different salts share no block", async () => {
  using engine = await open();
  const cachedWith = (salt: string) => {
    const request = engine.generate(greedy(64, { salt }));
    engine.runUntilIdle();
    return request.numCachedTokens;
  };
  assert.deepEqual(["a", "b", "a", "b"].map(cachedWith), [0, 0, 48, 48]);
});

for (const keep of [9, 10, 11]) {
  Deno.test(`Tokens after a stop text are not in the prefix cache: ${5 + keep} count`, async () => {
    using engine = await open({ pipelineDepth: 2 });
    const whole = engine.generate(greedy(5, { maxTokens: 60 }));
    const ends: number[] = []; // length of the text after each token
    while (!whole.ended) {
      engine.step();
      ends[firstOf(whole).tokens.length] ??= firstOf(whole).text.length;
    }
    const { text, tokens } = firstOf(whole);
    const end = ends[keep]!;
    const stop = Array.from({ length: end }, (_, n) => text.slice(end - n - 1, end))
      .find((candidate) => text.indexOf(candidate) === end - candidate.length)!;
    const stopped = engine.generate(greedy(5, { maxTokens: 60, stop: [stop], salt: "s" }));
    engine.runUntilIdle();
    assert.equal(firstOf(stopped).tokens.length, keep);
    // The first block of 16 holds 5 of the prompt and 11 of the output.
    const next = engine.generate(greedy(0, { tokens: [...promptOf(5), ...tokens], salt: "s" }));
    engine.runUntilIdle();
    assert.ok(next.numCachedTokens <= 5 + keep, `${next.numCachedTokens} tokens were warm`);
  });
}

Deno.test("Text is what decode() makes of prompt and output", async () => {
  using engine = await open();
  const { tokenizer } = engine.model;
  for (const seed of [1, 2, 3, 4, 5]) {
    const tokens = promptOf(6, seed);
    const request = engine.generate({ tokens, maxTokens: 100, seed, ignoreEos: true });
    engine.runUntilIdle();
    const output = firstOf(request);
    const whole = tokenizer.decode([...tokens, ...output.tokens], { skipSpecialTokens: true });
    assert.ok(whole.endsWith(output.text));
    assert.ok(output.text.length > 20);
  }
});

Deno.test("A closed ManualEngine refuses", async () => {
  const engine = await open();
  engine.close();
  engine.close(); // harmless
  assert.throws(() => engine.step(), { code: "closing" });
  assert.throws(() => engine.generate(greedy(4)), { code: "closing" });
});
