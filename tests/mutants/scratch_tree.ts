/**
 * Copies of the working tree in temporary folders, in which faulty code runs.
 *
 * Its user's cache is a folder of its own with links into the real one, since a fault may write or
 * remove what it should not. What is started there is ended with all that it started.
 *
 * @module
 */
import { basename, join } from "node:path";
import { defaultModelPath } from "../../model/default_model.ts";

/** How a command in the tree ended. */
export interface Ending {
  readonly kind: "passed" | "failed" | "hung";
  readonly seconds: number;
  /** What it printed, colours off. */
  readonly output: string;
}

/** Several trees, each used by one at a time; leaving its scope removes them. */
export class ScratchTrees implements AsyncDisposable {
  readonly #trees: readonly ScratchTree[];
  readonly #free: ScratchTree[];
  readonly #waiting: ((tree: ScratchTree) => void)[] = [];

  private constructor(trees: readonly ScratchTree[]) {
    this.#trees = trees;
    this.#free = [...trees];
  }

  static async create(size: number): Promise<ScratchTrees> {
    const cores = Math.max(1, Math.floor(navigator.hardwareConcurrency / size));
    const shareOf = (i: number) => size === 1 ? undefined : `${i * cores}-${(i + 1) * cores - 1}`;
    return new ScratchTrees(
      await Promise.all(Array.from({ length: size }, (_, i) => ScratchTree.create(shareOf(i)))),
    );
  }

  get size(): number {
    return this.#trees.length;
  }

  /** Calls `work` with a tree that nobody else has, in the order of the calls. */
  async use<T>(work: (tree: ScratchTree) => Promise<T>): Promise<T> {
    const tree = this.#free.pop() ??
      await new Promise<ScratchTree>((resolve) => this.#waiting.push(resolve));
    try {
      return await work(tree);
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free.push(tree);
      else next(tree);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#trees.map((tree) => tree[Symbol.asyncDispose]()));
  }
}

/** Leaving its scope removes it. */
export class ScratchTree implements AsyncDisposable {
  readonly #root: string;
  readonly #env: Record<string, string>;
  readonly #cores: string | undefined;
  #leader: number | undefined;
  /** What is in the tree, as git knows it and has not been told to ignore. */
  readonly files: readonly string[];

  private constructor(
    root: string,
    files: readonly string[],
    env: Record<string, string>,
    cores: string | undefined,
  ) {
    this.#root = root;
    this.#cores = cores;
    this.files = files;
    this.#env = env;
  }

  /** What runs in it has the cores that `taskset` reads in `cores`, else all. */
  static async create(cores?: string): Promise<ScratchTree> {
    const model = await defaultModelPath();
    const { denoDir } = JSON.parse(await output(Deno.execPath(), "info", "--json"));
    const known = ["--cached", "--others", "--exclude-standard"];
    const files = (await output("git", "ls-files", "-z", ...known))
      .split("\0").filter((file) => file !== "" && exists(file));
    const root = await Deno.makeTempDir({ prefix: "hearth-mutants-" });
    const folder = (name: string) => join(root, name);
    await Deno.mkdir(folder("tree"));
    // With their times, since a test runs make there: it must find the library up to date.
    const flags = ["--archive", "--parents", "--target-directory", folder("tree")];
    await output("cp", ...flags, ...files, "build");
    await Deno.symlink(await Deno.realPath("node_modules"), folder("tree/node_modules"));
    const cached = folder("cache/hearth/models");
    await Deno.mkdir(cached, { recursive: true });
    await Deno.symlink(model, join(cached, basename(model)));
    // Else each process would hash the model anew.
    await Deno.copyFile(`${model}.verified`, join(cached, `${basename(model)}.verified`));
    await Deno.mkdir(folder("tmp"));
    return new ScratchTree(root, files, {
      DENO_DIR: denoDir,
      NO_COLOR: "1",
      TMPDIR: folder("tmp"),
      XDG_CACHE_HOME: folder("cache"),
    }, cores);
  }

  async read(file: string): Promise<string> {
    return await Deno.readTextFile(join(this.#root, "tree", file));
  }

  async write(file: string, text: string): Promise<void> {
    await Deno.writeTextFile(join(this.#root, "tree", file), text);
  }

  /** Runs Deno in the tree; what has not ended after `limitSeconds` hangs. */
  async deno(args: readonly string[], limitSeconds: number): Promise<Ending> {
    const start = performance.now();
    const command = [Deno.execPath(), ...args];
    if (this.#cores !== undefined) command.unshift("taskset", "--cpu-list", this.#cores);
    const process = new Deno.Command(command[0]!, {
      args: command.slice(1),
      cwd: join(this.#root, "tree"),
      env: this.#env,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      detached: true, // leads a group of processes, so that all of it can be ended
    }).spawn();
    this.#leader = process.pid;
    let hung = false;
    const timer = setTimeout(() => {
      hung = true;
      this.#endGroup();
    }, limitSeconds * 1000);
    // Its end comes before that of its output: what it left running may hold the pipes.
    const texts = [process.stdout, process.stderr].map((stream) => new Response(stream).text());
    const { success } = await process.status;
    clearTimeout(timer);
    this.#endGroup();
    return {
      kind: hung ? "hung" : success ? "passed" : "failed",
      seconds: (performance.now() - start) / 1000,
      output: (await Promise.all(texts)).join(""),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#endGroup();
    await Deno.remove(this.#root, { recursive: true });
  }

  #endGroup(): void {
    if (this.#leader === undefined) return;
    try {
      Deno.kill(-this.#leader, "SIGKILL");
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error; // all of it has ended
    }
  }
}

function exists(file: string): boolean {
  try {
    return Deno.statSync(file).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

async function output(program: string, ...args: string[]): Promise<string> {
  const { success, stdout } = await new Deno.Command(program, { args, stderr: "inherit" }).output();
  if (!success) throw new Error(`Cannot run ${program} ${args.join(" ")}`);
  return new TextDecoder().decode(stdout);
}
