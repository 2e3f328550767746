/**
 * Runs models on each path of this machine and keeps the exact bits of what they answer. Uses nothing
 * but what `mod.ts` and `engine/testing.ts` export, so that this folder also runs in older checkouts.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { ManualEngine, type ManualRequest } from "../../engine/testing.ts";
import {
  defaultModelPath,
  type EngineOptions,
  listDevices,
  loadModel,
  type Model,
} from "../../mod.ts";
import {
  type GoldenPrompt,
  goldenRequests,
  mixedRequestsOfAllKinds,
  type NamedRequest,
  TINY_BLOCKS,
  tinyRequests,
} from "./requests.ts";

const DATA = new URL("../data/", import.meta.url);

/** One way that this machine computes: its numbers are its own. */
export interface NumericPath {
  /** Device, instruction path or compute capability, activations: `cpu-avx2-int8`, `cuda-9.0-fp32`. */
  readonly name: string;
  readonly options: EngineOptions;
}

/** What one request answered, on one path. */
export interface BitsLine {
  readonly path: string;
  /** As the engine chose it. */
  readonly activation: string;
  readonly model: string;
  readonly request: string;
  /** Of each sequence. */
  readonly tokens: readonly (readonly number[])[];
  /** Of each sequence's tokens: 8 hexadecimal digits a float32. */
  readonly logprobs: readonly string[];
  /** Of the prompt's tokens but the first, where they were asked for. */
  readonly prompt_logprobs: string;
  /** Of all this and of the likeliest tokens of every position. */
  readonly sha256: string;
}

/** What to run: the tiny checkpoints, the default model's goldens, its mixed requests. */
export type Part = "tiny" | "default" | "mixed";

/** Worst to best; a CPU that has one has those before it. */
const ISAS = ["generic", "avx2", "avx512", "amx"] as const;

/** The paths of this machine, those of the CPU first. */
export function pathsHere(library?: string): NumericPath[] {
  return listDevices(library).flatMap(({ kind, index, capability }) => {
    if (kind === "cuda") {
      if (index > 0) return []; // the same kernels
      return (["fp32", "auto"] as const).map((activationDtype): NumericPath => ({
        name: `cuda-${capability}-${activationDtype}`,
        options: { device: "cuda", activationDtype },
      }));
    }
    const best = ISAS.findIndex((isa) => isa === capability);
    return ISAS.slice(0, best + 1).flatMap((isa) =>
      (["fp32", "int8"] as const).map((activationDtype): NumericPath => ({
        name: `cpu-${isa}-${activationDtype}`,
        options: { device: "cpu", isa, activationDtype },
      }))
    );
  });
}

/** One part's answers on one path. */
export async function collectBits(
  part: Part,
  path: NumericPath,
  library?: string,
): Promise<BitsLine[]> {
  const run = new Run(path, library);
  if (part === "tiny") {
    for (const name of tinyCheckpoints()) await runTiny(run, name);
  } else {
    const model = await loadModel(await defaultModelPath());
    await (part === "default" ? runDefault(run, model) : runMixed(run, model));
  }
  return run.lines;
}

/** Every checkpoint of tests/data, by name. */
function tinyCheckpoints(): string[] {
  return [...Deno.readDirSync(DATA)]
    .filter(({ name }) => exists(new URL(`${name}/golden.json`, DATA)))
    .map(({ name }) => name)
    .sort();
}

function exists(file: URL): boolean {
  try {
    return Deno.statSync(file).isFile;
  } catch {
    return false;
  }
}

async function runTiny(run: Run, name: string): Promise<void> {
  const golden: { readonly file: string; readonly prompts: readonly GoldenPrompt[] } = JSON.parse(
    await Deno.readTextFile(new URL(`${name}/golden.json`, DATA)),
  );
  const model = await loadModel(new URL(`${name}/${golden.file}`, DATA).pathname);
  const numThreads = 1; // more have nothing to do but to wait for each other
  await run.together(name, model, goldenRequests(golden.prompts), {
    numThreads,
    maxModelLen: 640,
    maxNumBatchedTokens: 256, // the longest prompt takes several steps
    numKvBlocks: 160,
  });
  const requests = tinyRequests(golden.prompts.find(({ tokens }) => tokens.length === 33)!);
  await run.alone(name, model, requests, { numThreads, maxModelLen: 256, numKvBlocks: 64 });
  await run.together(name, model, suffixed(requests, "together"), {
    numThreads,
    maxModelLen: 256,
    maxNumBatchedTokens: 48,
    numKvBlocks: TINY_BLOCKS,
  }, { preempts: true });
}

/** Plain C++ takes some seconds for each of the default model's prompts. */
const GENERIC_GOLDENS = 2;

async function runDefault(run: Run, model: Model): Promise<void> {
  const { rows }: {
    readonly rows: readonly {
      readonly prompt_token_ids: readonly number[];
      readonly output_token_ids: readonly number[];
    }[];
  } = JSON.parse(await Deno.readTextFile(new URL("smollm2-greedy.json", DATA)));
  const prompts = rows.map((row) => ({
    tokens: row.prompt_token_ids,
    greedy: row.output_token_ids,
  }));
  const isGeneric = run.path.options.isa === "generic";
  const some = isGeneric ? prompts.slice(0, GENERIC_GOLDENS) : prompts;
  await run.together("default", model, goldenRequests(some), {
    maxModelLen: 256,
    numKvBlocks: 200,
  });
}

/** On a CPU without prompts of 1000 and more tokens, and not in plain C++: each takes too long. */
async function runMixed(run: Run, model: Model): Promise<void> {
  const { device, isa } = run.path.options;
  if (isa === "generic") return;
  const all = mixedRequestsOfAllKinds();
  const requests = device === "cuda"
    ? all
    : all.filter(({ request }) => request.tokens!.length < 1000);
  const options: EngineOptions = { maxModelLen: 3104, maxNumSeqs: 32, numKvBlocks: 200 };
  await run.alone("default", model, requests, options);
  await run.together("default", model, suffixed(requests, "together"), {
    ...options,
    maxNumBatchedTokens: 256,
    ...(device === "cuda" ? {} : { maxModelLen: 800, numKvBlocks: 60 }),
  }, { preempts: true });
}

function suffixed(requests: readonly NamedRequest[], suffix: string): NamedRequest[] {
  return requests.map(({ name, request }) => ({ name: `${name}, ${suffix}`, request }));
}

/** Collects the lines of one path. */
class Run {
  readonly lines: BitsLine[] = [];

  constructor(readonly path: NumericPath, readonly library: string | undefined) {}

  /** One after the other, with nothing warm. */
  async alone(
    name: string,
    model: Model,
    requests: readonly NamedRequest[],
    options: EngineOptions,
  ): Promise<void> {
    using engine = await this.#open(model, { ...options, enablePrefixCaching: false });
    for (const { name: request, request: values } of requests) {
      const running = engine.generate(values);
      engine.runUntilIdle();
      this.#keep(engine, name, request, running);
    }
  }

  /**
   * All at once. With `preempts` those that matter more come when the others hold their blocks, which
   * they must give up: less than one preemption is an error, for then nothing of it was compared.
   */
  async together(
    name: string,
    model: Model,
    requests: readonly NamedRequest[],
    options: EngineOptions,
    { preempts = false }: { readonly preempts?: boolean } = {},
  ): Promise<void> {
    using engine = await this.#open(model, options);
    const isFirst = ({ request }: NamedRequest) => (request.priority ?? 0) === 0;
    const running = new Map<string, ManualRequest>();
    const start = (some: readonly NamedRequest[]) => {
      for (const { name, request } of some) running.set(name, engine.generate(request));
    };
    start(requests.filter((request) => !preempts || !isFirst(request)));
    if (preempts) {
      while (engine.stats().kvBlocks.held < options.numKvBlocks! / 2 && engine.step() > 0);
      start(requests.filter(isFirst));
    }
    engine.runUntilIdle();
    const { numPreemptions } = engine.stats();
    if (preempts && numPreemptions === 0) {
      throw new Error(`Cannot compare preempted requests: ${name} had none in ${this.path.name}`);
    }
    for (const { name: request } of requests) {
      this.#keep(engine, name, request, running.get(request)!);
    }
  }

  #open(model: Model, options: EngineOptions): Promise<ManualEngine> {
    return ManualEngine.open(model, {
      ...this.path.options,
      ...options,
      ...(this.library === undefined ? {} : { library: this.library }),
    });
  }

  #keep(engine: ManualEngine, model: string, request: string, answer: ManualRequest): void {
    if (answer.error !== undefined) throw answer.error;
    this.lines.push({
      activation: engine.stats().activationDtype,
      logprobs: answer.outputs.map(({ logprobs }) =>
        hexOf([...logprobs ?? []].map((position) => position.logprob))
      ),
      model,
      path: this.path.name,
      prompt_logprobs: hexOf((answer.promptLogprobs ?? []).slice(1).map((it) => it!.logprob)),
      request,
      sha256: digestOf(answer),
      tokens: answer.outputs.map(({ tokens }) => tokens),
    });
  }
}

/** Bits of float32 values, 8 hexadecimal digits each. */
function hexOf(values: readonly number[]): string {
  const bits = new Uint32Array(Float32Array.from(values).buffer);
  return Array.from(bits, (word) => word.toString(16).padStart(8, "0")).join("");
}

/** Over lengths, tokens and float32 bits of everything that the request answered. */
function digestOf({ outputs, promptLogprobs }: ManualRequest): string {
  const hash = createHash("sha256");
  const positions = (some: ManualRequest["promptLogprobs"]) => {
    hash.update(`${some?.length ?? "none"};`);
    for (const position of some ?? []) {
      if (position === undefined) continue; // the prompt's first
      const all = [position, ...position.top];
      hash.update(`${all.map(({ token }) => token)} ${hexOf(all.map((it) => it.logprob))};`);
    }
  };
  positions(promptLogprobs);
  for (const { tokens, logprobs } of outputs) {
    hash.update(`${tokens};`);
    positions(logprobs && [...logprobs]);
  }
  return hash.digest("hex");
}
