import assert from "node:assert/strict";
import { ServerProcess } from "../http/server_process.ts";

const MODEL = ["--model", "tests/data/smollm2-bf16", "--num-threads", "1"];

Deno.test("2,000 silent connections shut nobody out of a server with few open files", async () => {
  await using server = await ServerProcess.start(MODEL, { openFiles: 400 });
  assert.match(server.stdout, /^open files: 400, so 144 connections: ulimit -n raises it$/m);
  const port = Number(new URL(server.address).port);
  const silent: Deno.TcpConn[] = [];
  const health: number[] = [];
  for (let i = 0; i < 2000; i++) {
    const one = await Deno.connect({ hostname: "127.0.0.1", port }).catch(() => undefined);
    if (one !== undefined) silent.push(one);
    if (i % 100 !== 0) continue;
    const asked = performance.now();
    const signal = AbortSignal.timeout(5000);
    const answer = await fetch(`${server.address}/health`, { signal });
    assert.equal((await answer.json()).status, "ok");
    health.push(performance.now() - asked);
  }
  silent.forEach((one) => one.close());
  assert.ok(Math.max(...health) < 2000, `${health} ms`);
  server.signal("SIGHUP");
  assert.equal(await server.code(), 0, "a terminal that closes lets it drain");
  assert.equal(server.stderr, "");
});
