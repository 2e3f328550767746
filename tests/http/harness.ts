/**
 * An app over an engine, asked without a socket, and what tests read out of its answers.
 *
 * @module
 */
import assert from "node:assert/strict";
import { createApp } from "../../functions/app.ts";
import type { ServedEngine } from "../../functions/server/env.ts";
import { Instance, type InstanceOptions } from "../../functions/server/instance.ts";
import type { LineWriter } from "../../functions/server/standard_output.ts";
import { FakeEngine, type FakeEngineOptions } from "./fake_engine.ts";

/** One engine behind all functions. */
export class Harness<E extends ServedEngine = ServedEngine> implements AsyncDisposable {
  readonly instance: Instance;
  readonly app: ReturnType<typeof createApp>;

  constructor(readonly engine: E, options: Partial<InstanceOptions> = {}) {
    this.instance = new Instance({ accessLog: "off", ...options });
    this.instance.model.engine = engine;
    this.app = createApp(this.instance);
  }

  /** POSTs a body as JSON; a string goes as it is. */
  async post(path: string, body: unknown, init: RequestInit = {}): Promise<Response> {
    return await this.app.request(path, {
      method: "POST",
      body: typeof body === "string" ? body : JSON.stringify(body),
      ...init,
      headers: { "content-type": "application/json", ...init.headers as Record<string, string> },
    });
  }

  /** POSTs and reads the JSON that comes with `status`. */
  // deno-lint-ignore no-explicit-any
  async json(path: string, body: unknown, status = 200): Promise<any> {
    const response = await this.post(path, body);
    const answer = await response.json();
    assert.equal(response.status, status, JSON.stringify(answer));
    return answer;
  }

  /** POSTs and reads all events; the last is the string `[DONE]`, or an error. */
  // deno-lint-ignore no-explicit-any
  async events(path: string, body: object): Promise<any[]> {
    const response = await this.post(path, { ...body, stream: true });
    assert.equal(response.status, 200, response.ok ? "" : await response.text());
    assert.match(response.headers.get("content-type") ?? "", /^text\/event-stream/);
    return eventsOf(await response.text());
  }

  get(path: string, headers: Record<string, string> = {}): Promise<Response> {
    return Promise.resolve(this.app.request(path, { headers }));
  }

  /** Every test ends here: nothing may still run and no block may be held. */
  async [Symbol.asyncDispose](): Promise<void> {
    await settled(this.engine);
    await this.engine.close();
  }
}

/** Waits until nothing runs; fails when blocks are held for longer than 5 s. */
export async function settled(engine: ServedEngine): Promise<void> {
  const deadline = performance.now() + 5000;
  for (;;) {
    const { numRequestsRunning, numRequestsWaiting, kvBlocks } = engine.stats();
    if (numRequestsRunning + numRequestsWaiting + kvBlocks.held === 0) return;
    assert.ok(performance.now() < deadline, `still held: ${kvBlocks.held} blocks`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** `data:` lines of an event stream, parsed. Comments are left out. */
// deno-lint-ignore no-explicit-any
export function eventsOf(text: string): any[] {
  return text.split("\n\n").filter((event) => event !== "" && !event.startsWith(":"))
    .map((event) => {
      assert.ok(event.startsWith("data: "), event);
      const data = event.slice("data: ".length);
      return data === "[DONE]" ? data : JSON.parse(data);
    });
}

export function fakeHarness(
  engine: FakeEngineOptions = {},
  options: Partial<InstanceOptions> = {},
): Harness<FakeEngine> {
  return new Harness(new FakeEngine(engine), options);
}

/** What is written to standard output, or error, while `body` runs: line by line, in place of there. */
export async function linesTo(
  writer: LineWriter,
  body: (lines: readonly string[]) => Promise<void>,
): Promise<string[]> {
  const lines: string[] = [];
  writer.line = (text) => void lines.push(text);
  try {
    await body(lines);
  } finally {
    delete (writer as Partial<LineWriter>).line; // the class's own shows again
  }
  return lines;
}

/** Names an engine and makes a harness over it, for suites that run over several. */
export interface EngineUnderTest {
  readonly name: string;
  open(options?: Partial<InstanceOptions>): Promise<Harness>;
}
