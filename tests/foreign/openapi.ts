/**
 * Programs that others wrote to judge `/openapi.json`, to make clients of it, or to try whether the
 * server does as it says.
 *
 * @module
 */
import { resolve } from "node:path";
import { mustRun } from "../python_venv.ts";

const HERE = "tests/foreign";
const NPM = ".tools/foreign-npm";

/**
 * What schemathesis cannot hold us to. A request that the schema allows may be refused by rules that
 * JSON Schema cannot say: prompt and output fit the model's length; ids are the vocabulary's; the model
 * is one that is served; `min_tokens` is at most `max_tokens`; `stream_options` stand beside `stream`; a
 * deadline can be met; a template takes the conversation.
 */
const EXCLUDED_CHECKS = ["positive_data_acceptance"];
const MAX_EXAMPLES = 50;

/** Ends well, or says what is wrong. */
export interface Verdict {
  readonly ok: boolean;
  readonly output: string;
}

/** Installs the packages of npm/package-lock.json, once. */
export async function installNpm(): Promise<void> {
  const files = ["package.json", "package-lock.json"];
  const read = (folder: string) =>
    Promise.all(files.map((file) => Deno.readTextFile(`${folder}/${file}`).catch(() => "")));
  const wanted = await read(`${HERE}/npm`);
  if ((await read(NPM)).join() === wanted.join()) return;
  console.log(`install ${HERE}/npm into ${NPM}`);
  const folder = `${NPM}.new`;
  await Deno.mkdir(folder, { recursive: true });
  for (const [i, file] of files.entries()) {
    await Deno.writeTextFile(`${folder}/${file}`, wanted[i]!);
  }
  await mustRun("npm", "ci", "--silent", "--no-audit", "--no-fund", "--prefix", folder);
  await Deno.remove(NPM, { recursive: true }).catch(() => {});
  await Deno.rename(folder, NPM);
}

/** Lints a document by Redocly's recommended rules, but one: `/health` and `/ready` refuse nobody. */
export function redocly(document: string): Promise<Verdict> {
  const rules = ["--extends=recommended", "--skip-rule=operation-4xx-response"];
  rules.push("--max-problems=1000", "--format=stylish");
  return verdict(`${NPM}/node_modules/.bin/redocly`, ["lint", ...rules, document], {
    // Warnings count too.
    isFine: (output) => !/^ +\d+:\d+ +(error|warning)/m.test(output),
  });
}

/** Makes TypeScript's types of a document, and checks them. */
export async function openapiTypescript(document: string): Promise<Verdict> {
  const types = `${document}.d.ts`, bin = `${NPM}/node_modules/.bin`;
  const made = await verdict(`${bin}/openapi-typescript`, [document, "-o", types]);
  if (!made.ok) return made;
  return verdict(`${bin}/tsc`, ["--noEmit", "--strict", types]);
}

/** Makes a Python client of a document and imports it; whatever is left out of it is a fault. */
export async function openapiPythonClient(python: string, document: string): Promise<Verdict> {
  const folder = `${document}.client`;
  const made = await verdict(
    `${python}/openapi-python-client`,
    ["generate", "--path", document, "--output-path", `${folder}/made`, "--meta", "none"],
    {
      isFine: (output) => !output.includes("Unable to"),
      // Of ruff, which judges what was made, where that lies.
      env: { PATH: `${resolve(python)}:${Deno.env.get("PATH")}` },
    },
  );
  if (!made.ok) return made;
  const program = "import pkgutil, importlib, made\n" +
    "for module in pkgutil.walk_packages(made.__path__, 'made.'): importlib.import_module(module.name)";
  return verdict(`${python}/python`, ["-c", program], { env: { PYTHONPATH: folder } });
}

/** Sends what the document allows, and what it does not, and judges the answers by it; keeps notes in `folder`. */
export function schemathesis(
  python: string,
  address: string,
  key: string,
  folder: string,
): Promise<Verdict> {
  return verdict(resolve(python, "st"), [
    ...["--config-file", resolve(HERE, "schemathesis.toml")],
    "run",
    `${address}/openapi.json`,
    ...["--header", `Authorization: Bearer ${key}`],
    ...["--max-examples", String(MAX_EXAMPLES)],
    ...["--exclude-checks", EXCLUDED_CHECKS.join()],
    ...["--request-timeout", "60", "--no-color"],
  ], { cwd: folder });
}

async function verdict(
  program: string,
  args: string[],
  options: {
    readonly isFine?: (output: string) => boolean;
    readonly env?: Record<string, string>;
    readonly cwd?: string;
  } = {},
): Promise<Verdict> {
  const { isFine = () => true, env, cwd = "." } = options;
  const command = new Deno.Command(program, { args, cwd, env: { NO_COLOR: "1", ...env } });
  const { success, stdout, stderr } = await command.output();
  const output = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  return { ok: success && isFine(output), output };
}
