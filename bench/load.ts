/**
 * `deno task bench:load`: 300 mixed requests from 64 clients, some of whom leave midway, three times
 * over, while `/health` is asked every 10 ms. Prints what each round took and left behind; exits 1
 * when a request was lost, a block stayed held, `/health` was slow or memory still grew in the last
 * round.
 *
 *     deno task bench:load [--model PATH] [--rounds 3] [--requests 300] [--clients 64]
 *
 * @module
 */
import { parseArgs } from "node:util";
import { defaultModelPath } from "../model/default_model.ts";
import { randomPrompt, ServerProcess } from "./server.ts";
import { percentile, printTable } from "./table.ts";

const { values: flags } = parseArgs({
  args: Deno.args,
  options: {
    model: { type: "string" },
    rounds: { type: "string", default: "3" },
    requests: { type: "string", default: "300" },
    clients: { type: "string", default: "64" },
  },
});

/** The slowest `/health` of a hundred may take so long. */
const HEALTH_P99_MS = 20;
/** The last round may take this much more memory than the one before. */
const MEMORY_GROWTH_ALLOWED = 0.02;

interface Outcome {
  finished: number;
  left: number;
  lost: string[];
}

const text = "The quick brown fox jumps over the lazy dog, and then it rests by the river. ";
const pick = <T>(choices: readonly T[]): T => choices[Math.floor(Math.random() * choices.length)]!;

/** One request of a random kind, and whether its client will leave. */
function randomRequest(): { path: string; body: Record<string, unknown>; leaves: boolean } {
  const sampling = {
    max_tokens: pick([1, 4, 16, 32, 64]),
    temperature: pick([0, 0.7, 1]),
    stream: pick([true, false]),
    n: pick([1, 1, 1, 2]),
  };
  const leaves = Math.random() < 0.2;
  return pick([
    () => ({
      path: "/v1/chat/completions",
      body: { messages: [{ role: "user", content: text.repeat(pick([1, 4, 20])) }], ...sampling },
      leaves,
    }),
    () => ({
      path: "/v1/completions",
      body: { prompt: randomPrompt(pick([1, 30, 300, 1000])), ...sampling },
      leaves,
    }),
    () => ({
      path: "/v1/completions",
      body: { prompt: text.repeat(pick([1, 10])), stop: ["river", "\n"], ...sampling },
      leaves,
    }),
    () => ({ path: "/generate", body: { prompt: text, logprobs: 2, ...sampling }, leaves }),
  ])();
}

async function send(server: ServerProcess, outcome: Outcome): Promise<void> {
  const { path, body, leaves } = randomRequest();
  const controller = new AbortController();
  // Anywhere from the queue through the prefill to the last tokens.
  const timer = leaves ? setTimeout(() => controller.abort(), Math.random() * 3000) : undefined;
  try {
    const response = await fetch(server.url + path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
      signal: controller.signal,
    });
    const answer = await response.text();
    const ends = body.stream ? answer.trimEnd().endsWith("data: [DONE]") : true;
    if (response.status === 200 && ends) outcome.finished++;
    else outcome.lost.push(`${path}: ${response.status} ${answer.slice(-200)}`);
  } catch (error) {
    if (controller.signal.aborted) outcome.left++;
    else outcome.lost.push(`${path}: ${error}`);
  } finally {
    clearTimeout(timer);
  }
}

/** Milliseconds of each answer, one request every 10 ms, until stopped. */
async function askHealth(server: ServerProcess, stopped: () => boolean): Promise<number[]> {
  const times: number[] = [];
  while (!stopped()) {
    const sent = performance.now();
    await (await fetch(`${server.url}/health`)).body?.cancel();
    times.push(performance.now() - sent);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return times;
}

await using server = await ServerProcess.start([
  "--model",
  flags.model ?? await defaultModelPath(),
  "--log-format",
  "off",
  // A cache that the first round fills: one that still grows into its budget would look like a leak.
  "--kv-cache-memory-bytes",
  "1GiB",
]);
const rows: string[][] = [];
const memory: number[] = [];
const faults: string[] = [];
for (let round = 1; round <= Number(flags.rounds); round++) {
  const outcome: Outcome = { finished: 0, left: 0, lost: [] };
  let sent = 0;
  let done = false;
  const started = performance.now();
  const health = askHealth(server, () => done);
  const clients = Array.from({ length: Number(flags.clients) }, async () => {
    while (sent++ < Number(flags.requests)) await send(server, outcome);
  });
  await Promise.all(clients);
  const seconds = (performance.now() - started) / 1000;
  done = true;
  const healthMs = await health;
  await server.idle();

  const held = await server.metric("hearth_kv_blocks", 'state="held"');
  memory.push(await server.memoryBytes());
  if (outcome.lost.length > 0) faults.push(`round ${round} lost: ${outcome.lost.join("; ")}`);
  if (held !== 0) faults.push(`round ${round} left ${held} blocks held`);
  const p99 = percentile(healthMs, 0.99);
  if (p99 > HEALTH_P99_MS) {
    faults.push(
      `round ${round}: /health p99 must be <= ${HEALTH_P99_MS} ms: it was ${p99.toFixed(1)}`,
    );
  }
  rows.push([
    String(round),
    String(outcome.finished),
    String(outcome.left),
    String(outcome.lost.length),
    `${seconds.toFixed(1)} s`,
    String(held),
    `${(memory.at(-1)! / 1e6).toFixed(0)} MB`,
    `${percentile(healthMs, 0.5).toFixed(1)} / ${p99.toFixed(1)} ms`,
  ]);
}
printTable(
  ["round", "finished", "left", "lost", "time", "held", "memory", "/health p50 / p99"],
  rows,
);
const growth = memory.at(-1)! / (memory.at(-2) ?? memory.at(-1)!) - 1;
console.log(`memory of the last round over the one before: ${(growth * 100).toFixed(1)} %`);
if (growth > MEMORY_GROWTH_ALLOWED) faults.push(`memory grew by ${(growth * 100).toFixed(1)} %`);
for (const fault of faults) console.error(fault);
if (faults.length > 0) Deno.exitCode = 1;
