import assert from "node:assert/strict";
import { ServerProcess } from "../http/server_process.ts";
import { testOnCuda } from "../test_device.ts";

const CHAT = "/v1/chat/completions";
const request = { messages: [{ role: "user", content: "Hello" }], max_tokens: 4, seed: 1 };

testOnCuda("a server whose device is lost says so, is not ready and ends in order", async () => {
  await using server = await ServerProcess.start(
    ["--model", "tests/data/smollm2-bf16", "--device", "cuda"],
    { flags: ["-A", `--preload=${new URL("./trap_on_signal.ts", import.meta.url).pathname}`] },
  );
  const ready = async () => {
    const answer = await fetch(`${server.address}/ready`);
    return [answer.status, (await answer.json()).state];
  };
  const before = await server.post(CHAT, request);
  assert.equal(before.status, 200, await before.text());
  assert.deepEqual(await ready(), [200, "ready"]);

  server.signal("SIGUSR2");
  await server.printed("trapped: device_lost");

  // The engine learns of it by its next step.
  const after = await server.post(CHAT, request);
  const { error } = await after.json();
  assert.deepEqual([after.status, error.code], [503, "device_lost"], error.message);
  assert.deepEqual(await ready(), [503, "failed"]);
  const later = await server.post(CHAT, request);
  assert.ok(later.status >= 500, `${later.status} ${await later.text()}`);
  assert.deepEqual(await ready(), [503, "failed"]);

  server.signal("SIGTERM");
  assert.equal(await server.code(), 0);
});
