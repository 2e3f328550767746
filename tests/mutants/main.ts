/**
 * Puts faults of one line into a copy of the tree, one at a time, and sees whether the tests catch
 * them.
 *
 *     deno task mutants [--seed N] [--count 60] [--dry-run]
 *
 * The seed is printed, and draws the same faults again from the same tree. What does not type-check
 * is not drawn. A fault is caught by a test that fails or that hangs. Exit code 1 when fewer than
 * 90 % are caught, or when the tests fail without a fault.
 *
 * @module
 */
import { dirname } from "node:path";
import { parseArgs } from "node:util";
import { freshSeed } from "../kernels/random.ts";
import { drawFaults, FOLDERS, isDrawnFrom } from "./draw.ts";
import { type Fault, withFault } from "./faults.ts";
import { type Ending, ScratchTree } from "./scratch_tree.ts";
import { allSuites, type Suite, suitesFor } from "./suites.ts";

const MIN_CAUGHT = 0.9;
const CHECK_SECONDS = 120;
/** Of the tests without a fault, and of the kernels' with one. */
const SUITE_SECONDS = 900;

const { values: flags } = parseArgs({
  options: {
    seed: { type: "string", default: String(freshSeed()) },
    count: { type: "string", default: "60" },
    "dry-run": { type: "boolean", default: false },
  },
});
const [seed, count] = [wholeNumber("seed", 0), wholeNumber("count", 1)];
console.log(`--seed ${seed} --count ${count}`);

await using tree = await ScratchTree.create();
for (const name of ["SIGINT", "SIGTERM"] as const) {
  Deno.addSignalListener(name, async () => {
    await tree[Symbol.asyncDispose]();
    Deno.exit(1);
  });
}
const limits = flags["dry-run"] ? new Map<string, number>() : await judgeWithoutFault();
const survivors: string[] = [];
let drawn = 0;
let unfit = 0;
for (const fault of drawFaults(await textsOfTree(), seed)) {
  if (drawn === count) break;
  const text = await tree.read(fault.file);
  await tree.write(fault.file, withFault(text, fault));
  if (await typeChecks()) {
    drawn++;
    const name = `${fault.file}:${fault.line} ${fault.operator}`;
    if (flags["dry-run"]) console.log(`${drawn} ${name}${diffOf(fault, text)}`);
    else if (!await isCaught(fault, `${drawn} ${name}`)) survivors.push(name + diffOf(fault, text));
  } else {
    unfit++;
  }
  await tree.write(fault.file, text);
}
console.log(`\n${unfit} others did not type-check`);
if (!flags["dry-run"]) report();

function wholeNumber(name: "seed" | "count", least: number): number {
  const value = flags[name];
  if (/^\d+$/.test(value) && Number(value) >= least) return Number(value);
  console.error(`--${name} must be a whole number >= ${least}: current value is ${value}`);
  Deno.exit(1);
}

async function textsOfTree(): Promise<Map<string, string>> {
  const texts = new Map<string, string>();
  for (const file of tree.files.filter(isDrawnFrom)) texts.set(file, await tree.read(file));
  return texts;
}

/** Seconds that each suite may take with a fault, by what it takes without one. */
async function judgeWithoutFault(): Promise<Map<string, number>> {
  const limits = new Map<string, number>();
  for (const suite of allSuites()) {
    const { kind, seconds, output } = await runSuite(suite, SUITE_SECONDS);
    if (kind !== "passed") {
      console.error(output);
      throw new Error(`Cannot judge: ${suite.name} ${kind} without a fault`);
    }
    console.log(`without a fault, ${suite.name}: ${seconds.toFixed(0)} s`);
    limits.set(suite.name, 3 * seconds + 20);
  }
  return limits;
}

async function typeChecks(): Promise<boolean> {
  const ending = await tree.deno(["check", "--quiet", "mod.ts", ...FOLDERS], CHECK_SECONDS);
  return ending.kind === "passed";
}

function runSuite({ args }: Suite, limitSeconds: number): Promise<Ending> {
  // Types were checked, and a test whose types alone have changed is not a test that caught it.
  const flags = ["--allow-all", "--no-check", "--fail-fast"];
  return tree.deno(["test", ...flags, ...args], limitSeconds);
}

/** Says whether some suite catches it, which one, and in what time. */
async function isCaught(fault: Fault, title: string): Promise<boolean> {
  const start = performance.now();
  const say = (verdict: string) => {
    console.log(`${title}: ${verdict} (${((performance.now() - start) / 1000).toFixed(0)} s)`);
  };
  for (const suite of suitesFor(fault.file, tree.files)) {
    const { name } = suite;
    const limit = limits.get(name) ?? limits.get(dirname(name)) ?? SUITE_SECONDS;
    const { kind, output } = await runSuite(suite, limit);
    if (kind === "passed") continue;
    say(kind === "hung" ? `${name} hung` : `caught by ${name}${firstFailure(output)}`);
    return true;
  }
  say("SURVIVED");
  return false;
}

/** The test that failed, where one did and not the module that holds it. */
function firstFailure(output: string): string {
  const name = /^(.*) => \S+:\d+:\d+$/m.exec(output)?.[1];
  return name === undefined ? "" : `, "${name}"`;
}

function diffOf(fault: Fault, text: string): string {
  const line = (of: string) => of.split("\n")[fault.line - 1]!;
  return `\n  - ${line(text)}\n  + ${line(withFault(text, fault))}`;
}

function report(): void {
  const caught = drawn - survivors.length;
  console.log(`${caught} of ${drawn} caught, ${(100 * caught / drawn).toFixed(0)} %`);
  for (const survivor of survivors) console.log(`survivor: ${survivor}`);
  if (caught < MIN_CAUGHT * drawn) Deno.exitCode = 1;
}
