/**
 * A clock that tests move, for times that are told.
 *
 * @module
 */

/** `performance.now()` is `now` until its scope is left. */
export class FakeTime implements Disposable {
  now = 1000;
  readonly #real = performance.now;

  constructor() {
    performance.now = () => this.now;
  }

  [Symbol.dispose](): void {
    performance.now = this.#real;
  }
}
