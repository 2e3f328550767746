/**
 * What the server says while it starts: how far it is, and what it became.
 *
 * @module
 */
import { EngineError, ruleSentence } from "../../engine/types.ts";
import { ENGINE_OPTIONS } from "../../ffi/engine_options.ts";
import type { Field } from "../../ffi/field.ts";
import { modelCacheFolder } from "../../model/cache_folders.ts";
import { flagOf } from "./flags.ts";
import type { Instance } from "./instance.ts";
import { exit, standardError, standardOutput } from "./standard_output.ts";

/** One line on stderr, and exit code 1. */
export function fail(message: string): Promise<never> {
  standardError.line(`✗ ${message}`);
  return exit(1);
}

/** Where callers find it; IPv6 addresses stand in brackets. */
export function addressOf(host: string, port: number): string {
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** What ended the start, in one line; an option is called by its flag. */
export function reasonOf(error: Error): string {
  if (error instanceof EngineError) return withFlag(error);
  if (!(error instanceof Deno.errors.NotCapable)) return error.message;
  return `Cannot open engine: ${error.message} (the serve task in deno.json names what it allows)`;
}

function withFlag({ field, rule, value, message }: EngineError): string {
  const option = Object.entries<Field>(ENGINE_OPTIONS).find(([name]) => name === field);
  if (option === undefined || rule === undefined) return message;
  return ruleSentence("Cannot open engine", { field: `--${flagOf(...option)}`, rule, value });
}

/** What the serve task in `deno.json` allows; `*` is all of a kind. */
function named(): readonly (readonly [text: string, descriptor: Deno.PermissionDescriptor])[] {
  const folder = cacheFolder();
  return [
    ["ffi build/libhearth.so", { name: "ffi", path: "build/libhearth.so" }],
    ["net *", { name: "net" }],
    ["read *", { name: "read" }],
    ...folder === undefined ? [] : [[`write ${folder}`, { name: "write", path: folder }] as const],
    ["env HEARTH_*", { name: "env", variable: "HEARTH_MODEL" }],
    ["env HF_*", { name: "env", variable: "HF_HOME" }],
    ["run python3", { name: "run", command: "python3" }],
  ];
}

/** Undefined without a HOME, as services have none: a model that is named needs no cache. */
function cacheFolder(): string | undefined {
  try {
    return modelCacheFolder();
  } catch {
    return undefined;
  }
}

/** What this process may do: all, or the named parts. */
export function permissions(): string {
  const granted = (one: Deno.PermissionDescriptor) =>
    Deno.permissions.querySync(one).state === "granted";
  const kinds = ["ffi", "net", "read", "write", "env", "run"] as const;
  if (kinds.every((name) => granted({ name }))) return "all";
  return named().filter(([, descriptor]) => granted(descriptor)).map(([text]) => text).join(", ");
}

/** A line whenever the state changes and, while one takes long, every few seconds. */
export function showProgress(instance: Instance, everyMs = 2000): { stop(): void } {
  let last = "starting";
  let lastTime = performance.now();
  const timer = setInterval(() => {
    const { state, progress } = instance.model.readiness();
    const { what = "the model", total } = instance.model.opening;
    const now = performance.now();
    const step = state === "fetching" ? `fetching ${what}` : `${state} the model`;
    if (step === last && now - lastTime < everyMs) return;
    last = step;
    lastTime = now;
    if (state !== "fetching" && state !== "reading" && state !== "loading") return;
    const size = state === "fetching" && total > 0 ? ` of ${megabytes(total)}` : "";
    standardOutput.line(`${step}${progress > 0 ? ` ${Math.floor(progress * 100)} %` : ""}${size}`);
  }, 200);
  return { stop: () => clearInterval(timer) };
}

/** Address, device, kernels, memory, times and a first request to try. */
export function showReady(instance: Instance, address: string, startMs: number): void {
  const engine = instance.model.engine!;
  const stats = engine.stats();
  const model = instance.model.names[0]!;
  const kvTokens = stats.kvBlocks.total * stats.blockSize;
  const key = instance.options.apiKeys.length > 0 ? " -H 'authorization: Bearer KEY'" : "";
  const body = JSON.stringify({
    model,
    messages: [{ role: "user", content: "What is gravity?" }],
    temperature: 0,
  });
  standardOutput.line([
    `ready after ${(startMs / 1000).toFixed(2)} s (weights ${stats.loadSeconds.toFixed(2)} s)`,
    `  model: ${model} (${engine.model.architecture})`,
    ...samplingLines(instance),
    ...engine.describe().trim().split("\n").map((line) => `  ${line}`),
    `  memory: weights ${megabytes(stats.weightsBytes)}, KV cache ${megabytes(stats.kvBytes)} ` +
    `(${kvTokens} tokens), workspace ${megabytes(stats.workspaceBytes)}`,
    `  address: ${address}`,
    "",
    `curl ${address}/v1/chat/completions${key} -H 'content-type: application/json' \\`,
    `  -d '${body}'`,
  ].join("\n"));
}

/** What a request that says nothing gets, where that is the model's own. */
function samplingLines({ model, options }: Instance): string[] {
  const defaults = Object.entries(model.engine!.model.samplingDefaults);
  if (options.generationConfig !== "auto" || defaults.length === 0) return [];
  return [`  sampling: ${defaults.map(([field, value]) => `${field} ${value}`).join(", ")}`];
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(0)} MB`;
}
