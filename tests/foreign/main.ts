/**
 * Clients that others wrote, and judges of what we say of ourselves, in versions that are pinned, against
 * our server with the default model.
 *
 *     deno task foreign [CLIENT...]
 *
 * Python's are installed into `.tools/foreign` first, npm's into `.tools/foreign-npm`. A client whose program this machine does not
 * have is skipped. Each ends with a line that counts; exit code 1 when one of them fails.
 *
 * @module
 */
import { dirname } from "node:path";
import { defaultModelPath } from "../../model/default_model.ts";
import { ServerProcess } from "../http/server_process.ts";
import { installPython } from "../python_venv.ts";
import {
  installNpm,
  openapiPythonClient,
  openapiTypescript,
  redocly,
  schemathesis,
  type Verdict,
} from "./openapi.ts";
import type { Outcome } from "./outcome.ts";
import { compareVocabularies } from "./vocabularies.ts";

const HERE = "tests/foreign";
const VENV = ".tools/foreign";
/** Of its own: it brings data sets and their formats with it. */
const LM_EVAL_VENV = ".tools/lm-eval";
const KEY = "secret";
const [MODEL, OTHER_MODEL] = ["hearth", "hearth-again"];
const MAX_MODEL_LEN = "1024";

const CLIENTS: Readonly<Record<string, () => Promise<Outcome>>> = {
  openai: () => pytest("openai_test.py"),
  litellm: () => pytest("litellm_test.py"),
  langchain: () => pytest("langchain_test.py"),
  "lm-eval": async () => {
    await installPython(`${HERE}/lm_eval_requirements.txt`, LM_EVAL_VENV);
    return await pytest("lm_eval_test.py", LM_EVAL_VENV);
  },
  java,
  promtool,
  redocly: () => judged(redocly),
  "openapi-typescript": () => judged(openapiTypescript),
  "openapi-python-client": () => judged((document) => openapiPythonClient(`${VENV}/bin`, document)),
  schemathesis: () =>
    judged(async (document) => {
      // Of a small model: it asks thousands of times.
      const model = ["--model", "tests/data/smollm2-bf16", "--api-key", KEY];
      await using small = await ServerProcess.start(model);
      return await schemathesis(`${VENV}/bin`, small.address, KEY, dirname(document));
    }),
  "llama.cpp-vocabularies": () => compareVocabularies(`${VENV}/bin/python`),
};

const chosen = Deno.args.length > 0 ? Deno.args : Object.keys(CLIENTS);
const unknown = chosen.find((name) => !(name in CLIENTS));
if (unknown !== undefined) {
  const names = Object.keys(CLIENTS).join(", ");
  console.error(`A client must be of ${names}: current value is ${unknown}`);
  Deno.exit(1);
}

await defaultModelPath(); // the server that is started here may not write it
await installPython(`${HERE}/requirements.txt`, VENV);
await installNpm();
await using server = await ServerProcess.start([
  ...["--api-key", KEY],
  ...["--served-model-name", MODEL, "--served-model-name", OTHER_MODEL],
  ...["--max-model-len", MAX_MODEL_LEN],
]);
for (const name of chosen) {
  console.log(`\n${name}`);
  const { passed, failed, skipped } = await CLIENTS[name]!();
  // As Deno's tests do, so that what counts those counts these.
  const verdict = failed > 0 ? "FAILED" : "ok";
  console.log(`${verdict} | ${passed} passed | ${failed} failed | ${skipped} ignored`);
  if (failed > 0) Deno.exitCode = 1;
}

/** Runs a client to its end and returns what it printed. */
async function run(program: string, args: string[], input = ""): Promise<string> {
  const process = new Deno.Command(program, {
    args,
    env: {
      HEARTH_TEST_URL: server.address,
      HEARTH_TEST_KEY: KEY,
      HEARTH_TEST_MODEL: MODEL,
      HEARTH_TEST_OTHER_MODEL: OTHER_MODEL,
      HEARTH_TEST_MAX_MODEL_LEN: MAX_MODEL_LEN,
      LITELLM_LOCAL_MODEL_COST_MAP: "True", // else it asks the network for prices
      NO_COLOR: "1",
      PYTHONDONTWRITEBYTECODE: "1",
    },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = process.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input));
  await writer.close();
  const { stdout, stderr } = await process.output();
  return new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
}

/** Shows what tests printed, and reads their last line that counts; none is a failure. */
function counted(output: string): Outcome {
  console.log(output.trimEnd());
  const line = output.split("\n").findLast((line) => /\d+ (passed|failed|error)/.test(line)) ?? "";
  const count = (word: string) => Number(new RegExp(`(\\d+) ${word}`).exec(line)?.[1] ?? 0);
  const failed = count("failed") + count("error");
  const skipped = count("skipped") + count("xfailed");
  return { passed: count("passed"), failed: line === "" ? 1 : failed, skipped };
}

async function pytest(file: string, venv = VENV): Promise<Outcome> {
  return counted(await run(`${venv}/bin/python`, ["-m", "pytest", `${HERE}/${file}`]));
}

/** Shows what a program says that does not take what `/openapi.json` says. */
async function judged(judge: (document: string) => Promise<Verdict>): Promise<Outcome> {
  const folder = await Deno.makeTempDir();
  try {
    const document = `${folder}/openapi.json`;
    const told = await fetch(`${server.address}/openapi.json`);
    await Deno.writeTextFile(document, JSON.stringify(await told.json(), null, 2));
    const { ok, output } = await judge(document);
    if (!ok) console.log(output.trimEnd());
    return { passed: ok ? 1 : 0, failed: ok ? 0 : 1, skipped: 0 };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function java(): Promise<Outcome> {
  if (!await isInstalled("javac")) return skip("javac", "openjdk-17-jdk-headless");
  return counted(await run("java", [`${HERE}/HttpClientDefaults.java`]));
}

/** Its remarks on the names that are vLLM's are expected: Prometheus keeps the colon for rules. */
async function promtool(): Promise<Outcome> {
  if (!await isInstalled("promtool")) return skip("promtool", "prometheus");
  const headers = { authorization: `Bearer ${KEY}` };
  const metrics = await (await fetch(`${server.address}/metrics`, { headers })).text();
  const remarks = await run("promtool", ["check", "metrics"], metrics);
  const expected = /^vllm:\w+ metric names should not contain ':'$/;
  const faults = remarks.split("\n").filter((line) => line !== "" && !expected.test(line));
  for (const fault of faults) console.log(fault);
  return { passed: faults.length === 0 ? 1 : 0, failed: faults.length, skipped: 0 };
}

async function isInstalled(program: string): Promise<boolean> {
  try {
    await new Deno.Command(program, { args: ["--version"], stderr: "null", stdout: "null" })
      .output();
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

function skip(program: string, debianPackage: string): Outcome {
  console.log(`skipped: there is no ${program} (Debian's package is ${debianPackage})`);
  return { passed: 0, failed: 0, skipped: 1 };
}
