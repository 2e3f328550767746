import assert from "node:assert/strict";
import { LONGEST_TURN_MS, TurnWatch } from "../event_loop_guard.ts";

const later = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

function busy(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

/** The longest turn of what runs while the watch is open. */
async function longestOf(work: () => Promise<void>): Promise<number> {
  const watch = new TurnWatch();
  const close = watch.open();
  await work();
  close();
  return watch.longestMs;
}

Deno.test("TurnWatch sees a turn that keeps the event loop", async () => {
  const longest = await longestOf(async () => {
    await later(20);
    // Time that other processes took is none of the turn's: longer than what has to be seen.
    busy(4 * LONGEST_TURN_MS);
    await later(20);
  });
  assert.ok(longest > LONGEST_TURN_MS, `${longest} ms`);
});

Deno.test("TurnWatch sees no turn where everybody waits, however long", async () => {
  const longest = await longestOf(() => later(4 * LONGEST_TURN_MS).then(() => {}));
  assert.ok(longest < LONGEST_TURN_MS, `${longest} ms`);
});

Deno.test("TurnWatch counts nothing outside its windows", async () => {
  const watch = new TurnWatch();
  watch.open()();
  busy(4 * LONGEST_TURN_MS);
  const close = watch.open();
  await later(10);
  close();
  assert.ok(watch.longestMs < LONGEST_TURN_MS, `${watch.longestMs} ms`);
});
