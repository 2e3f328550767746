/**
 * `deno task bench:turns`: what callers get of a server that others keep busy, over HTTP.
 *
 *   - 8,000 tokens alone, in turns with another checkout where `--before` names one
 *   - "hello" of one key, once a second, beside six prompts of 8,000 tokens of another
 *   - two keys who always have 16 requests waiting, for a minute
 *
 *     deno task bench:turns [--model PATH] [--rounds 3] [--seconds 60] [--before FOLDER]
 *
 * @module
 */
import { parseArgs } from "node:util";
import { defaultModelPath } from "../model/default_model.ts";
import { randomPrompt, ServerProcess } from "./server.ts";
import { best, median, printTable } from "./table.ts";

const LONG = 8000;
const HELLO = 12;
/** Running and waiting, of each key: 16 wait where the other has every place. */
const OPEN = 24;
const PLACES = 8;

const { values: flags } = parseArgs({
  args: Deno.args,
  options: {
    model: { type: "string" },
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "60" },
    before: { type: "string" },
  },
});
const model = flags.model ?? await defaultModelPath();
const args = ["--model", model, "--log-format", "off"];

/** Milliseconds to the first token of a long prompt that is alone. */
async function alone(folder: string | undefined): Promise<number> {
  await using server = await ServerProcess.start(args, folder ? { folder } : {});
  await server.complete(randomPrompt(LONG), 1); // memory that the first one touches
  const { sent, arrivals } = await server.complete(randomPrompt(LONG), 1);
  return arrivals[0]!.at - sent;
}

/** Milliseconds to the first token of each hello. */
async function besideLongPrompts(): Promise<number[]> {
  const keys = ["--api-key", "long", "--api-key", "hello"];
  await using server = await ServerProcess.start([...args, ...keys], { key: "long" });
  const leaving = new AbortController();
  let numOpen = 6;
  const long = Promise.allSettled(
    Array.from({ length: numOpen }, async () => {
      await server.complete(randomPrompt(LONG), 16, { key: "long", signal: leaving.signal });
      numOpen--;
    }),
  );
  const waits: number[] = [];
  while (numOpen === 6 || waits.length < 20) {
    await new Promise((resolve) => setTimeout(resolve, 500 + Math.random() * 500));
    const { sent, arrivals } = await server.complete(randomPrompt(HELLO), 2, { key: "hello" });
    waits.push(arrivals[0]!.at - sent);
  }
  leaving.abort();
  await long;
  return waits;
}

/** Tokens of each key in so many seconds, prompts included: one has long ones, one long answers. */
async function shares(seconds: number): Promise<number[]> {
  const keys = ["prompts", "answers"];
  await using server = await ServerProcess.start([
    ...args,
    ...["--max-num-seqs", String(PLACES)],
    ...keys.flatMap((key) => ["--api-key", key]),
  ], { key: "prompts" });
  const leaving = new AbortController();
  const { signal } = leaving;
  const sums = keys.map(() => 0);
  const ask = async (i: number) => {
    const [promptTokens, outputTokens] = i === 0 ? [600, 16] as const : [60, 100] as const;
    while (!signal.aborted) {
      let isFirst = true;
      await server.complete(randomPrompt(promptTokens), outputTokens, {
        key: keys[i]!,
        signal,
        onArrival({ numTokens }) {
          sums[i] = sums[i]! + numTokens + (isFirst ? promptTokens : 0);
          isFirst = false;
        },
      });
    }
  };
  const asking = Promise.allSettled(
    keys.flatMap((_, i) => Array.from({ length: OPEN }, () => ask(i))),
  );
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  const had = [...sums];
  leaving.abort();
  await asking;
  return had;
}

const now: number[] = [];
const before: number[] = [];
for (let round = 0; round < Number(flags.rounds); round++) {
  now.push(await alone(undefined));
  if (flags.before) before.push(await alone(flags.before));
  console.error(`round ${round + 1} of ${flags.rounds}`);
}
const rate = (times: readonly number[]) => `${(LONG / median(times) * 1000).toFixed(0)} tok/s`;
const rows = [[`${LONG} tokens alone`, rate(now)]];
if (flags.before) {
  const ratios = now.map((time, i) => before[i]! / time);
  rows.push(["  in the tree before", rate(before)]);
  rows.push(["  this one's rate by that one's", `${median(ratios).toFixed(3)} x`]);
}
const waits = await besideLongPrompts();
rows.push([
  `hello beside 6 x ${LONG}, ${waits.length} times: median`,
  `${median(waits).toFixed(0)} ms`,
]);
rows.push(["  the longest", `${best(waits).toFixed(0)} ms`]);
const [first, second] = await shares(Number(flags.seconds));
rows.push([`two keys for ${flags.seconds} s`, `${first} and ${second} tokens`]);
rows.push(["  one's by the other's", (first! / second!).toFixed(3)]);
printTable(["", ""], rows);
