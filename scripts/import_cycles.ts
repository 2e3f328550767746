/**
 * Fails when TypeScript files import each other in a circle: what each finds of the other then hangs on
 * which of them is loaded first. `deno info` says who imports whom; types alone do not count.
 *
 * @module
 */
import { pathToFileURL } from "node:url";

interface ModuleGraph {
  modules: {
    specifier: string;
    dependencies?: { code?: { specifier?: string } }[];
  }[];
}

const root = pathToFileURL(`${Deno.cwd()}/`).href;
const files = output("git", "ls-files", "*.ts").trim().split("\n");
const imports = readImports(files.map((file) => root + file));
const cycle = findCycle(imports);
if (cycle !== undefined) {
  console.error(
    `Imports go in a circle: ${cycle.map((url) => url.slice(root.length)).join(" → ")}`,
  );
  Deno.exit(1);
}
console.log(`No import cycles in ${imports.size} files`);

/** What a program prints; its failure is ours. */
function output(program: string, ...args: string[]): string {
  const { success, stdout } = new Deno.Command(program, { args, stderr: "inherit" }).outputSync();
  if (!success) throw new Error(`Cannot run ${program} ${args.join(" ")}`);
  return new TextDecoder().decode(stdout);
}

/** Which of our files each file imports. One graph covers all that its root reaches. */
function readImports(roots: readonly string[]): Map<string, string[]> {
  const imports = new Map<string, string[]>();
  for (const url of roots) {
    if (imports.has(url)) continue;
    const graph: ModuleGraph = JSON.parse(output(Deno.execPath(), "info", "--json", url));
    for (const { specifier, dependencies = [] } of graph.modules) {
      if (!specifier.startsWith(root)) continue;
      const targets = dependencies.flatMap(({ code }) => code?.specifier ?? []);
      imports.set(specifier, targets.filter((target) => target.startsWith(root)));
    }
  }
  return imports;
}

/** The first circle met by a depth-first walk, its first file repeated at the end. */
function findCycle(imports: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const done = new Set<string>();
  const path: string[] = [];

  function walk(file: string): string[] | undefined {
    const start = path.indexOf(file);
    if (start >= 0) return [...path.slice(start), file];
    if (done.has(file)) return undefined;
    path.push(file);
    for (const target of imports.get(file) ?? []) {
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
