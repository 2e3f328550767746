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
import { best, median } from "./table.ts";

const LONG = 8000;
const HELLO = 12;
const HELLOS = 30;
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
  await server.complete(randomPrompt(1000), 1); // what the first one finds cold, and its time
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
  while (waits.length < HELLOS && numOpen > 0) {
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

const show = (...figures: string[]) => console.log(figures.join("  "));
const now: number[] = [];
const before: number[] = [];
for (let round = 0; round < Number(flags.rounds); round++) {
  now.push(await alone(undefined));
  if (flags.before) before.push(await alone(flags.before));
}
const rate = (times: readonly number[]) => `${(LONG / median(times) * 1000).toFixed(0)} tok/s`;
show(`${LONG} tokens alone:`, rate(now));
if (flags.before) {
  const ratios = now.map((time, i) => before[i]! / time);
  const each = ratios.map((ratio) => ratio.toFixed(3)).join(", ");
  show("in the tree before:", rate(before), `ratios ${each}, median ${median(ratios).toFixed(3)}`);
}
const waits = await besideLongPrompts();
const ms = (wait: number) => `${wait.toFixed(0)} ms`;
show(`hello beside 6 x ${LONG}:`, `median ${ms(median(waits))}`, `longest ${ms(best(waits))}`);
const [first, second] = await shares(Number(flags.seconds));
show(`two keys for ${flags.seconds} s:`, `${first} and ${second}`, (first! / second!).toFixed(3));
