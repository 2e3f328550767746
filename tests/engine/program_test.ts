import assert from "node:assert/strict";
import { tiny } from "./requests.ts";

const url = (path: string) => new URL(`../../${path}`, import.meta.url);

/** What a program needs at least: no call asks for blanket --allow-ffi. */
const leastPermissions = [
  `--allow-ffi=${url("build/libhearth.so").pathname}`,
  "--allow-read",
  "--allow-env=HEARTH_*,HF_*,HOME,XDG_CACHE_HOME",
];

/** Runs a program in a process of its own. */
async function program(
  body: string,
  flags: readonly string[] = leastPermissions,
): Promise<{ code: number; out: string; err: string }> {
  const source = `
    import { Engine } from "${url("mod.ts").href}";
    const engine = await Engine.open("${tiny}", { device: "cpu", maxModelLen: 256 });
    const request = { tokens: [20, 21, 22], maxTokens: 200, ignoreEos: true };
    ${body}`;
  const path = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(path, source);
    const config = url("deno.json").pathname;
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", `--config=${config}`, ...flags, path],
      env: { NO_COLOR: "1" },
    }).output();
    const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
    return { code, out: out!, err: err! };
  } finally {
    await Deno.remove(path);
  }
}

Deno.test("A program ends by itself though it closes no engine", async () => {
  const { code, out, err } = await program(`
    for await (const { finishReason } of engine.generate(request)) console.log(finishReason);`);
  assert.equal(code, 0, err);
  assert.match(out, /length\n$/);
});

Deno.test("A program ends by itself though a worker encoded its prompt", async () => {
  const { code, out, err } = await program(`
    const prompt = "the quick brown fox ".repeat(500);
    await engine.generate({ prompt }).accepted.catch(({ code }) => console.log(code));`);
  assert.equal(code, 0, err);
  assert.equal(out, "context_length_exceeded\n");
});

Deno.test("An engine that was forgotten is closed when it is collected", async () => {
  const { code, out, err } = await program(
    `
    const numThreads = () => [...Deno.readDirSync("/proc/self/task")].length;
    await engine.close();
    const before = numThreads();
    await (async () => {
      const forgotten = await Engine.open("${tiny}", { device: "cpu", numThreads: 4 });
      console.log(numThreads() >= before + 4);
      for await (const _ of forgotten.generate({ ...request, maxTokens: 2 }));
    })();
    // Deno's thread for the poll may linger.
    for (const start = performance.now(); numThreads() > before + 1;) {
      if (performance.now() - start > 30_000) throw new Error("it lives");
      gc();
      await new Promise((resolve) => setTimeout(resolve, 5));
    }`,
    ["--allow-all", "--v8-flags=--expose-gc"],
  );
  assert.equal(code, 0, err);
  assert.equal(out, "true\n");
});

Deno.test("An uncaught error while tokens come is a message, not a crash", async () => {
  const { code, err } = await program(`
    engine.generate(request);
    setTimeout(() => { throw new Error("mine"); }, 1);`);
  assert.equal(code, 1, err);
  assert.match(err, /Uncaught Error: mine/);
});

Deno.test("Deno.exit() while tokens come keeps its code", async () => {
  const { code, err } = await program(`
    for await (const _ of engine.generate(request)) Deno.exit(7);`);
  assert.equal(code, 7, err);
});
