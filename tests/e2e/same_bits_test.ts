import assert from "node:assert/strict";
import { Engine } from "../../engine/engine.ts";
import { defaultModelPath } from "../../model/default_model.ts";
import { mixedRequests } from "../bits/requests.ts";
import { onTestDevice } from "../test_device.ts";
import { type ExactResult, run } from "./mixed_requests.ts";

Deno.test("32 concurrent requests give the same bits as alone in a fresh process", async () => {
  const seed = Number(
    Deno.env.get("HEARTH_TEST_SEED") ?? crypto.getRandomValues(new Uint32Array(1)),
  );
  console.log(`HEARTH_TEST_SEED=${seed}`);
  const alone = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", new URL("./mixed_requests.ts", import.meta.url).pathname, String(seed)],
    stderr: "inherit",
  }).output();

  // Room for little more than the longest request. The long ones, which matter more, come when the
  // short ones hold most blocks: those must give them up and are computed again.
  await using engine = await Engine.open(await defaultModelPath(), {
    ...onTestDevice,
    maxModelLen: 3104,
    numKvBlocks: 200,
    maxNumBatchedTokens: 256,
    maxNumSeqs: 32,
  });
  const requests = mixedRequests(seed);
  const results: Promise<ExactResult>[] = [];
  requests.forEach((request, i) => {
    if (request.priority !== 0) results[i] = run(engine, request);
  });
  const deadline = performance.now() + 60_000;
  while (engine.stats().kvBlocks.held < 120) {
    assert.ok(performance.now() < deadline, "the short requests never held 120 blocks");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  for (let i = requests.length - 1; i >= 0; i--) results[i] ??= run(engine, requests[i]!);
  const together = await Promise.all(results);

  const stats = engine.stats();
  assert.ok(stats.numPreemptions >= 3, `only ${stats.numPreemptions} preemptions`);
  assert.equal(stats.kvBlocks.held, 0);
  const { code, stdout } = await alone;
  assert.equal(code, 0);
  const expected: ExactResult[] = JSON.parse(new TextDecoder().decode(stdout));
  together.forEach((result, i) => assert.deepEqual(result, expected[i], `request ${i}`));
});
