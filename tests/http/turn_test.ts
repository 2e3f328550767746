import assert from "node:assert/strict";
import { clearImmediate, setImmediate } from "node:timers";
import { inTurn } from "../../functions/server/turn.ts";

function busy(ms: number): void {
  for (const begun = performance.now(); performance.now() - begun < ms;);
}

Deno.test("inTurn() does what comes at once over many turns, in order", async () => {
  const done: number[] = [];
  let numTurns = 0;
  const timer = setInterval(() => numTurns++, 1);
  await Promise.all(Array.from({ length: 40 }, (_, i) =>
    inTurn(() => {
      busy(3);
      done.push(i);
    })));
  clearInterval(timer);
  assert.deepEqual(done, Array.from({ length: 40 }, (_, i) => i));
  assert.ok(numTurns >= 15, `${numTurns} turns for 120 ms`);
});

Deno.test("inTurn() gives what work gives, and throws what it throws, late too", async () => {
  const outcomes = await Promise.allSettled([1, 2, 3, 4].map((i) =>
    inTurn(() => {
      busy(6);
      if (i % 2 === 0) throw new Error(`${i}`);
      return i;
    })
  ));
  assert.deepEqual(
    outcomes.map((one) => one.status === "fulfilled" ? one.value : one.reason.message),
    [1, "2", 3, "4"],
  );
});

Deno.test("inTurn() lets turns pass behind long work, for all that waits beside it", async () => {
  let numTurns = 0;
  const count = () => {
    numTurns++;
    immediate = setImmediate(count);
  };
  let immediate = setImmediate(count);
  const long = inTurn(() => busy(40));
  const next = inTurn(() => numTurns);
  await long;
  const before = numTurns;
  const passed = await next - before;
  clearImmediate(immediate);
  assert.ok(passed >= 5, `${passed} turns`);
});
