/**
 * Fails when imports go upwards, or in a circle. `deno info` says who imports whom.
 *
 *   functions ─▶ server ─▶ dialects ─▶ engine ─▶ model ─▶ ffi
 *
 * A folder imports of those below it, types included; one dialect imports of no other.
 *
 * Of files in a circle, what each finds of the other hangs on which is loaded first; types alone do
 * not count there.
 *
 * @module
 */
import { pathToFileURL } from "node:url";

interface ModuleGraph {
  modules: {
    specifier: string;
    dependencies?: { code?: { specifier?: string }; type?: { specifier?: string } }[];
  }[];
}

/** What a file imports. */
interface Imports {
  /** To run. */
  readonly code: readonly string[];
  /** To run, or for their types. */
  readonly all: readonly string[];
}

/** The lowest first; other folders may import of all. */
const LAYERS: readonly string[] = [
  "ffi",
  "model",
  "engine",
  "functions/dialects",
  "functions/server",
  "functions",
];

const root = pathToFileURL(`${Deno.cwd()}/`).href;
const files = output("git", "ls-files", "*.ts").trim().split("\n");
const imports = readImports(files.map((file) => root + file));
const faults = findUpward(imports);
const cycle = findCycle(imports);
if (cycle !== undefined) faults.push(`Imports go in a circle: ${cycle.map(inTree).join(" → ")}`);
if (faults.length > 0) {
  console.error(faults.join("\n"));
  Deno.exit(1);
}
console.log(`Imports of ${imports.size} files go downwards, and in no circle`);

function inTree(url: string): string {
  return url.slice(root.length);
}

/** What a program prints; its failure is ours. */
function output(program: string, ...args: string[]): string {
  const { success, stdout } = new Deno.Command(program, { args, stderr: "inherit" }).outputSync();
  if (!success) throw new Error(`Cannot run ${program} ${args.join(" ")}`);
  return new TextDecoder().decode(stdout);
}

/** Which of our files each file imports. One graph covers all that its root reaches. */
function readImports(roots: readonly string[]): Map<string, Imports> {
  const imports = new Map<string, Imports>();
  for (const url of roots) {
    if (imports.has(url)) continue;
    const graph: ModuleGraph = JSON.parse(output(Deno.execPath(), "info", "--json", url));
    for (const { specifier, dependencies = [] } of graph.modules) {
      if (!specifier.startsWith(root)) continue;
      const ours = (targets: string[]) => targets.filter((target) => target.startsWith(root));
      const code = dependencies.flatMap(({ code }) => code?.specifier ?? []);
      const types = dependencies.flatMap(({ type }) => type?.specifier ?? []);
      imports.set(specifier, { code: ours(code), all: ours([...code, ...types]) });
    }
  }
  return imports;
}

/** What each layer imports of one above it. */
function findUpward(imports: ReadonlyMap<string, Imports>): string[] {
  const layerOf = (url: string) => {
    const path = inTree(url);
    const layer = LAYERS.findIndex((folder) => path.startsWith(`${folder}/`));
    return layer < 0 ? LAYERS.length : layer;
  };
  // A folder with a file dialect.ts is one.
  const dialects = [...imports.keys()].map((url) =>
    /^.*\/dialects\/[^/]+\/(?=dialect\.ts$)/.exec(url)
  )
    .flatMap((match) => match?.[0] ?? []);
  const dialectOf = (url: string) => dialects.find((folder) => url.startsWith(folder));
  const isOther = (file: string, target: string) => {
    const [from, to] = [dialectOf(file), dialectOf(target)];
    return from !== undefined && to !== undefined && from !== to;
  };
  return [...imports].flatMap(([file, { all }]) =>
    all
      .filter((target) => target.endsWith(".ts"))
      .filter((target) => layerOf(target) > layerOf(file) || isOther(file, target))
      .map((target) => `${inTree(file)} imports ${inTree(target)}, which is above or beside it`)
  );
}

/** The first circle met by a depth-first walk, its first file repeated at the end. */
function findCycle(imports: ReadonlyMap<string, Imports>): string[] | undefined {
  const done = new Set<string>();
  const path: string[] = [];

  function walk(file: string): string[] | undefined {
    const start = path.indexOf(file);
    if (start >= 0) return [...path.slice(start), file];
    if (done.has(file)) return undefined;
    path.push(file);
    for (const target of imports.get(file)?.code ?? []) {
      const cycle = walk(target);
      if (cycle !== undefined) return cycle;
    }
    path.pop();
    done.add(file);
    return undefined;
  }

  for (const file of imports.keys()) {
    const cycle = walk(file);
    if (cycle !== undefined) return cycle;
  }
  return undefined;
}
