/**
 * `deno task bench`: what this machine gives (memory bandwidth, int8 arithmetic), what llama.cpp makes
 * of it, and what Hearth does, in turns of one run, over HTTP. Prints a table and keeps the figures as
 * JSON in `bench/results/`.
 *
 *     deno task bench [--model PATH] [--rounds 5] [--threads N] [--python PYTHON]
 *
 * `--python` names an interpreter that has llama-cpp-python built from source
 * (`pip install --no-binary llama-cpp-python llama-cpp-python`); without one the peer is left out.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { defaultModelPath } from "../model/default_model.ts";
import { measureCeilings } from "./ceilings.ts";
import { LlamaCpp } from "./peers/llama_cpp.ts";
import { decodeRate } from "./decode_rate.ts";
import { randomPrompt, ServerProcess } from "./server.ts";
import { best, median, percentOf, printTable } from "./table.ts";

const PREFILL_TOKENS = 512;
const DECODE_TOKENS = 128;
const BATCH = 8;

const { values: flags } = parseArgs({
  args: Deno.args,
  options: {
    model: { type: "string" },
    rounds: { type: "string", default: "5" },
    threads: { type: "string", default: String(navigator.hardwareConcurrency) },
    python: { type: "string", default: "python3" },
  },
});
const model = flags.model ?? await defaultModelPath();
const rounds = Number(flags.rounds);
const numThreads = Number(flags.threads);

/** One line of the table: how it is measured and what it must move and compute. */
class Workload {
  readonly ours: number[] = [];
  readonly peer: number[] = [];
  /** By the ops' cost functions, over all rounds. */
  readonly cost = { bytes: 0, flops: 0, steps: 0 };

  constructor(readonly name: string, readonly tokensPerStep: number) {}

  /** Run ours, which returns tokens a second, and read what its steps cost. */
  async measure(run: () => Promise<number>): Promise<void> {
    const before = await stepCost();
    this.ours.push(await run());
    const after = await stepCost();
    for (const key of ["bytes", "flops", "steps"] as const) {
      this.cost[key] += after[key] - before[key];
    }
  }

  /** Tokens a second at the ceilings: the slower of moving the bytes and doing the arithmetic. */
  limit(bytesPerSecond: number, opsPerSecond: number): number {
    const { bytes, flops, steps } = this.cost;
    return steps * this.tokensPerStep / Math.max(bytes / bytesPerSecond, flops / opsPerSecond);
  }
}

const prefill = new Workload(`prefill ${PREFILL_TOKENS}`, PREFILL_TOKENS);
const decode = new Workload("decode, batch 1", 1);
const decodeBatch = new Workload(`decode, batch ${BATCH}`, BATCH);
const workloads = [prefill, decode, decodeBatch];
const ttftMs: number[] = [];

const args = ["--model", model, "--num-threads", String(numThreads)];
const starts = [];
for (let i = 0; i < 3; i++) {
  await using server = await ServerProcess.start(args);
  starts.push(server.startPhases);
}

await using server = await ServerProcess.start(args);
await using peer = await LlamaCpp.start(flags.python, model, numThreads);
const ceilings = [measureCeilings(numThreads)];

for (let round = 0; round < rounds; round++) {
  await prefill.measure(async () => {
    const { sent, arrivals } = await server.complete(randomPrompt(PREFILL_TOKENS), 1);
    return PREFILL_TOKENS / (arrivals[0]!.at - sent) * 1000;
  });
  if (peer) prefill.peer.push(await peer.prefill(PREFILL_TOKENS));

  const short = await server.complete(randomPrompt(16), 1);
  ttftMs.push(short.arrivals[0]!.at - short.sent);

  await decode.measure(async () =>
    decodeRate([await server.complete(randomPrompt(16), DECODE_TOKENS)])
  );
  if (peer) decode.peer.push(await peer.decode(1, DECODE_TOKENS));

  await decodeBatch.measure(async () => {
    const prompts = Array.from({ length: BATCH }, () => randomPrompt(16));
    return decodeRate(await Promise.all(prompts.map((p) => server.complete(p, DECODE_TOKENS))));
  });
  if (peer) decodeBatch.peer.push(await peer.decode(BATCH, DECODE_TOKENS / 2));

  ceilings.push(measureCeilings(numThreads));
  console.error(`round ${round + 1} of ${rounds}`);
}

async function stepCost() {
  return {
    bytes: await server.metric("hearth_step_bytes_total"),
    flops: await server.metric("hearth_step_flops_total"),
    steps: await server.metric("hearth_steps_total"),
  };
}

const bandwidth = best(ceilings.map((c) => c.readBytesPerSecond));
const int8Peak = best(ceilings.map((c) => c.int8OpsPerSecond));
const result = {
  device: await deviceName(),
  date: new Date().toISOString(),
  commit: await commit(),
  command: `deno task bench ${Deno.args.join(" ")}`.trim(),
  model: model.slice(model.lastIndexOf("/") + 1),
  numThreads,
  peer: peer ? `llama-cpp-python ${peer.version}` : null,
  ceilings: { readBytesPerSecond: bandwidth, int8OpsPerSecond: int8Peak },
  workloads: workloads.map(({ name, ours, peer, cost }) => ({ name, ours, peer, cost })),
  ttftMs,
  starts,
  peakMemoryBytes: await server.peakMemoryBytes(),
};

const rate = (value: number) => `${value.toFixed(0)} tok/s`;
const rows = workloads.map((workload) => {
  const limit = workload.limit(bandwidth, int8Peak);
  const ours = median(workload.ours);
  const compared = workload.peer.length > 0;
  const ratios = workload.peer.map((theirs, i) => workload.ours[i]! / theirs);
  return [
    workload.name,
    rate(limit),
    compared ? rate(median(workload.peer)) : "-",
    rate(ours),
    percentOf(ours, limit),
    compared ? `${median(ratios).toFixed(2)} x` : "-",
  ];
});
console.log(`\n${result.device}, ${numThreads} threads, ${result.model}, commit ${result.commit}`);
console.log(
  `ceilings: read ${(bandwidth / 1e9).toFixed(1)} GB/s, int8 ${
    (int8Peak / 1e9).toFixed(0)
  } Gop/s\n`,
);
printTable(["", "limit", "llama.cpp", "Hearth", "of limit", "ratio"], rows);
const start = starts[1]!;
console.log(`
TTFT, 16 tokens     ${median(ttftMs).toFixed(1)} ms
start to listening  ${start.listening.toFixed(2)} s
start to ready      ${start.ready.toFixed(2)} s
start to token      ${start.firstToken.toFixed(2)} s
peak memory         ${(result.peakMemoryBytes / 1e6).toFixed(0)} MB`);

const file = `${import.meta.dirname}/results/cpu-${result.date.slice(0, 10)}-${result.commit}.json`;
await Deno.mkdir(`${import.meta.dirname}/results`, { recursive: true });
await Deno.writeTextFile(file, JSON.stringify(result, null, 2) + "\n");
console.log(`\nkept as ${file}`);

async function deviceName(): Promise<string> {
  const info = await Deno.readTextFile("/proc/cpuinfo");
  const line = (key: string) => new RegExp(`^${key}\\s*: (.*)$`, "m").exec(info)?.[1] ?? "unknown";
  return `${line("model name")} (family ${line("cpu family")}, model ${line("model")})`;
}

async function commit(): Promise<string> {
  const { stdout } = await new Deno.Command("git", { args: ["rev-parse", "--short", "HEAD"] })
    .output();
  return new TextDecoder().decode(stdout).trim();
}
