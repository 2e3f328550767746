/**
 * Typed access to the metadata of a GGUF file: a key that is missing or of a wrong type is an error
 * that names it.
 *
 * @module
 */
import type { GgufNumbers, GgufValue } from "./gguf.ts";
import { ModelError } from "./spec.ts";

/** Metadata with the path it came from, for messages. */
export class GgufMetadata {
  readonly #path: string;
  readonly #values: ReadonlyMap<string, GgufValue>;

  constructor(path: string, values: ReadonlyMap<string, GgufValue>) {
    this.#path = path;
    this.#values = values;
  }

  has(key: string): boolean {
    return this.#values.has(key);
  }

  string(key: string, fallback?: string): string {
    return this.#get(key, "a string", fallback, (value) => typeof value === "string");
  }

  boolean(key: string, fallback?: boolean): boolean {
    return this.#get(key, "a boolean", fallback, (value) => typeof value === "boolean");
  }

  /** A whole number from `min` to `max`. */
  integer(key: string, min: number, max: number, fallback?: number): number {
    return this.#get(
      key,
      `a whole number from ${min} to ${max}`,
      fallback,
      (value) => Number.isInteger(value) && (value as number) >= min && (value as number) <= max,
    );
  }

  /** A finite number above `above`. */
  number(key: string, above: number, fallback?: number): number {
    return this.#get(
      key,
      `a number above ${above}`,
      fallback,
      (value) => Number.isFinite(value) && (value as number) > above,
    );
  }

  strings(key: string, fallback?: readonly string[]): readonly string[] {
    return this.#get(key, "an array of strings", fallback, Array.isArray);
  }

  numbers(key: string, fallback?: GgufNumbers): GgufNumbers {
    return this.#get(key, "an array of numbers", fallback, ArrayBuffer.isView);
  }

  /** @throws {ModelError} */
  fail(problem: string): never {
    throw new ModelError(`Cannot open model ${this.#path}: ${problem}`);
  }

  #get<T>(
    key: string,
    expected: string,
    fallback: T | undefined,
    accept: (value: unknown) => boolean,
  ): T {
    const value = this.#values.get(key);
    if (value === undefined) return fallback ?? this.fail(`metadata key ${key} is missing`);
    if (!accept(value)) {
      const shown = typeof value === "object" ? "an array" : String(value).slice(0, 80);
      this.fail(`metadata key ${key} must be ${expected}: current value is ${shown}`);
    }
    return value as T;
  }
}
