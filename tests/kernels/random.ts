/**
 * Fresh random inputs that can be had again: `HEARTH_TEST_SEED=<seed>` reproduces a failure.
 *
 * @module
 */

/** A new seed, or the one in `HEARTH_TEST_SEED`. */
export function freshSeed(): number {
  const chosen = Deno.env.get("HEARTH_TEST_SEED");
  return chosen === undefined ? crypto.getRandomValues(new Uint32Array(1))[0]! : Number(chosen);
}

/** Runs `test` on fresh random numbers and names the seed where it fails. */
export function withSeed(test: (random: Random) => void): void {
  const seed = freshSeed();
  try {
    test(new Random(seed));
  } catch (error) {
    console.error(`HEARTH_TEST_SEED=${seed} reproduces this`);
    throw error;
  }
}

/** A small generator (splitmix32): good enough for inputs, the same everywhere. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** An integer in [0, 2^32). */
  next(): number {
    this.#state = (this.#state + 0x9e3779b9) >>> 0;
    let z = this.#state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  }

  /** In [0, 1). */
  uniform(): number {
    return this.next() / 2 ** 32;
  }

  /** An integer in [0, bound). */
  below(bound: number): number {
    return Math.floor(this.uniform() * bound);
  }

  /** An integer in [least, most]. */
  between(least: number, most: number): number {
    return least + this.below(most - least + 1);
  }

  /** Standard normal. */
  normal(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    return radius * Math.cos(2 * Math.PI * this.uniform());
  }

  /** Normal values of a deviation. */
  floats(count: number, deviation = 1): Float32Array<ArrayBuffer> {
    return Float32Array.from({ length: count }, () => this.normal() * deviation);
  }

  /** 0 to count - 1 in random order. */
  permutation(count: number): number[] {
    const order = Array.from({ length: count }, (_, i) => i);
    for (let i = count - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [order[i], order[j]] = [order[j]!, order[i]!];
    }
    return order;
  }
}
