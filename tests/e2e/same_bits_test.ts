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

  // Room for little more than the longest request, and the long ones, which matter more, come when the
  // others run: those give their blocks up and are computed again.
  await using engine = await Engine.open(await defaultModelPath(), {
    maxModelLen: 3104,
    numKvBlocks: 200,
    maxNumBatchedTokens: 256,
    maxNumSeqs: 32,
  });
  const requests = mixedRequests(seed);
  const results: Promise<ExactResult>[] = [];
  await new Promise<void>((resolve) => {
    let running = 0;
    const onFirst = () => ++running === 8 && resolve();
    requests.forEach((request, i) => {
      if (request.priority !== 0) results[i] = run(engine, request, onFirst);
    });
  });
  requests.forEach((request, i) => results[i] ??= run(engine, request));
  const together = await Promise.all(results);

  const stats = engine.stats();
  assert.ok(stats.numPreemptions >= 3, `only ${stats.numPreemptions} preemptions`);
  assert.equal(stats.kvBlocks.held, 0);
  const { code, stdout } = await alone;
  assert.equal(code, 0);
  const expected: ExactResult[] = JSON.parse(new TextDecoder().decode(stdout));
  together.forEach((result, i) => assert.deepEqual(result, expected[i], `request ${i}`));
});
