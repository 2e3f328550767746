import assert from "node:assert/strict";
import { resolve } from "node:path";

const env = {
  NO_COLOR: "1",
  HEARTH_MODEL: resolve("tests/data/smollm2-bf16"),
  HEARTH_LIBRARY: resolve("build/libhearth.so"),
  HEARTH_NUM_THREADS: "1",
};

/** `deno serve` of one file on a free port, until the scope is left. */
class ServedFile implements AsyncDisposable {
  output = "";
  readonly #process: Deno.ChildProcess;
  readonly #reading: Promise<unknown>;
  #ended = false;

  constructor(
    file: string,
    args: readonly string[],
    options: Deno.CommandOptions & { readonly port?: number; readonly host?: string } = {},
  ) {
    this.#process = new Deno.Command(Deno.execPath(), {
      args: [
        "serve",
        "-A",
        "--host",
        options.host ?? "127.0.0.1",
        "--port",
        String(options.port ?? 0),
        ...args,
        file,
      ],
      env,
      stdout: "piped",
      stderr: "piped",
      ...options,
    }).spawn();
    this.#process.status.then(() => this.#ended = true);
    this.#reading = Promise.all(
      [this.#process.stdout, this.#process.stderr].map(async (stream) => {
        for await (const text of stream.pipeThrough(new TextDecoderStream())) this.output += text;
      }),
    );
  }

  /** Names of its threads; those of workers are `worker-1` and so on. */
  threads(): string[] {
    const folder = `/proc/${this.#process.pid}/task`;
    return [...Deno.readDirSync(folder)].map(({ name }) =>
      Deno.readTextFileSync(`${folder}/${name}/comm`).trim()
    );
  }

  /** Asks until it is ready. */
  async ask(
    path: string,
    body?: object,
    headers: Record<string, string> = {},
  ): Promise<{ status: number; text: string }> {
    const deadline = performance.now() + 60_000;
    for (;;) {
      const address = /listening on (http:\S+)/i.exec(this.output)?.[1];
      if (address !== undefined) {
        // A connection each, so that every isolate gets its share.
        using client = Deno.createHttpClient({ poolMaxIdlePerHost: 0, allowHost: true });
        const response = await fetch(new URL(path, address), {
          client,
          ...(body && { method: "POST", body: JSON.stringify(body) }),
          headers: { "content-type": "application/json", ...headers },
        });
        const text = await response.text();
        if (response.status !== 503) return { status: response.status, text };
      }
      assert.ok(!this.#ended && performance.now() < deadline, this.output);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#ended) this.#process.kill("SIGKILL");
    await this.#process.status;
    await this.#reading;
  }
}

/** Function files, each with a request that it answers. */
const functions: Record<string, [path: string, body?: object]> = {
  "generate": ["/generate", { prompt: "Hello", max_tokens: 2 }],
  "completions": ["/v1/completions", { prompt: "Hello", max_tokens: 2 }],
  "chat_completions": ["/v1/chat/completions", {
    messages: [{ role: "user", content: "Hello" }],
    max_tokens: 2,
  }],
  "models": ["/v1/models"],
  "tokenize": ["/tokenize", { prompt: "Hello" }],
  "detokenize": ["/detokenize", { tokens: [1, 2] }],
  "tokenizer_info": ["/tokenizer_info"],
  "health": ["/health"],
  "ready": ["/ready"],
  "version": ["/version"],
  "metrics": ["/metrics"],
  "openapi": ["/openapi.json"],
};

Deno.test("every file with a default export is among the functions that are tested", () => {
  const files = [...Deno.readDirSync("functions")].filter(({ isFile }) => isFile)
    .filter(({ name }) => /^export default/m.test(Deno.readTextFileSync(`functions/${name}`)));
  assert.deepEqual(
    files.map(({ name }) => name.replace(/\.ts$/, "")).sort(),
    Object.keys(functions).sort(),
  );
});

for (const [name, [path, body]] of Object.entries(functions)) {
  Deno.test(`deno serve runs functions/${name}.ts alone`, async () => {
    await using served = new ServedFile(`functions/${name}.ts`, []);
    const { status, text } = await served.ask(path, body);
    assert.equal(status, 200, text);
    const other = await served.ask(path === "/health" ? "/ready" : "/health");
    assert.equal(other.status, 404, "no other function is there");
    assert.equal((await served.ask("/openapi.json")).status, 200, "as the 404 says");
  });
}

for (
  const [what, variables, message] of [
    ["a bad variable", { HEARTH_PORT: "abc" }, /Cannot read HEARTH_PORT: .*abc\n$/],
    ["a missing model", { HEARTH_MODEL: "./no/such.gguf" }, /Cannot open model \.\/no\/such.*\n$/],
  ] as const
) {
  Deno.test(`deno serve exits 1 with one line for ${what}`, async () => {
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["serve", "-A", "--host", "127.0.0.1", "--port", "0", "functions/health.ts"],
      env: { ...env, ...variables },
    }).output();
    const text = new TextDecoder().decode(stderr);
    assert.equal(code, 1, text);
    assert.match(text, new RegExp(`^✗ ${message.source}`, "m"));
    assert.ok(!/^ +at /m.test(text), text);
  });
}

Deno.test("a function alone on loopback answers loopback's names, elsewhere any", async () => {
  for (const [host, status] of [["127.0.0.1", 403], ["0.0.0.0", 200]] as const) {
    await using served = new ServedFile("functions/health.ts", [], { host });
    const answer = await served.ask("/health", undefined, { host: "other.example" });
    assert.equal(answer.status, status, answer.text);
  }
});

Deno.test("a function started by a server of ours has an engine of its own", async () => {
  await using served = new ServedFile("functions/tokenize.ts", [], {
    env: { ...env, HEARTH_ENGINE_CLAIM: "1 theirs" },
  });
  assert.equal((await served.ask("/tokenize", { prompt: "Hello" })).status, 200);
});

Deno.test("a second isolate gets a clear error instead of a second model", async () => {
  await using served = new ServedFile("functions/tokenize.ts", ["--parallel"], {
    env: { ...env, DENO_JOBS: "2" },
    port: freePort(), // with 0 each isolate would take another
  });
  const seen = new Set<number>();
  for (let i = 0; i < 200 && seen.size < 2; i++) {
    const { status, text } = await served.ask("/tokenize", { prompt: "Hello" });
    seen.add(status);
    if (status !== 200) {
      assert.equal(status, 500);
      assert.match(text, /another isolate of this process has it/);
    }
  }
  assert.deepEqual([...seen].sort(), [200, 500]);
});

Deno.test("deno task bundle makes files that run without node_modules", async (t) => {
  const bundle = new Deno.Command(Deno.execPath(), { args: ["task", "--quiet", "bundle"] });
  const { success, stderr } = await bundle.output();
  assert.ok(success, new TextDecoder().decode(stderr));
  const folder = await Deno.makeTempDir();
  try {
    for (const [name, [path, body]] of Object.entries(functions)) {
      await t.step(`dist/${name}.js`, async () => {
        await Deno.copyFile(`dist/${name}.js`, `${folder}/${name}.js`);
        const args = ["--no-config", "--no-remote", "--no-npm", "--unstable-no-legacy-abort"];
        await using served = new ServedFile(`${name}.js`, args, { cwd: folder });
        const { status, text } = await served.ask(path, body);
        assert.equal(status, 200, text);
      });
    }
    await t.step("a long prompt is encoded beside the event loop", async () => {
      await using served = new ServedFile("tokenize.js", [], { cwd: folder });
      const isWorker = (name: string) => name.startsWith("worker-");
      const texts = ["x y ", "x y ".repeat(2000)];
      for (const [i, prompt] of texts.entries()) {
        const { status, text } = await served.ask("/tokenize", { prompt });
        assert.equal(status, 200, text);
        assert.equal(JSON.parse(text).count, prompt.length, "x, y and spaces by themselves");
        assert.equal(served.threads().some(isWorker), i === 1);
      }
      assert.doesNotMatch(served.output, /without a worker/);
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return (listener.addr as Deno.NetAddr).port;
}
