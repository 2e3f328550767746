/**
 * A server process under measurement: started as a user would, talked to over HTTP.
 *
 * @module
 */

import { TextLineStream } from "./text_lines.ts";

/** When each phase of a start was over, in seconds since the process was spawned. */
export interface StartPhases {
  /** `/health` answered: the port is open, the model may still load. */
  readonly listening: number;
  /** `/ready` answered 200: the weights are loaded. */
  readonly ready: number;
  /** The first token of a first request arrived. */
  readonly firstToken: number;
}

/** A chunk of a stream: a slow reader gets several tokens in one. */
export interface Arrival {
  /** Milliseconds of `performance.now()`. */
  readonly at: number;
  /** At least 1. */
  readonly numTokens: number;
}

/** When the tokens of one streamed completion arrived. */
export interface TokenTimes {
  /** Milliseconds of `performance.now()`. */
  readonly sent: number;
  /** At least one. */
  readonly arrivals: readonly Arrival[];
}

export class ServerProcess implements AsyncDisposable {
  private constructor(
    readonly url: string,
    readonly startPhases: StartPhases,
    private readonly child: Deno.ChildProcess,
  ) {}

  /**
   * Spawn `deno task serve` on a free port and wait for its first token.
   *
   * @param key that its requests are sent with
   * @param folder of another checkout
   */
  static async start(
    args: readonly string[],
    { key = "", folder = Deno.cwd() }: { readonly key?: string; readonly folder?: string } = {},
  ): Promise<ServerProcess> {
    const port = freePort();
    const url = `http://127.0.0.1:${port}`;
    const spawned = performance.now();
    const child = new Deno.Command(Deno.execPath(), {
      args: ["task", "--quiet", "serve", "--port", String(port), ...args],
      cwd: folder,
      stdin: "null",
      stdout: "null",
      stderr: "inherit",
    }).spawn();
    const since = () => (performance.now() - spawned) / 1000;
    await answers(`${url}/health`, child);
    const listening = since();
    await answers(`${url}/ready`, child);
    const ready = since();
    const server = new ServerProcess(url, { listening, ready, firstToken: 0 }, child);
    await server.complete(randomPrompt(16), 1, { key });
    return new ServerProcess(url, { listening, ready, firstToken: since() }, child);
  }

  /**
   * Stream a greedy completion of exactly `maxTokens` tokens.
   *
   * @param onArrival called for each chunk as it comes
   */
  async complete(
    prompt: readonly number[],
    maxTokens: number,
    { key = "", signal, onArrival = () => {} }: {
      readonly key?: string;
      readonly signal?: AbortSignal;
      readonly onArrival?: (arrival: Arrival) => void;
    } = {},
  ): Promise<TokenTimes> {
    const sent = performance.now();
    const response = await fetch(`${this.url}/v1/completions`, {
      method: "POST",
      headers: { "content-type": "application/json", ...key && { "x-api-key": key } },
      ...signal && { signal },
      body: JSON.stringify({
        prompt,
        max_tokens: maxTokens,
        temperature: 0,
        ignore_eos: true,
        stream: true,
        return_token_ids: true,
      }),
    });
    if (!response.ok || response.body === null) {
      throw new Error(`Cannot complete: ${response.status} ${await response.text()}`);
    }
    const arrivals: Arrival[] = [];
    const lines = response.body
      .pipeThrough(new TextDecoderStream())
      .pipeThrough(new TextLineStream());
    for await (const line of lines) {
      if (!line.startsWith("data: {")) continue;
      const chunk = JSON.parse(line.slice("data: ".length));
      if (chunk.error) throw new Error(`Cannot complete: ${chunk.error.message}`);
      const numTokens = chunk.choices?.[0]?.token_ids.length ?? 0;
      if (numTokens === 0) continue;
      const arrival = { at: performance.now(), numTokens };
      arrivals.push(arrival);
      onArrival(arrival);
    }
    const total = arrivals.reduce((sum, { numTokens }) => sum + numTokens, 0);
    if (total !== maxTokens) {
      throw new Error(`Cannot measure: ${total} tokens came, not ${maxTokens}`);
    }
    return { sent, arrivals };
  }

  /** The JSON of an answer; a body makes it a POST. */
  async ask<T>(path: string, body?: object): Promise<T> {
    const response = await fetch(this.url + path, {
      ...(body && { method: "POST", body: JSON.stringify(body) }),
      headers: { "content-type": "application/json" },
    });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return await response.json();
  }

  /** A counter or gauge of `/metrics`; of the series whose labels contain `label`. */
  async metric(name: string, label = ""): Promise<number> {
    const text = await (await fetch(`${this.url}/metrics`)).text();
    const line = text.split("\n").find((l) => l.split(/[{ ]/)[0] === name && l.includes(label));
    if (line === undefined) throw new Error(`Cannot read metric ${name}: it is not exported`);
    return Number(line.slice(line.lastIndexOf(" ")));
  }

  /** Resolves when no request runs or waits. */
  async idle(): Promise<void> {
    const busy = ["hearth_num_requests_running", "hearth_num_requests_waiting"];
    while ((await Promise.all(busy.map((name) => this.metric(name)))).some((n) => n > 0)) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** Resident memory of the server now, in bytes. */
  memoryBytes(): Promise<number> {
    return largest(this.child.pid, "VmRSS");
  }

  /** Its highest so far, in bytes. */
  peakMemoryBytes(): Promise<number> {
    return largest(this.child.pid, "VmHWM");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill("SIGTERM");
    await this.child.status;
  }
}

/** Token ids that no earlier prompt shared, so that the prefix cache cannot help. */
export function randomPrompt(length: number): number[] {
  return Array.from({ length }, () => 1000 + Math.floor(Math.random() * 39_000));
}

/** A memory figure of the largest process below this one: `deno task` starts the server as a child. */
async function largest(pid: number, field: "VmRSS" | "VmHWM"): Promise<number> {
  const status = await Deno.readTextFile(`/proc/${pid}/status`);
  const children = await Deno.readTextFile(`/proc/${pid}/task/${pid}/children`);
  const own = Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(status)?.[1]) * 1024;
  const pids = children.split(" ").filter((child) => child !== "").map(Number);
  return Math.max(own, ...await Promise.all(pids.map((child) => largest(child, field))));
}

function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  return port;
}

async function answers(url: string, child: Deno.ChildProcess): Promise<void> {
  let exited = false;
  child.status.then(() => exited = true);
  while (!exited) {
    try {
      const response = await fetch(url);
      await response.body?.cancel();
      if (response.ok) return;
    } catch {
      // Not listening yet.
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error("Cannot start the server: the process exited");
}
