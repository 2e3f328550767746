import assert from "node:assert/strict";
import { Engine } from "../../engine/engine.ts";
import { defaultModelPath } from "../../model/default_model.ts";
import { type ExactResult, mixedRequests, run } from "./mixed_requests.ts";

Deno.test("32 concurrent requests give the same bits as alone in a fresh process", async () => {
  const seed = Number(
    Deno.env.get("HEARTH_TEST_SEED") ?? crypto.getRandomValues(new Uint32Array(1)),
  );
  console.log(`HEARTH_TEST_SEED=${seed}`);
  const alone = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", new URL("./mixed_requests.ts", import.meta.url).pathname, String(seed)],
    stderr: "inherit",
  }).output();

  // Room for little more than the longest request: running ones give their blocks up and come back.
  await using engine = await Engine.open(await defaultModelPath(), {
    maxModelLen: 3072,
    numKvBlocks: 200,
    maxNumBatchedTokens: 256,
    maxNumSeqs: 32,
  });
  const together = await Promise.all(mixedRequests(seed).map((request) => run(engine, request)));

  const stats = engine.stats();
  assert.ok(stats.numPreemptions >= 3, `only ${stats.numPreemptions} preemptions`);
  assert.equal(stats.kvBlocks.held, 0);
  const { code, stdout } = await alone;
  assert.equal(code, 0);
  const expected: ExactResult[] = JSON.parse(new TextDecoder().decode(stdout));
  together.forEach((result, i) => assert.deepEqual(result, expected[i], `request ${i}`));
});
