import assert from "node:assert/strict";
import { decodeRate } from "../../bench/decode_rate.ts";

const stream = (...arrivals: [at: number, numTokens: number][]) => ({
  sent: 0,
  arrivals: arrivals.map(([at, numTokens]) => ({ at, numTokens })),
});

Deno.test("decodeRate() counts tokens, not chunks", () => {
  // 1 + 3 + 2 tokens within a second after the first chunk, whatever that held.
  assert.equal(decodeRate([stream([1000, 5], [1100, 1], [1500, 3], [2000, 2])]), 6);
});

Deno.test("decodeRate() counts only the time in which all streams ran", () => {
  const streams = [
    stream([0, 1], [500, 4], [1000, 1], [1500, 1], [2000, 1]),
    stream([1000, 1], [1500, 2], [2000, 3], [2500, 7]),
  ];
  assert.equal(decodeRate(streams), 7); // 1 + 1 and 2 + 3
});
