/**
 * Our templates beside jinja2, set up as Transformers sets it up.
 *
 *     deno task jinja [--store]
 *
 * Installs jinja2, takes real chat templates out of packages, renders them and random ones with both,
 * and prints each difference. `--store` keeps what jinja2 says, for the tests that need no network:
 * digests in `templates.json`, texts in `snippets.json` and `tables.json`, which has our words of refusals
 * too, dates in `dates.json`. Exit code 1 when something differs.
 *
 * @module
 */
import { installPython, mustRun, outputOf } from "../python_venv.ts";
import {
  type Case,
  casesOf,
  digestOf,
  isSame,
  type Outcome,
  render,
  templateNames,
  TEMPLATES,
} from "./cases.ts";
import { type Outcomes, type Table, tableOf, tablesText } from "./tables.ts";

const HERE = "tests/jinja";
const VENV = ".tools/jinja/python";
const PYTHON = `${VENV}/bin/python`;
const RANDOM_CASES = 4000;
/** Those with real templates, and where. */
const PACKAGES = [
  ["axolotl==0.19.0", "wheel", "chat_templates/templates"],
  ["llama-cpp-python==0.3.36", "source", "models/templates"],
] as const;

await installPython(`${HERE}/requirements.txt`, VENV);
for (const [requirement, kind, place] of PACKAGES) {
  const into = `${TEMPLATES}/${requirement.split("==")[0]}`;
  await mustRun(PYTHON, "tests/package_files.py", requirement, kind, place, ".jinja", into);
}

const real = templateNames().flatMap(casesOf);
const expected = await reference(real);
report("real templates", real, expected);

const seed = String(Date.now() % 1_000_000);
const random: Case[] = JSON.parse(
  await python([`${HERE}/random_snippets.py`, seed, String(RANDOM_CASES)]),
);
report(`random templates, seed ${seed}`, random, await reference(random));

if (Deno.args.includes("--store")) {
  const digests: Record<string, string[]> = {};
  for (const [i, { name }] of real.entries()) {
    (digests[name.split(" ")[0]!] ??= []).push(await digestOf(expected[i]!));
  }
  await Deno.writeTextFile(`${HERE}/templates.json`, `${JSON.stringify(digests, null, 1)}\n`);
  await Deno.writeTextFile(`${HERE}/snippets.json`, await python([`${HERE}/snippets.py`]));
  await storeTables();
}

/** The systematic tables; a text that differs is not stored. */
async function storeTables(): Promise<void> {
  const { variables, outcomes, dates } = JSON.parse(await python([`${HERE}/tables.py`]));
  const tables: Record<string, Table> = {};
  for (const [template, row] of Object.entries(outcomes as Outcomes)) {
    tables[template] = tableOf(template, row, variables, (filled, theirs, ours) => {
      Deno.exitCode = 1;
      console.log(`\n${filled}\n  jinja2 ${theirs}\n  ours   ${JSON.stringify(ours)}`);
    });
  }
  await Deno.writeTextFile(`${HERE}/tables.json`, tablesText(tables));
  await Deno.writeTextFile(`${HERE}/dates.json`, `${JSON.stringify(dates, null, 1)}\n`);
}

/** What jinja2 makes of each case. */
async function reference(cases: readonly Case[]): Promise<Outcome[]> {
  return JSON.parse(await python([`${HERE}/reference.py`], JSON.stringify(cases)));
}

function python(args: string[], input?: string): Promise<string> {
  return outputOf(PYTHON, ["-W", "ignore", "-B", ...args], input);
}

/** What we refuse by name is no silence, and counted apart; so are texts with Python's addresses. */
function report(what: string, cases: readonly Case[], expected: readonly Outcome[]): void {
  let [equal, refused, unsupported, addresses] = [0, 0, 0, 0];
  for (const [i, one] of cases.entries()) {
    const [theirs, ours] = [expected[i]!, render(one)];
    if (theirs.text?.includes(" at 0x")) addresses++;
    else if (isSame(theirs, ours)) {
      equal++;
      if (theirs.text === undefined) refused++;
    } else if (/not supported/.test(ours.refused ?? "")) unsupported++;
    else {
      Deno.exitCode = 1;
      console.log(
        `\n${one.name ?? one.template}\n  jinja2 ${JSON.stringify(theirs)}\n  ours   ${
          JSON.stringify(ours)
        }`,
      );
    }
  }
  const total = cases.length - addresses;
  console.log(
    `${what}: ${equal} equal of ${total}, ${refused} of them refused by both; ` +
      `${unsupported} refused by name, ${total - equal - unsupported} different`,
  );
}
