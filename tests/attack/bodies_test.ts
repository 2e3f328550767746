import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import { ServerProcess } from "../http/server_process.ts";

const MODEL = ["--model", "tests/data/smollm2-bf16", "--num-threads", "1"];
const COMPLETIONS = "/v1/completions";

function upload(server: ServerProcess, body: string, length: number = body.length): Socket {
  const socket = connect(Number(new URL(server.address).port), "127.0.0.1");
  socket.on("error", () => {});
  socket.write(
    `POST ${COMPLETIONS} HTTP/1.1\r\nHost: localhost\r\n` +
      `Content-Type: application/json\r\nContent-Length: ${length}\r\n\r\n`,
  );
  socket.write(body);
  return socket;
}

/** The longest that `/health` takes while something goes on, asked by itself. */
async function longestHealthMs(server: ServerProcess, during: Promise<unknown>): Promise<number> {
  let longest = 0, isOver = false;
  during.finally(() => isOver = true);
  while (!isOver) {
    const asked = performance.now();
    await (await fetch(`${server.address}/health`)).text();
    longest = Math.max(longest, performance.now() - asked);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return longest;
}

Deno.test("uploads that stop are refused in their sum, and leave room when they go", async () => {
  const limits = ["--body-limit", "1M", "--body-limit-sum", "4M"];
  await using server = await ServerProcess.start([...MODEL, ...limits]);
  const half = `{"prompt":"${"x".repeat(900_000)}`;
  const sockets = Array.from({ length: 20 }, () => upload(server, half, 1 << 20));
  let numRefused = 0;
  for (const socket of sockets) {
    socket.on("data", (bytes: Uint8Array) => {
      if (/^HTTP\/1.1 429 [^]*retry-after: 1/i.test(new TextDecoder().decode(bytes))) numRefused++;
    });
  }
  while (numRefused < 16) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.ok((await server.post(COMPLETIONS, { prompt: "x", max_tokens: 1 })).ok, "a small one");
  sockets.forEach((socket) => socket.destroy());
  const large = { prompt: "x", max_tokens: 1, user: "u".repeat(900_000) };
  for (let status = 429; status !== 200;) {
    const answer = await server.post(COMPLETIONS, large);
    await answer.text();
    status = answer.status;
    assert.ok(status === 200 || status === 429);
  }
  assert.equal(server.stderr, "");
});

Deno.test("of a body nothing is kept while its answer is streamed", async () => {
  await using server = await ServerProcess.start(MODEL);
  const fields = { prompt: "x", max_tokens: 1500, stream: true, ignore_eos: true, n: 8 };
  const body = { ...fields, user: "u".repeat(8_300_000) + "☃" };
  const before = await server.metric("process_resident_memory_bytes");
  const text = JSON.stringify(body);
  const sockets: Socket[] = [];
  for (let i = 0; i < 20; i++) {
    const socket = upload(server, text, new TextEncoder().encode(text).length);
    sockets.push(socket);
    await new Promise((resolve) => socket.once("data", resolve));
  }
  const after = await server.metric("process_resident_memory_bytes");
  sockets.forEach((socket) => socket.destroy());
  // 20 of them, as they were kept, were 660 MB.
  assert.ok(after - before < 400e6, `${(after - before) / 1e6} MB`);
});

Deno.test("8 MB of brackets and 300 kB of stop texts hold nobody up", async () => {
  await using server = await ServerProcess.start(MODEL);
  const brackets = `{"prompt":"x","z":${"[".repeat(4e6)}`;
  const spaces = (n: number) => `${" ".repeat(n)}y`;
  const ask = async (body: object) => (await server.post(COMPLETIONS, body)).status;
  const stopped = { prompt: "x", max_tokens: 100, logit_bias: { "220": 100 }, ignore_eos: true };
  const attacks = async () => {
    for (let i = 0; i < 5; i++) {
      const answer = await fetch(server.address + COMPLETIONS, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: brackets,
      });
      assert.match(await answer.text(), /nested at most 64 levels/);
      const long = Array.from({ length: 16 }, (_, i) => spaces(19_000 + i));
      assert.equal(await ask({ ...stopped, stop: long }), 400);
      const held = Array.from({ length: 16 }, (_, i) => spaces(1000 + i));
      assert.equal(await ask({ ...stopped, stop: held }), 200);
    }
  };
  const attacking = attacks();
  const longest = await longestHealthMs(server, attacking);
  await attacking;
  assert.ok(longest < 1000, `${longest} ms`);
});

Deno.test("streams that nobody reads keep no more than all may together", async () => {
  await using server = await ServerProcess.start([...MODEL, "--max-unread-bytes", "8M"]);
  const before = await server.metric("process_resident_memory_bytes");
  const body = JSON.stringify({
    prompt: "x",
    n: 16,
    max_tokens: 1500,
    logprobs: 5,
    ignore_eos: true,
    stream: true,
  });
  const sockets = Array.from({ length: 4 }, () => upload(server, body).pause());
  const cancelled = 'hearth_requests_finished_total{reason="cancelled"}';
  while (await server.metric(cancelled) < 16) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const after = await server.metric("process_resident_memory_bytes");
  assert.ok(after - before < 200e6, `${(after - before) / 1e6} MB`);
  sockets.forEach((socket) => socket.destroy());
  assert.equal(server.stderr, "");
});
