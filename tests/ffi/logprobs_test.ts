import assert from "node:assert/strict";
import fc from "fast-check";
import { LogprobList } from "../../ffi/logprobs.ts";
import type { PositionLogprobs } from "../../ffi/types.ts";

const anyEntry = fc.record(
  { token: fc.nat(), logprob: fc.double({ max: 0 }) },
  { noNullPrototype: true },
);

/** Of one request: each position has equally many of the likeliest. */
const anyPositions: fc.Arbitrary<PositionLogprobs[]> = fc.nat({ max: 20 }).chain((numTop) => {
  const top = fc.array(anyEntry, { minLength: numTop, maxLength: numTop });
  return fc.array(fc.tuple(anyEntry, top).map(([one, top]) => ({ ...one, top })));
});

Deno.test("LogprobList gives the positions that it was made of, however they came", () => {
  fc.assert(fc.property(anyPositions, fc.nat(), fc.nat(), (positions, from, cut) => {
    const list = LogprobList.of(positions);
    assert.deepEqual([...list], positions);
    assert.equal(list.length, positions.length);
    assert.equal(
      list.numLogprobs,
      positions.reduce((sum, { top }) => sum + 1 + top.length, 0),
    );
    const at = from % (positions.length + 1);
    assert.deepEqual(list.at(at), positions[at]);
    if (at < positions.length) assert.equal(list.tokenAt(at), positions[at]!.token);

    const begin = cut % (positions.length + 1);
    const together = new LogprobList();
    together.append(LogprobList.of(positions.slice(0, begin)));
    together.append(LogprobList.of([]));
    together.append(LogprobList.of(positions.slice(begin)));
    assert.deepEqual([...together], positions);
    assert.deepEqual([...together.first(begin)], positions.slice(0, begin));
    assert.equal(together.length, positions.length, "first() leaves the list as it is");
  }));
});

Deno.test("LogprobList has nothing where it has no position", () => {
  const list = LogprobList.of([{ token: 1, logprob: -1, top: [{ token: 2, logprob: -2 }] }]);
  for (const position of [-1, 1, NaN]) assert.equal(list.at(position), undefined);
  assert.deepEqual(new LogprobList().first(3), new LogprobList());
});
