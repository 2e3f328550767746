/**
 * Puts faults of one line into a copy of the tree, one at a time, and sees whether the tests catch
 * them.
 *
 *     deno task mutants [--seed N] [--count 60] [--jobs 1] [--in model/jinja] [--dry-run]
 *
 * The seed is printed, and draws the same faults again from the same tree. What does not type-check
 * is not drawn. A fault is caught by a test that fails or that hangs. Exit code 1 when fewer than
 * 90 % are caught, or when the tests fail without a fault.
 *
 * `--in` draws from the files under one path alone. Each of `--jobs` has a copy of the tree and an
 * equal share of the cores to itself; two cores a job are what the tests' times were chosen for.
 *
 * @module
 */
import { dirname } from "node:path";
import { parseArgs } from "node:util";
import { freshSeed } from "../kernels/random.ts";
import { drawFaults, FOLDERS, isDrawnFrom } from "./draw.ts";
import { type Fault, withFault } from "./faults.ts";
import { type Ending, type ScratchTree, ScratchTrees } from "./scratch_tree.ts";
import { allSuites, type Suite, suitesFor } from "./suites.ts";

const MIN_CAUGHT = 0.9;
const CHECK_SECONDS = 120;
/** Of the tests without a fault, and of the kernels' with one. */
const SUITE_SECONDS = 900;

const { values: flags } = parseArgs({
  options: {
    seed: { type: "string", default: String(freshSeed()) },
    count: { type: "string", default: "60" },
    jobs: { type: "string", default: "1" },
    in: { type: "string", default: "" },
    "dry-run": { type: "boolean", default: false },
  },
});
const [seed, count] = [wholeNumber("seed", 0), wholeNumber("count", 1)];
console.log(`--seed ${seed} --count ${count}`);

await using trees = await ScratchTrees.create(wholeNumber("jobs", 1));
for (const name of ["SIGINT", "SIGTERM"] as const) {
  Deno.addSignalListener(name, async () => {
    await trees[Symbol.asyncDispose]();
    Deno.exit(1);
  });
}
const limits = flags["dry-run"] ? new Map<string, number>() : await judgeWithoutFault();
const { drawn, unfit } = await draw();
const survivors: string[] = [];
await Promise.all(drawn.map((fault, i) =>
  trees.use(async (tree) => {
    const text = await tree.read(fault.file);
    const name = `${fault.file}:${fault.line} ${fault.operator}`;
    const title = `${i + 1} ${name}`;
    if (flags["dry-run"]) return console.log(title + diffOf(fault, text));
    const caught = await withFaultIn(tree, fault, () => isCaught(tree, fault, title));
    if (!caught) survivors.push(name + diffOf(fault, text));
  })
));
console.log(`\n${unfit} others did not type-check`);
if (!flags["dry-run"]) report();

/** The first `count` faults of the seed that type-check, and how many before the last do not. */
async function draw(): Promise<{ drawn: Fault[]; unfit: number }> {
  const faults = drawFaults(await trees.use(textsOf), seed);
  const drawn: Fault[] = [];
  let tried = 0;
  while (drawn.length < count && tried < faults.length) {
    // No more at a time than are wanted still: which ones are drawn must not depend on --jobs.
    const batch = faults.slice(tried, tried + Math.min(trees.size, count - drawn.length));
    const fit = await Promise.all(
      batch.map((fault) => trees.use((tree) => withFaultIn(tree, fault, () => typeChecks(tree)))),
    );
    drawn.push(...batch.filter((_, i) => fit[i]));
    tried += batch.length;
  }
  return { drawn, unfit: tried - drawn.length };
}

async function withFaultIn<T>(
  tree: ScratchTree,
  fault: Fault,
  work: () => Promise<T>,
): Promise<T> {
  const text = await tree.read(fault.file);
  await tree.write(fault.file, withFault(text, fault));
  const result = await work();
  await tree.write(fault.file, text);
  return result;
}

function wholeNumber(name: "seed" | "count" | "jobs", least: number): number {
  const value = flags[name];
  if (/^\d+$/.test(value) && Number(value) >= least) return Number(value);
  console.error(`--${name} must be a whole number >= ${least}: current value is ${value}`);
  Deno.exit(1);
}

async function textsOf(tree: ScratchTree): Promise<Map<string, string>> {
  const texts = new Map<string, string>();
  const files = tree.files.filter((file) => isDrawnFrom(file) && file.startsWith(flags.in));
  for (const file of files) texts.set(file, await tree.read(file));
  return texts;
}

/** Seconds that each suite may take with a fault, by what it takes without one. */
async function judgeWithoutFault(): Promise<Map<string, number>> {
  const limits = new Map<string, number>();
  await Promise.all(
    allSuites().map(async (suite) => {
      const { kind, seconds, output } = await trees.use((tree) => {
        return runSuite(tree, suite, SUITE_SECONDS);
      });
      if (kind !== "passed") {
        console.error(output);
        throw new Error(`Cannot judge: ${suite.name} ${kind} without a fault`);
      }
      console.log(`without a fault, ${suite.name}: ${seconds.toFixed(0)} s`);
      limits.set(suite.name, 3 * seconds + 20);
    }),
  );
  return limits;
}

async function typeChecks(tree: ScratchTree): Promise<boolean> {
  const ending = await tree.deno(["check", "--quiet", "mod.ts", ...FOLDERS], CHECK_SECONDS);
  return ending.kind === "passed";
}

function runSuite(tree: ScratchTree, { args }: Suite, limitSeconds: number): Promise<Ending> {
  // Types were checked, and a test whose types alone have changed is not a test that caught it.
  const flags = ["--allow-all", "--no-check", "--fail-fast"];
  return tree.deno(["test", ...flags, ...args], limitSeconds);
}

/** Says whether some suite catches it, which one, and in what time. */
async function isCaught(tree: ScratchTree, fault: Fault, title: string): Promise<boolean> {
  const start = performance.now();
  const say = (verdict: string) => {
    console.log(`${title}: ${verdict} (${((performance.now() - start) / 1000).toFixed(0)} s)`);
  };
  for (const suite of suitesFor(fault.file, tree.files)) {
    const { name } = suite;
    const limit = limits.get(name) ?? limits.get(dirname(name)) ?? SUITE_SECONDS;
    const { kind, output } = await runSuite(tree, suite, limit);
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
  const caught = drawn.length - survivors.length;
  const percent = 100 * caught / drawn.length;
  console.log(`${caught} of ${drawn.length} caught, ${percent.toFixed(0)} %`);
  for (const survivor of survivors) console.log(`survivor: ${survivor}`);
  if (caught < MIN_CAUGHT * drawn.length) Deno.exitCode = 1;
}
