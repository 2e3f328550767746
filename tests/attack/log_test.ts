import assert from "node:assert/strict";
import { connect } from "node:net";
import { LineWriter, standardOutput } from "../../functions/server/standard_output.ts";
import { fakeHarness, linesTo } from "../http/harness.ts";
import { ServerProcess } from "../http/server_process.ts";

const MODEL = ["--model", "tests/data/smollm2-bf16", "--num-threads", "1"];

for (const accessLog of ["text", "json"] as const) {
  Deno.test(`a path writes no line of its own and obeys no terminal: ${accessLog}`, async () => {
    const lines = await linesTo(standardOutput, async (lines) => {
      await using harness = fakeHarness({}, { accessLog });
      const forged = "/x%0a2026-01-01T00:00:00Z%20POST%20/admin%20200%1b[2J%9b";
      await (await harness.get(forged)).text();
      await (await harness.get(`/${"%0a".repeat(20_000)}`)).text();
      while (lines.length < 2) await new Promise((resolve) => setTimeout(resolve, 1));
    });
    assert.match(lines[0]!, /\/x%0a2026-01-01T00:00:00Z%20POST%20\/admin%20200%1b\[2J%9b/);
    for (const line of lines) assert.match(line, /^[\x20-\x7e…]{1,400}$/);
  });
}

Deno.test("LineWriter escapes what a terminal would obey", async () => {
  let text = "";
  const sink = {
    write: (bytes: Uint8Array) => {
      text += new TextDecoder().decode(bytes);
      return Promise.resolve(bytes.length);
    },
  };
  const writer = new LineWriter(sink, "it");
  writer.line("a\x1b[2Jb\rc\x9bd\x7f\te\nf é");
  await writer.flushed();
  assert.equal(text, "a\\x1b[2Jb\\x0dc\\x9bd\\x7f\te\nf é\n");
});

Deno.test("LineWriter goes on behind a disk that was full", async () => {
  let text = "", isFull = true;
  const sink = {
    write: (bytes: Uint8Array) => {
      if (isFull) return Promise.reject(new Error("No space left on device (os error 28)"));
      text += new TextDecoder().decode(bytes);
      return Promise.resolve(bytes.length);
    },
  };
  const writer = new LineWriter(sink, "the disk");
  writer.line("lost");
  await writer.flushed();
  isFull = false;
  writer.line("kept");
  await writer.flushed();
  assert.deepEqual([writer.numDropped, text], [1, "kept\n"]);
});

Deno.test("a server whose log cannot be written answers, and counts what was lost", async () => {
  const port = freePort();
  const serve = `exec "$0" run -A functions/serve.ts --port ${port} ${MODEL.join(" ")} > /dev/full`;
  const server = new Deno.Command("sh", { args: ["-c", serve, Deno.execPath()] }).spawn();
  try {
    const address = `http://127.0.0.1:${port}`;
    const deadline = performance.now() + 9000;
    while (!await fetch(`${address}/nothing`).then((r) => r.text(), () => false)) {
      assert.ok(performance.now() < deadline);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    for (let i = 0; i < 20; i++) await (await fetch(`${address}/nothing`)).text();
    const metrics = await (await fetch(`${address}/metrics`)).text();
    const lost = /^hearth_log_lines_dropped_total{stream="stdout"} (\d+)$/m.exec(metrics)?.[1];
    assert.ok(Number(lost) >= 20, `${lost} lines`);
  } finally {
    server.kill("SIGTERM");
    assert.equal((await server.status).code, 0);
  }
});

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return (listener.addr as Deno.NetAddr).port;
}

Deno.test("a caller who leaves in an upload is 499, without a stack", async () => {
  await using server = await ServerProcess.start(MODEL);
  const socket = connect(Number(new URL(server.address).port), "127.0.0.1");
  socket.write(
    "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n" +
      'Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"',
  );
  await new Promise((resolve) => setTimeout(resolve, 200));
  socket.destroy();
  await server.printed("POST /v1/completions 499");
  assert.equal(server.stderr, "");
});
