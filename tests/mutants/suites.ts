/**
 * Which tests judge a fault, those most likely to catch it first.
 *
 * @module
 */
import { basename } from "node:path";

/** One run of `deno test`. */
export interface Suite {
  readonly name: string;
  readonly args: readonly string[];
}

/**
 * Tests of a folder see the folders that theirs imports; functions/ is imported by tests/http and
 * tests/attack only.
 */
const TEST_FOLDERS: Readonly<Record<string, readonly string[]>> = {
  ffi: ["ffi", "engine", "model", "golden", "http", "bits", "e2e"],
  model: ["jinja", "model", "engine", "golden", "http", "bits", "e2e"],
  engine: ["engine", "http", "golden", "bits", "e2e"],
  functions: ["http", "attack"],
};

/** The kernel tests take minutes, and are all that calls this file. */
const OPS = "ffi/ops.ts";

/** Every suite that some fault may meet. */
export function allSuites(): Suite[] {
  const folders = new Set(Object.values(TEST_FOLDERS).flat());
  return [...folders].map(suiteOf).concat(docSuite);
}

/** The suites for a fault in `file`, which is among `files`: first the tests named after it. */
export function suitesFor(file: string, files: readonly string[]): Suite[] {
  const testName = `${basename(file, ".ts")}_test.ts`;
  const named = files.filter((test) => test.startsWith("tests/") && basename(test) === testName);
  const folders = TEST_FOLDERS[file.split("/")[0]!]!;
  return [
    ...named.map((test) => ({ name: test, args: [test] })),
    ...(file === OPS ? [suiteOf("kernels")] : []),
    ...folders.map(suiteOf),
    docSuite,
  ];
}

function suiteOf(folder: string): Suite {
  return { name: `tests/${folder}`, args: [`tests/${folder}`] };
}

/** The examples in docstrings. */
const docSuite: Suite = {
  name: "docstrings",
  args: ["--doc", "mod.ts", "functions", "engine", "model", "ffi"],
};
