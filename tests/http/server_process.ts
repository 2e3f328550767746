/**
 * `functions/serve.ts` as a process of its own, on a free port.
 *
 * @module
 */
import assert from "node:assert/strict";
import { serveTask } from "../../scripts/serve_task.ts";

/** As `deno task serve` runs it, but that it may write nowhere. */
const task = serveTask();
const taskFlags = task.flags.filter((flag) => !flag.startsWith("--allow-write"));

/** Runs until its end and collects what it printed. */
export async function runServer(
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<{ code: number; signal: string | null; stdout: string; stderr: string }> {
  const output = await command(args, env).output();
  return {
    code: output.code,
    signal: output.signal,
    stdout: new TextDecoder().decode(output.stdout),
    stderr: new TextDecoder().decode(output.stderr),
  };
}

function command(
  args: readonly string[],
  env: Record<string, string>,
  flags: readonly string[] = taskFlags,
  openFiles?: number,
): Deno.Command {
  const limit = openFiles === undefined ? "" : `ulimit -n ${openFiles} && `;
  const deno = ["run", ...flags, "functions/serve.ts", ...args];
  return new Deno.Command("sh", {
    args: ["-c", `${limit}exec "$0" "$@"`, Deno.execPath(), ...deno],
    env: { NO_COLOR: "1", ...task.env, ...env },
    stdout: "piped",
    stderr: "piped",
  });
}

/** A server that runs. Leaving its scope ends it. */
export class ServerProcess implements AsyncDisposable {
  stdout = "";
  stderr = "";
  readonly #process: Deno.ChildProcess;
  readonly #reading: Promise<unknown>;
  #ended = false;
  #paused: PromiseWithResolvers<void> | undefined;

  private constructor(
    args: readonly string[],
    env: Record<string, string>,
    flags: readonly string[] | undefined,
    openFiles: number | undefined,
  ) {
    this.#process = command(["--port", "0", ...args], env, flags, openFiles).spawn();
    this.#process.status.then(() => this.#ended = true);
    this.#reading = Promise.all([
      this.#collect(this.#process.stdout, (text) => this.stdout += text),
      this.#collect(this.#process.stderr, (text) => this.stderr += text),
    ]);
  }

  /**
   * Starts it and waits until it listens, or until it is ready. `flags` are Deno's, in place of the
   * serve task's permissions; `openFiles` is its limit of them.
   */
  static async start(
    args: readonly string[],
    { until = "ready after", env = {}, flags, openFiles }: {
      readonly until?: string;
      readonly env?: Record<string, string>;
      readonly flags?: readonly string[];
      readonly openFiles?: number;
    } = {},
  ): Promise<ServerProcess> {
    const server = new ServerProcess(args, env, flags, openFiles);
    await server.printed(until);
    return server;
  }

  get address(): string {
    return /listening on (\S+)/.exec(this.stdout)![1]!;
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** Resolves when `text` stands in the output. */
  async printed(text: string): Promise<void> {
    const deadline = performance.now() + 30_000;
    while (!this.stdout.includes(text)) {
      assert.ok(!this.#ended, `ended before ${JSON.stringify(text)}: ${this.#output}`);
      assert.ok(performance.now() < deadline, `no ${JSON.stringify(text)}: ${this.#output}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  /** What the server prints is left in its pipes until {@linkcode goOnReading} is called. */
  pauseReading(): void {
    this.#paused = Promise.withResolvers();
  }

  goOnReading(): void {
    this.#paused?.resolve();
    this.#paused = undefined;
  }

  signal(name: Deno.Signal): void {
    this.#process.kill(name);
  }

  /** Exit code, once it has ended by itself; 30 s at most. */
  async code(): Promise<number> {
    const timer = setTimeout(() => this.#process.kill("SIGKILL"), 30_000);
    const { code, signal } = await this.#process.status;
    clearTimeout(timer);
    this.goOnReading();
    await this.#reading;
    assert.equal(signal, null, this.#output);
    return code;
  }

  async post(path: string, body: object, init: RequestInit = {}): Promise<Response> {
    return await fetch(this.address + path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
      ...init,
    });
  }

  /** One number out of `/metrics`. */
  async metric(name: string): Promise<number> {
    const text = await (await fetch(`${this.address}/metrics`)).text();
    const line = text.split("\n").find((line) => line.startsWith(`${name} `));
    return Number(line?.split(" ").at(-1) ?? 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#process.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    this.goOnReading();
    await this.#process.status;
    await this.#reading;
  }

  get #output(): string {
    return `${this.stdout}\n${this.stderr}`;
  }

  async #collect(stream: ReadableStream<Uint8Array>, take: (text: string) => void): Promise<void> {
    for await (const text of stream.pipeThrough(new TextDecoderStream())) {
      take(text);
      await this.#paused?.promise;
    }
  }
}
