/**
 * What the server says while it starts: how far it is, and what it became.
 *
 * @module
 */
import type { Instance } from "./instance.ts";

/** One line on stderr, and exit code 1. */
export function fail(message: string): never {
  console.error(`✗ ${message}`);
  Deno.exit(1);
}

/** A line whenever the state changes and, while one takes long, every few seconds. */
export function showProgress(instance: Instance, everyMs = 2000): { stop(): void } {
  let last = "starting";
  let lastTime = performance.now();
  const timer = setInterval(() => {
    const { state, progress } = instance.readiness();
    const now = performance.now();
    if (state === last && now - lastTime < everyMs) return;
    last = state;
    lastTime = now;
    if (state === "fetching" || state === "reading" || state === "loading") {
      console.log(`${state} the model${progress > 0 ? ` ${Math.floor(progress * 100)} %` : ""}`);
    }
  }, 200);
  return { stop: () => clearInterval(timer) };
}

/** Address, device, kernels, memory, times and a first request to try. */
export function showReady(instance: Instance, address: string, startMs: number): void {
  const engine = instance.engine!;
  const stats = engine.stats();
  const model = instance.modelNames[0]!;
  const kvTokens = stats.kvBlocks.total * stats.blockSize;
  const key = instance.options.apiKeys.length > 0 ? " -H 'authorization: Bearer KEY'" : "";
  const body = JSON.stringify({
    model,
    messages: [{ role: "user", content: "What is the capital of France?" }],
  });
  console.log([
    `ready after ${(startMs / 1000).toFixed(2)} s (weights ${stats.loadSeconds.toFixed(2)} s)`,
    `  model: ${model} (${engine.model.architecture})`,
    ...engine.describe().trim().split("\n").map((line) => `  ${line}`),
    `  memory: weights ${megabytes(stats.weightsBytes)}, KV cache ${megabytes(stats.kvBytes)} ` +
    `(${kvTokens} tokens), workspace ${megabytes(stats.workspaceBytes)}`,
    `  address: ${address}`,
    "",
    `curl ${address}/v1/chat/completions${key} -H 'content-type: application/json' \\`,
    `  -d '${body}'`,
  ].join("\n"));
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(0)} MB`;
}
