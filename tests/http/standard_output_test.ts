import assert from "node:assert/strict";
import { LineWriter } from "../../functions/server/standard_output.ts";
import { runServer, ServerProcess } from "./server_process.ts";

/** Keeps what is written while somebody reads, a few bytes at a time. */
class Pipe {
  text = "";
  writes = 0;
  #read = Promise.resolve();
  #goOn = () => {};

  async write(bytes: Uint8Array): Promise<number> {
    await this.#read;
    this.writes++;
    const part = bytes.subarray(0, 1000);
    this.text += new TextDecoder().decode(part);
    return part.length;
  }

  stopReading(): void {
    const { promise, resolve } = Promise.withResolvers<void>();
    [this.#read, this.#goOn] = [promise, resolve];
  }

  goOnReading(): void {
    this.#goOn();
  }
}

Deno.test("LineWriter writes lines whole, in order and in batches", async () => {
  const pipe = new Pipe();
  const writer = new LineWriter(pipe, "the pipe");
  const lines = Array.from({ length: 300 }, (_, i) => `line ${i}`);
  for (const line of lines) writer.line(line);
  await writer.flushed();
  assert.equal(pipe.text, lines.map((line) => `${line}\n`).join(""));
  assert.ok(pipe.writes < 10, `${pipe.writes} writes`);
  writer.line("one more");
  await writer.flushed();
  assert.ok(pipe.text.endsWith("line 299\none more\n"));
});

Deno.test("LineWriter drops what is beyond its bound, and says so where it was", async () => {
  const pipe = new Pipe();
  const writer = new LineWriter(pipe, "the pipe", 100);
  pipe.stopReading();
  for (let i = 0; i < 30; i++) writer.line(`line ${i}${i === 10 ? "!" : ""}`); // 7 to 9 bytes
  writer.line("");
  await writer.flushed(10);
  assert.equal(pipe.text, "");
  assert.equal(writer.numDropped, 18);
  pipe.goOnReading();
  await writer.flushed();
  const first = Array.from({ length: 13 }, (_, i) => `line ${i}${i === 10 ? "!" : ""}\n`).join("");
  assert.equal(pipe.text, `${first}lines dropped because the pipe was not read: 18\n`);
  writer.line("x".repeat(100));
  writer.line("after");
  await writer.flushed();
  const rest = "lines dropped because the pipe was not read: 1\nafter\n";
  assert.equal(pipe.text.slice(-rest.length), rest);
});

Deno.test("LineWriter outlives its reader", async () => {
  const gone = { write: () => Promise.reject(new Deno.errors.BrokenPipe("gone")) };
  const writer = new LineWriter(gone, "the pipe");
  for (let i = 0; i < 3; i++) {
    writer.line("nobody is there");
    await writer.flushed();
  }
  assert.equal(writer.numDropped, 3);
});

Deno.test("a server whose output nobody reads answers, and tells what was dropped", async () => {
  await using server = await ServerProcess.start(["--model", "tests/data/smollm2-bf16"]);
  server.pauseReading();
  // Lines of 0.5 kB: more than the bound and what pipes hold.
  const numRequests = 4000, path = "x".repeat(200);
  const headers = { "x-request-id": "y".repeat(200) };
  for (let i = 0; i < numRequests; i++) {
    const signal = AbortSignal.timeout(20_000);
    const answer = await fetch(`${server.address}/n${i}/${path}`, { signal, headers });
    assert.equal(answer.status, 404, await answer.text());
  }
  const dropped = await server.metric('hearth_log_lines_dropped_total{stream="stdout"}');
  assert.ok(dropped > 0 && dropped < numRequests, `${dropped} were dropped`);

  server.goOnReading();
  await server.printed("lines dropped");
  server.signal("SIGTERM");
  assert.equal(await server.code(), 0);
  const lines = server.stdout.split("\n");
  const numbers = lines.filter((line) => line.includes(" GET /n"))
    .map((line) => Number(/^\S+ GET \/n(\d+)\/x+… 404 ms=\S+ request_id=\S+$/.exec(line)?.[1]));
  assert.deepEqual(numbers, Array.from({ length: numRequests - dropped }, (_, i) => i));
  // The scrape's own line too.
  const told = `lines dropped because standard output was not read: ${dropped + 1}`;
  const at = lines.indexOf(told);
  assert.ok(lines[at - 1]!.includes(` GET /n${numbers.at(-1)}/`), "where they would have been");
  assert.deepEqual(lines.slice(-2), ["closed", ""]);
});

Deno.test("a server ends though nobody reads what it has to say", async () => {
  await using server = await ServerProcess.start(["--model", "tests/data/smollm2-bf16"]);
  server.pauseReading();
  const path = "x".repeat(7000);
  for (let i = 0; i < 100; i++) await (await fetch(`${server.address}/${path}`)).text();
  server.signal("SIGTERM");
  assert.equal(await server.code(), 0);
});

Deno.test("what standard output gets is whole when the process ends", async () => {
  const { code, stdout } = await runServer(["--help"]);
  assert.equal(code, 0);
  assert.match(stdout, /--version[^\n]*\n[^]*\n$/);
});

Deno.test("a promise that nobody waits for is a line where it fails, not the end", async () => {
  const code = `import { outliveRejections } from "./functions/server/standard_output.ts";
    outliveRejections();
    Promise.reject(new Error("too many open files"));
    setTimeout(() => console.log("goes on"), 50);`;
  const { code: status, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", code],
    env: { NO_COLOR: "1" },
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  assert.deepEqual([status, text(stdout)], [0, "goes on\n"]);
  assert.match(
    text(stderr),
    /^Cannot go on with what nobody waits for: Error: too many open files/,
  );
});
