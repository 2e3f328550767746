/**
 * Log probabilities of tokens in a row.
 *
 * @module
 */
import type { PositionLogprobs, TokenLogprob } from "./types.ts";

/**
 * Positions that are objects only while somebody looks at them: kept as objects they would take four times the
 * memory, and the garbage collector would have to look at every one.
 */
export class LogprobList implements Iterable<PositionLogprobs> {
  /** How many of the likeliest each position has. */
  numTop: number;
  /**
   * Position by position: the token and its log probability, then as much of each of the likeliest, best
   * first. No field of another kind, so that lists can be compared.
   */
  readonly numbers: number[];

  /** Empty, unless `numbers` are given, which it then owns. */
  constructor(numTop = 0, numbers: number[] = []) {
    this.numTop = numTop;
    this.numbers = numbers;
  }

  /** Of positions that have equally many of the likeliest. */
  static of(positions: readonly PositionLogprobs[]): LogprobList {
    const numbers = positions.flatMap((position) =>
      [position, ...position.top].flatMap(({ token, logprob }) => [token, logprob])
    );
    return new LogprobList(positions[0]?.top.length, numbers);
  }

  /** Positions. */
  get length(): number {
    return this.numbers.length / this.#width;
  }

  /** Log probabilities, the chosen tokens' among them. */
  get numLogprobs(): number {
    return this.numbers.length / 2;
  }

  /** Of a position from 0 to `length` - 1. */
  tokenAt(position: number): number {
    return this.numbers[position * this.#width]!;
  }

  /** Undefined where there is no such position. */
  at(position: number): PositionLogprobs | undefined {
    const begin = position * this.#width;
    if (!(begin >= 0 && begin < this.numbers.length)) return undefined;
    const top: TokenLogprob[] = [];
    for (let i = 1; i <= this.numTop; i++) top.push(this.#entry(begin + 2 * i));
    return { ...this.#entry(begin), top };
  }

  /** The first positions: itself, where there are no more. */
  first(count: number): LogprobList {
    if (count >= this.length) return this;
    return new LogprobList(this.numTop, this.numbers.slice(0, count * this.#width));
  }

  /** Takes in what follows, of the same request. */
  append({ numTop, numbers }: LogprobList): void {
    if (numbers.length === 0) return;
    this.numTop = numTop;
    // One by one: what waited long may hold more than a call takes arguments.
    for (let i = 0; i < numbers.length; i++) this.numbers.push(numbers[i]!);
  }

  /** Position by position. */
  *[Symbol.iterator](): Generator<PositionLogprobs, void, void> {
    for (let position = 0; position < this.length; position++) yield this.at(position)!;
  }

  get #width(): number {
    return 2 + 2 * this.numTop;
  }

  #entry(at: number): TokenLogprob {
    return { token: this.numbers[at]!, logprob: this.numbers[at + 1]! };
  }
}
