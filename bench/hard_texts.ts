/**
 * What short prompts and `/health` wait while nine texts of 150,000 characters that are hard to encode
 * are encoded, over and over, beside the same on an idle server; and what the worker takes in memory.
 *
 *     deno run -A bench/hard_texts.ts [--seconds 20] [-- flags of the server]
 *
 * @module
 */
import { parseArgs } from "node:util";
import { ServerProcess } from "./server.ts";
import { percentile, printTable } from "./table.ts";

const { values: flags, positionals: serverFlags } = parseArgs({
  options: { seconds: { type: "string", default: "20" } },
  allowPositionals: true,
});

const LENGTH = 150_000;
const random = (count: number) => Math.floor(Math.random() * count);
const textOf = (next: () => string) => {
  let text = "";
  while (text.length < LENGTH) text += next();
  return text.slice(0, LENGTH);
};
const hardTexts = [
  textOf(() => "a"),
  textOf(() => " "),
  textOf(() => "\n"),
  textOf(() => String.fromCharCode(97 + random(26))),
  textOf(() => String.fromCharCode(0x4e00 + random(20_000))),
  textOf(() => String.fromCodePoint(0x1f300 + random(500))),
  textOf(() => "a\u0301\u0316\u0301"),
  textOf(() => "!?.,;:-_<|"[random(10)]!),
  textOf(() => String.fromCharCode(32 + random(0xd000))),
];

await using server = await ServerProcess.start(["--log-format", "off", ...serverFlags]);

/** Milliseconds until the answer. */
async function ask(path: string, body?: object): Promise<number> {
  const start = performance.now();
  await server.ask(path, body);
  return performance.now() - start;
}

const word = () => ["of", "the", "prompt", "that", "others", "send", "and", "wait"][random(8)];
const wordsOf = (count: number) => Array.from({ length: count }, word).join(" ");
/** Half of them go to the worker. */
const probes: Record<string, () => Promise<number>> = {
  "short prompt": () => ask("/v1/completions", { prompt: wordsOf(20), max_tokens: 1 }),
  "prompt of 2,000 characters": () => ask("/tokenize", { prompt: wordsOf(400) }),
  "/health": () => ask("/health"),
};

/** Milliseconds of each probe, one after another until the time is over. */
async function measure(seconds: number): Promise<Record<string, number[]>> {
  const times = Object.fromEntries(Object.keys(probes).map((name) => [name, [] as number[]]));
  for (const end = performance.now() + seconds * 1000; performance.now() < end;) {
    for (const [name, probe] of Object.entries(probes)) times[name]!.push(await probe());
  }
  return times;
}

const seconds = Number(flags.seconds);
const before = await server.memoryBytes();
await ask("/tokenize", { prompt: wordsOf(2000) });
await measure(2); // warm
const withWorker = await server.memoryBytes();
const idle = await measure(seconds);
let ended = false, numTexts = 0;
const load = hardTexts.map(async (prompt) => {
  while (!ended) {
    await ask("/tokenize", { prompt });
    numTexts++;
  }
});
const busy = await measure(seconds);
ended = true;
await Promise.all(load);

printTable(
  ["milliseconds", "idle p50", "p99", "max", "beside p50", "p99", "max"],
  Object.keys(probes).map((name) => [
    name,
    ...[idle, busy].flatMap((times) =>
      [0.5, 0.99, 1].map((fraction) => percentile(times[name]!, fraction).toFixed(1))
    ),
  ]),
);
console.log(`${(numTexts / seconds).toFixed(1)} hard texts a second`);
console.log(`resident: ${mb(before)} MB, with the worker ${mb(withWorker)} MB`);

function mb(bytes: number): string {
  return (bytes / 1e6).toFixed(0);
}
