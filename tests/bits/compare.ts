/**
 * Compares what `main.ts` printed in two checkouts or on two days, and exits 1 when a bit differs:
 *
 *     deno run --allow-read tests/bits/compare.ts BEFORE.jsonl AFTER.jsonl
 *
 * @module
 */
import type { BitsLine } from "./collect.ts";

/** Differences that are shown; the others are counted. */
const MAX_SHOWN = 20;

if (import.meta.main) {
  const [before, after] = Deno.args.map((path) => readLines(path));
  if (before === undefined || after === undefined || before.size === 0) {
    console.error("Cannot compare: two files with lines of main.ts must be named");
    Deno.exit(2);
  }
  const differences = compareLines(before, after);
  for (const difference of differences.slice(0, MAX_SHOWN)) console.log(difference);
  const numRequests = new Set([...before.keys(), ...after.keys()]).size;
  console.log(`${numRequests} requests compared, ${differences.length} differ`);
  if (differences.length > 0) Deno.exit(1);
}

/** One sentence for each request that differs or is in one of the two only. */
export function compareLines(
  before: ReadonlyMap<string, BitsLine>,
  after: ReadonlyMap<string, BitsLine>,
): string[] {
  return [...new Set([...before.keys(), ...after.keys()])].flatMap((name) => {
    const one = before.get(name), other = after.get(name);
    if (one === undefined) return [`${name}: only after`];
    if (other === undefined) return [`${name}: only before`];
    const isOther = (field: keyof BitsLine) =>
      JSON.stringify(one[field]) !== JSON.stringify(other[field]);
    const shown = (["activation", "tokens", "logprobs", "prompt_logprobs"] as const)
      .filter(isOther);
    if (shown.length > 0) return [`${name}: other ${shown.join(", ")}`];
    return isOther("sha256") ? [`${name}: other logprobs of the likeliest tokens`] : [];
  });
}

function readLines(path: string): Map<string, BitsLine> {
  const lines = Deno.readTextFileSync(path).split("\n").filter((line) => line !== "");
  return new Map(lines.map((text) => {
    const line: BitsLine = JSON.parse(text);
    return [`${line.path}, ${line.model}, ${line.request}`, line];
  }));
}
