/**
 * Comparisons that tell where and how much.
 *
 * @module
 */
import assert from "node:assert/strict";

/** A buffer for an output: what is not written stays NaN and fails the comparison. */
export function poisoned(count: number): Float32Array<ArrayBuffer> {
  return new Float32Array(count).fill(NaN);
}

/**
 * Fails unless `|actual[i] - expected[i]| <= tolerance[i]` everywhere; says the worst index, the
 * largest error and the share of the tolerance that was used.
 *
 * @returns that share
 */
export function assertClose(
  actual: Float32Array,
  expected: Float64Array,
  tolerance: Float64Array,
  what: string,
): number {
  assert.equal(actual.length, expected.length, `${what}: lengths`);
  let worst = 0;
  let share = -1;
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs(actual[i]! - expected[i]!);
    const used = error === 0 ? 0 : error / tolerance[i]!; // some tolerances are 0
    if (!(used <= share)) { // NaN is the worst
      share = used;
      worst = i;
      if (Number.isNaN(used)) break;
    }
  }
  const error = actual[worst]! - expected[worst]!;
  const report = `${what}: worst at ${worst} of ${expected.length}: ${actual[worst]} for ` +
    `${expected[worst]}, error ${error.toExponential(2)}, ` +
    `${(share * 100).toFixed(1)} % of the tolerance ${tolerance[worst]!.toExponential(2)}`;
  assert.ok(share <= 1, report);
  return share;
}

/** Fails unless all bits agree; says where they do not. */
export function assertSameBits(
  actual: Float32Array<ArrayBuffer>,
  expected: Float32Array<ArrayBuffer>,
  what: string,
): void {
  const a = new Uint32Array(actual.buffer, actual.byteOffset, actual.length);
  const b = new Uint32Array(expected.buffer, expected.byteOffset, expected.length);
  assert.equal(a.length, b.length, `${what}: lengths`);
  const index = a.findIndex((bits, i) => bits !== b[i]);
  assert.ok(
    index < 0,
    `${what}: bits differ at ${index}: ${actual[index]} and ${expected[index]}`,
  );
}
