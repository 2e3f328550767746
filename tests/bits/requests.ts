/**
 * What is asked of each model, so that its bits can be compared: the goldens' prompts, and requests of
 * every kind that share steps, warm blocks and too few of them. The same in every process and checkout.
 *
 * @module
 */
import type { GenerateRequest } from "../../mod.ts";

/** A request under a name that is its own within the model. */
export interface NamedRequest {
  readonly name: string;
  readonly request: GenerateRequest;
}

/** What this file reads of a golden prompt; tests/data/README.md describes the files. */
export interface GoldenPrompt {
  readonly tokens: readonly number[];
  /** What a right engine answers. */
  readonly greedy: readonly number[];
}

/** Numbers that look random, the same for the same seed. */
type Random = (below: number) => number;

/** Numerical Recipes' LCG: enough to mix lengths and tokens, and the same everywhere. */
function lcg(seed: number): Random {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor(state / 2 ** 32 * below);
  };
}

/** Each prompt continued greedily, with the log probabilities of prompt and output. */
export function goldenRequests(prompts: readonly GoldenPrompt[]): NamedRequest[] {
  return prompts.map(({ tokens, greedy }, i) => ({
    name: `golden ${String(i).padStart(2, "0")}`,
    request: {
      tokens,
      maxTokens: greedy.length,
      temperature: 0,
      ignoreEos: true,
      logprobs: 5,
      promptLogprobs: 2,
    },
  }));
}

/**
 * Requests of every kind for a tiny checkpoint. What is banned is what the golden says would be chosen.
 * Together they need about three times the blocks of {@linkcode TINY_BLOCKS}.
 */
export function tinyRequests(golden: GoldenPrompt): NamedRequest[] {
  const random = lcg(1);
  const promptOf = (length: number) => Array.from({ length }, () => 10 + random(290));
  const shared = promptOf(48);
  const [first, second, third, fourth] = golden.greedy as [number, number, number, number];
  const long = { maxTokens: 70, logprobs: 3, ignoreEos: true };
  return [
    ["greedy", { tokens: [...shared, 20], temperature: 0, promptLogprobs: 1 }],
    ["top-p", { tokens: [...shared, 21, 22], temperature: 0.8, topP: 0.9 }],
    ["top-k of three sequences", { tokens: promptOf(17), temperature: 1.5, topK: 5, n: 3 }],
    ["min-p", { tokens: promptOf(33), temperature: 1.2, minP: 0.05, salt: "another tenant" }],
    ["repetition penalty", { tokens: promptOf(30), temperature: 0, repetitionPenalty: 1.3 }],
    ["output penalties", {
      tokens: promptOf(1),
      temperature: 0.7,
      frequencyPenalty: 0.5,
      presencePenalty: 0.4,
    }],
    ["biases", {
      tokens: golden.tokens,
      temperature: 1,
      logitBias: new Map([[first, -100], [second, 3.5], [third, -2.25]]),
    }],
    ["bad words", {
      tokens: golden.tokens,
      temperature: 0,
      badWords: [[second], [first, third], [third, fourth]],
    }],
    ["everything", {
      tokens: [...shared, ...promptOf(9)],
      temperature: 0.9,
      topP: 0.95,
      topK: 40,
      minP: 0.01,
      repetitionPenalty: 1.1,
      presencePenalty: -0.2,
      logitBias: new Map([[first, 1]]),
      badWords: [[fourth]],
      stopTokenIds: [third],
      minTokens: 60,
      n: 2,
    }],
    ["long prompt", { tokens: promptOf(160), temperature: 0, priority: 1, promptLogprobs: 0 }],
  ].map(([name, request], seed) => ({
    name: name as string,
    request: { ...long, seed, ...request as GenerateRequest },
  }));
}

/** KV blocks in which {@linkcode tinyRequests} have to give way to each other. */
export const TINY_BLOCKS = 26;

/** Thirty-two requests of mixed length and kind for the default model: others for another seed. */
export function mixedRequests(seed: number): GenerateRequest[] {
  const random = lcg(seed);
  const lengths = [1, 2, 15, 16, 17, 31, 33, 64, 255, 256, 257, 500, 1000, 2000, 3000];
  const shared = Array.from({ length: 700 }, () => 1000 + random(40_000));
  return Array.from({ length: 32 }, (_, i) => {
    const length = lengths[i] ?? 1 + random(400);
    const fresh = Array.from({ length }, () => 1000 + random(40_000));
    const prefix = shared.slice(0, random(length));
    return {
      // Every third prompt begins like others, so that warm blocks take part.
      tokens: i % 3 === 0 ? [...prefix, ...fresh].slice(0, length) : fresh,
      maxTokens: 16 + random(64),
      temperature: i % 2 === 0 ? 0 : 0.8,
      topP: i % 4 === 1 ? 0.9 : 1,
      seed: i,
      logprobs: 2,
      ignoreEos: true,
      priority: length < 500 ? 100 : 0, // a second of waiting makes up for 1
      salt: i % 5 === 0 ? "another tenant" : "",
    };
  });
}

/** {@linkcode mixedRequests} where every short one also has penalties, biases, bad words or n > 1. */
export function mixedRequestsOfAllKinds(): NamedRequest[] {
  const random = lcg(2);
  const token = () => 1000 + random(40_000);
  const kinds: (() => Partial<GenerateRequest>)[] = [
    () => ({ repetitionPenalty: 1.2 }),
    () => ({ frequencyPenalty: 0.6, presencePenalty: -0.3 }),
    () => ({ logitBias: new Map([[token(), 12], [token(), 11.5], [2, -100]]) }),
    () => ({ badWords: [[token()], [2], [28, 198]], logitBias: new Map([[token(), 10]]) }),
    () => ({ n: 2 }),
    () => ({ minP: 0.02, topK: 50, promptLogprobs: 1 }),
  ];
  return mixedRequests(1).map((request, i) => ({
    name: `mixed ${String(i).padStart(2, "0")}`,
    request: request.priority === 0 ? request : { ...request, ...kinds[i % kinds.length]!() },
  }));
}
