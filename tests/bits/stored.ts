/**
 * The bits of the tiny checkpoints that are kept under version control: a file for each path, with the
 * HEARTH_NUMERICS that they are the bits of. Run as a program it writes those of this machine's paths
 * (`--missing`: only of paths that have none), and removes files of other numerics, which nothing can be
 * compared with any more:
 *
 *     deno task bits:store [--missing]
 *
 * @module
 */
import { parseArgs } from "node:util";
import { numerics } from "../../ffi/structs.ts";
import { type BitsLine, collectBits, pathsHere } from "./collect.ts";

/** What to run when bits have changed on purpose, or on a machine with paths that have none yet. */
export const STORE_COMMAND = "deno task bits:store";

const FOLDER = new URL("./stored/", import.meta.url);

/** 64 bits of a SHA-256: enough to see a change that nobody makes on purpose. */
const DIGEST_DIGITS = 16;

/** One path's bits. */
export interface StoredBits {
  /** HEARTH_NUMERICS of the library that they were made with. */
  readonly numerics: number;
  /** By model, by request. */
  readonly digests: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

/** Every path whose bits are stored, by name. */
export function readStored(): Map<string, StoredBits> {
  const names = [...Deno.readDirSync(FOLDER)].map(({ name }) => name).sort();
  return new Map(names.map((name) => [
    name.replace(/\.json$/, ""),
    JSON.parse(Deno.readTextFileSync(new URL(name, FOLDER))),
  ]));
}

/** What is stored of a path's answers. */
export function digestsOf(lines: readonly BitsLine[]): StoredBits["digests"] {
  const digests: Record<string, Record<string, string>> = {};
  for (const { model, request, sha256 } of lines) {
    (digests[model] ??= {})[request] = sha256.slice(0, DIGEST_DIGITS);
  }
  return digests;
}

/** The requests whose bits are not the stored ones, as `model: request`; those of one side alone, too. */
export function changedRequests(
  stored: StoredBits["digests"],
  found: StoredBits["digests"],
): string[] {
  const models = new Set([...Object.keys(stored), ...Object.keys(found)]);
  return [...models].flatMap((model) => {
    const before = stored[model] ?? {}, now = found[model] ?? {};
    const requests = new Set([...Object.keys(before), ...Object.keys(now)]);
    return [...requests]
      .filter((request) => before[request] !== now[request])
      .map((request) => `${model}: ${request}`);
  });
}

if (import.meta.main) {
  const { values: flags } = parseArgs({ options: { missing: { type: "boolean" } } });
  const before = readStored();
  for (const [name, stored] of before) {
    if (stored.numerics === numerics) continue;
    Deno.removeSync(new URL(`${name}.json`, FOLDER));
    before.delete(name);
    console.log(`${name}: removed what was stored for numerics ${stored.numerics}`);
  }
  for (const path of pathsHere()) {
    if (flags.missing && before.has(path.name)) continue;
    const digests = digestsOf(await collectBits("tiny", path));
    const stored: StoredBits = { numerics, digests };
    Deno.writeTextFileSync(
      new URL(`${path.name}.json`, FOLDER),
      `${JSON.stringify(stored, undefined, 2)}\n`,
    );
    console.log(`${path.name}: stored for numerics ${numerics}`);
  }
}
