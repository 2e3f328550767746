/**
 * Prints the exact bits of what small models answer, as sorted JSON lines: what two builds, two
 * checkouts or two machines print can be compared byte for byte.
 *
 *     deno run -A tests/bits/main.ts [--only tiny,default,mixed] [--device cpu|cuda]
 *       [--isa generic|avx2|avx512|amx] [--library PATH]
 *
 * Runs every path that this machine has, of those asked for. The plain C++ path leaves the default
 * model's mixed requests out: it would take minutes.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { type BitsLine, collectBits, type Part, pathsHere } from "./collect.ts";

const { values: flags } = parseArgs({
  options: {
    only: { type: "string", default: "tiny,default,mixed" },
    device: { type: "string" },
    isa: { type: "string" },
    library: { type: "string" },
  },
});

const PARTS: readonly Part[] = ["tiny", "default", "mixed"];
const parts = flags.only.split(",") as Part[];
const unknown = parts.find((part) => !PARTS.includes(part));
if (unknown !== undefined) {
  fail(`--only must be of ${PARTS.join(", ")}: current value is ${unknown}`);
}
const { device, isa, library } = flags;
const here = pathsHere(library);
const paths = here.filter(({ options }) =>
  options.device === (device ?? options.device) && options.isa === (isa ?? options.isa)
);
if (paths.length === 0) {
  fail(`Cannot find such a path: this machine has ${here.map(({ name }) => name).join(", ")}`);
}

const lines: BitsLine[] = [];
for (const part of parts) {
  for (const path of paths) {
    const start = performance.now();
    const some = await collectBits(part, path, library);
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    console.error(`${part}, ${path.name}: ${some.length} requests, ${seconds} s`);
    lines.push(...some);
  }
}
console.log(lines.map((line) => JSON.stringify(line)).sort().join("\n"));

function fail(message: string): never {
  console.error(message);
  Deno.exit(1);
}
