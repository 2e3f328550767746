/**
 * Every family on the engine against Transformers: tokens, logprobs and prompt logprobs of the tiny
 * checkpoints in tests/data, whose README says how the goldens were made.
 *
 * @module
 */
import assert from "node:assert/strict";
import { Engine } from "../../engine/engine.ts";
import type { EngineOptions, PositionLogprobs } from "../../engine/types.ts";
import { loadModel } from "../../model/load.ts";
import type { Model, ModelSpec, TensorRole } from "../../model/spec.ts";
import { testOnCuda } from "../test_device.ts";
import { checkpointNames, checkpointPath, readGolden } from "./checkpoints.ts";

/** The reference is within 2e-5 of float64; one rounding of RoPE's frequencies makes up to 7e-5. */
const TOLERANCE = 1e-4;
/**
 * Tensor cores take 16-bit inputs. Int8 activations, whose rounding is 25 times that of fp16 and 3
 * times that of bf16, move these checkpoints' logprobs by 0.07 in the root mean square and by 0.26 at
 * most (measured on the CPU, llama-gguf-*; an fp16 KV cache alone by 0.0015 and 0.008): about four
 * times what follows from that is allowed. fp32 checkpoints stay exact.
 */
const HALF_TOLERANCES: Readonly<Record<string, { readonly rms: number; readonly most: number }>> = {
  fp32: { rms: TOLERANCE, most: TOLERANCE },
  fp16: { rms: 0.012, most: 0.05 },
  bf16: { rms: 0.09, most: 0.4 },
};
/** What a mistake must move at least for a golden to be worth its place. */
const MIN_CHANGE = 0.05;
const NEW_TOKENS = 24;

type TokenAndLogprob = readonly [token: number, logprob: number];

interface GoldenPrompt {
  readonly length: number;
  readonly tokens: readonly number[];
  readonly greedy: readonly number[];
  readonly logprobs: readonly number[];
  /** The five likeliest of the first four steps. */
  readonly top: readonly (readonly TokenAndLogprob[])[];
  readonly prompt_logprobs: readonly (readonly [position: number, logprob: number])[];
}

interface Golden {
  readonly file: string;
  /** Mistakes made on the reference, and how far each moves a logprob. */
  readonly mutations: Readonly<Record<string, number>>;
  readonly prompts: readonly GoldenPrompt[];
}

interface Continuation {
  readonly tokens: readonly number[];
  readonly logprobs: readonly PositionLogprobs[];
  readonly promptLogprobs: readonly (PositionLogprobs | undefined)[];
}

const goldenOf = (name: string) => readGolden<Golden>(name, "golden.json");
const modelOf = (name: string) => loadModel(`${checkpointPath(name)}/${goldenOf(name).file}`);

for (const name of checkpointNames) {
  Deno.test(`Engine agrees with Transformers on ${name}`, () =>
    compareWithGolden(name, { device: "cpu" }));
  Deno.test(`Engine without vector instructions agrees with Transformers on ${name}`, () =>
    compareWithGolden(name, {
      device: "cpu",
      isa: "generic",
      maxNumBatchedTokens: 64,
      blockSize: 32,
    }));
  testOnCuda(
    `Engine agrees with Transformers on ${name}`,
    () => compareWithGolden(name, { device: "cuda", maxNumBatchedTokens: 100 }),
  );
  testOnCuda(`Engine in 16 bits comes near Transformers on ${name}`, () => compareHalf(name));
  testOnCuda(
    `Engine in 16 bits scores its own text as it made it on ${name}`,
    () => scoresItself(name),
  );

  Deno.test(`Goldens of ${name} fail when a part of the model is missing`, async () => {
    const model = await modelOf(name);
    const mistakes = mistakesOf(model);
    assert.ok(mistakes.length > 0);
    for (const [mistake, wrong] of mistakes) {
      await using engine = await openExact(wrong);
      const differences = goldenOf(name).prompts.map(async (prompt) =>
        largestDifference(prompt, await score(engine, prompt)).difference
      );
      const change = Math.max(...await Promise.all(differences));
      assert.ok(change > MIN_CHANGE, `${name}, ${mistake}: logprobs move by ${change} only`);
    }
  });

  Deno.test(`Goldens of ${name} know every mistake that could be made on it`, async () => {
    const { spec, tensors } = await modelOf(name);
    const { mutations } = goldenOf(name);
    for (const [mutation, change] of Object.entries(mutations)) {
      assert.ok(change > MIN_CHANGE, `${name}, ${mutation}: ${change}`);
    }
    const expected = ["K shifted by one token", "V shifted by one token"];
    if (spec.position === "rope") expected.push("no RoPE", "K rotated one position further");
    if (spec.position === "learned") expected.push("no position embedding");
    if (spec.slidingWindow > 0) expected.push("no sliding window");
    for (const mutation of expected) assert.ok(mutation in mutations, `${name}: ${mutation}`);

    const roles = [...new Set(tensors.map((tensor) => tensor.role))];
    const left = (pattern: RegExp) => Object.keys(mutations).filter((key) => pattern.test(key));
    const norms = roles.filter((role) => role.endsWith("norm_weight"));
    assert.equal(left(/^no .*norm$/).length, norms.length, `${name} has ${norms}`);
    // Where there is no RoPE a bias of K changes nothing: softmax takes it away.
    const invisible = spec.position === "rope" ? undefined : "k_bias";
    const biases = roles.filter((role) => role.endsWith("_bias") && role !== invisible);
    assert.equal(left(/^no .*\.bias$/).length, biases.length, `${name} has ${biases}`);
  });
}

async function compareWithGolden(name: string, options: EngineOptions): Promise<void> {
  const { prompts } = goldenOf(name);
  assert.ok(prompts.length >= 8 && prompts.at(-1)!.length >= 600);
  await using engine = await openExact(await modelOf(name), options);
  // All at once: prompts and decodes share steps, and the longest prompt takes several.
  await Promise.all(prompts.map(async (prompt) => {
    const what = `${name}, prompt of ${prompt.length}`;
    const continuation = await continuePrompt(engine, prompt.tokens);
    assert.deepEqual(continuation.tokens, prompt.greedy, what);
    const { difference, where } = largestDifference(prompt, continuation);
    assert.ok(difference <= TOLERANCE, `${what}: ${where} differs by ${difference}`);
  }));
}

function openExact(model: Model, options: EngineOptions = {}): Promise<Engine> {
  return Engine.open(model, {
    device: "cpu",
    activationDtype: "fp32",
    maxModelLen: 640,
    ...options,
  });
}

/** The golden's own tokens, whatever 16 bits would have chosen. */
async function compareHalf(name: string): Promise<void> {
  await using engine = await Engine.open(await modelOf(name), { device: "cuda", maxModelLen: 640 });
  const { activationDtype } = engine.stats();
  const allowed = HALF_TOLERANCES[activationDtype]!;
  const differences: number[] = [];
  await Promise.all(
    goldenOf(name).prompts.map(async (prompt) => {
      const scored = await score(engine, prompt);
      const { difference, where } = largestDifference(prompt, scored);
      const what = `${name}, ${activationDtype}, prompt of ${prompt.length}: ${where}`;
      assert.ok(difference <= allowed.most, `${what} differs by ${difference}`);
      prompt.logprobs.forEach((logprob, i) =>
        differences.push(scored.logprobs[i]!.logprob - logprob)
      );
    }),
  );
  const squares = differences.reduce((sum, difference) => sum + difference ** 2, 0);
  const rms = Math.sqrt(squares / differences.length);
  assert.ok(rms <= allowed.rms, `${name}, ${activationDtype}: root mean square is ${rms}`);
}

/** What decodes said of their tokens is, bit by bit, what prefilling the same text says. */
async function scoresItself(name: string): Promise<void> {
  await using engine = await Engine.open(await modelOf(name), {
    device: "cuda",
    maxModelLen: 640,
    enablePrefixCaching: false,
  });
  await Promise.all(
    goldenOf(name).prompts.map(async (prompt) => {
      const made = await continuePrompt(engine, prompt.tokens);
      const scored = await score(engine, { ...prompt, greedy: made.tokens });
      assert.deepEqual(
        scored.logprobs.map(({ token, logprob }) => ({ token, logprob })),
        made.logprobs.map(({ token, logprob }) => ({ token, logprob })),
        `${name}, prompt of ${prompt.length}`,
      );
    }),
  );
}

/** The greedy continuation, past the end of text. */
async function continuePrompt(engine: Engine, tokens: readonly number[]): Promise<Continuation> {
  const run = engine.generate({
    tokens,
    maxTokens: NEW_TOKENS,
    temperature: 0,
    ignoreEos: true,
    logprobs: 5,
    promptLogprobs: 0,
  });
  const { sequences, promptLogprobs = [] } = await run.result();
  const { tokens: output, logprobs = [] } = sequences[0]!;
  return { tokens: output, logprobs: [...logprobs], promptLogprobs };
}

/** What a model says of the golden's own tokens, whatever it would have chosen itself. */
async function score(engine: Engine, prompt: GoldenPrompt): Promise<Continuation> {
  const run = engine.generate({
    tokens: [...prompt.tokens, ...prompt.greedy],
    maxTokens: 0,
    promptLogprobs: 0,
  });
  const { promptLogprobs: scored = [] } = await run.result();
  return {
    tokens: prompt.greedy,
    logprobs: scored.slice(prompt.length).map((position) => position!),
    promptLogprobs: scored.slice(0, prompt.length),
  };
}

/** The worst logprob; NaN and missing ones are worse than any. */
function largestDifference(prompt: GoldenPrompt, actual: Continuation) {
  let worst = { difference: 0, where: "nothing" };
  const compare = (value: number | undefined, expected: number, where: string) => {
    const difference = Math.abs((value ?? NaN) - expected);
    if (!(difference <= worst.difference)) worst = { difference, where };
  };
  for (const [position, logprob] of prompt.prompt_logprobs) {
    const scored = actual.promptLogprobs[position];
    assert.equal(scored?.token, prompt.tokens[position], `prompt logprob ${position}`);
    compare(scored?.logprob, logprob, `prompt logprob ${position}`);
  }
  prompt.logprobs.forEach((logprob, step) => {
    compare(actual.logprobs[step]?.logprob, logprob, `logprob of step ${step}`);
  });
  prompt.top.forEach((top, step) => {
    const likeliest = actual.logprobs[step]?.top ?? [];
    if (likeliest.length === 0) return; // a scored continuation has none
    top.forEach(([token, logprob], rank) => {
      const found = likeliest.find((candidate) => candidate.token === token);
      compare(found?.logprob, logprob, `rank ${rank} of step ${step}`);
    });
  });
  return worst;
}

/** Models with one thing wrong that can be taken out of the description alone. */
function mistakesOf(model: Model): (readonly [string, Model])[] {
  const { spec, tensors } = model;
  const mistakes: (readonly [string, Model])[] = [];
  const change = (mistake: string, changes: Partial<ModelSpec>) =>
    mistakes.push([mistake, { ...model, spec: { ...spec, ...changes } }]);
  if (spec.position === "rope") {
    change("without RoPE", { ropeInvFreq: new Float32Array(spec.ropeInvFreq.length) });
    const ropeStyle = spec.ropeStyle === "half" ? "interleaved" : "half";
    change("RoPE of other pairs", { ropeStyle });
  } else {
    const maxPosition = spec.maxPosition + spec.positionOffset; // the same rows in all
    change("positions without their offset", { positionOffset: 0, maxPosition });
  }
  if (spec.slidingWindow > 0) {
    change("without its window", { slidingWindow: 0 });
    change("with a window one too long", { slidingWindow: spec.slidingWindow + 1 });
  }
  const roles = new Set(tensors.map((tensor) => tensor.role));
  for (const role of roles) {
    if (!role.endsWith("_bias") || role.endsWith("norm_bias")) continue;
    if (role === "k_bias" && spec.position !== "rope") continue;
    mistakes.push([`without ${role}`, {
      ...model,
      tensors: tensors.filter((tensor) => tensor.role !== role),
    }]);
  }
  mistakes.push(["norms exchanged", exchanged(model, "attention_norm", "mlp_norm")]);
  if (roles.has("q_norm_weight")) {
    mistakes.push(["norms of Q and K exchanged", exchanged(model, "q_norm", "k_norm")]);
  }
  return mistakes;
}

/** The model with the weights of two kinds of norm in each other's place. */
function exchanged(model: Model, one: string, other: string): Model {
  const weights: Readonly<Record<string, TensorRole>> = {
    [`${one}_weight`]: `${other}_weight` as TensorRole,
    [`${other}_weight`]: `${one}_weight` as TensorRole,
  };
  return {
    ...model,
    tensors: model.tensors.map((tensor) => ({
      ...tensor,
      role: weights[tensor.role] ?? tensor.role,
    })),
  };
}
