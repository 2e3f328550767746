/**
 * Typed access to what a file says about its model: a field that is missing or of a wrong type is
 * an error that names it.
 *
 * @module
 */
import { ModelError } from "./spec.ts";

/** Numeric arrays: typed ones of GGUF, plain ones of JSON. */
export type Numbers = ArrayLike<number> | ArrayLike<bigint>;

/** Named values from one file; `null` counts as absent. */
export class Fields {
  readonly #source: string;
  readonly #kind: string;
  readonly #values: ReadonlyMap<string, unknown>;

  /**
   * @param source the model, for messages
   * @param kind what a field is called there, e.g. `metadata key` or `config.json:`
   */
  constructor(source: string, kind: string, values: ReadonlyMap<string, unknown>) {
    this.#source = source;
    this.#kind = kind;
    this.#values = values;
  }

  has(key: string): boolean {
    return (this.#values.get(key) ?? undefined) !== undefined;
  }

  /** True where the file spells the field out as `null`. */
  isNull(key: string): boolean {
    return this.#values.get(key) === null;
  }

  /** The value as it stands. */
  raw(key: string): unknown {
    return this.#values.get(key) ?? undefined;
  }

  string(key: string, fallback?: string): string {
    return this.#get(key, "a string", fallback, (value) => typeof value === "string");
  }

  boolean(key: string, fallback?: boolean): boolean {
    return this.#get(key, "true or false", fallback, (value) => typeof value === "boolean");
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
    return this.#get(
      key,
      "an array of strings",
      fallback,
      (value) => Array.isArray(value) && value.every((element) => typeof element === "string"),
    );
  }

  numbers(key: string, fallback?: Numbers): Numbers {
    return this.#get(key, "an array of numbers", fallback, ArrayBuffer.isView);
  }

  /** The fields of a nested object, undefined where there is none. */
  nested(key: string): Fields | undefined {
    if (!this.has(key)) return undefined;
    const value = this.#get<object>(key, "an object", undefined, isPlainObject);
    return new Fields(this.#source, `${this.#name(key)}.`, new Map(Object.entries(value)));
  }

  /** @throws {ModelError} */
  fail(problem: string): never {
    throw new ModelError(`Cannot open model ${this.#source}: ${problem}`);
  }

  #name(key: string): string {
    return this.#kind.endsWith(".") ? `${this.#kind}${key}` : `${this.#kind} ${key}`;
  }

  #get<T>(
    key: string,
    expected: string,
    fallback: T | undefined,
    accept: (value: unknown) => boolean,
  ): T {
    const name = this.#name(key);
    const value = this.raw(key) ?? fallback;
    if (value === undefined) this.fail(`${name} is missing`);
    if (!accept(value)) {
      this.fail(`${name} must be ${expected}: current value is ${shownValue(value)}`);
    }
    return value as T;
  }
}

/** A value of a file for a message: nested ones could be too deep to print, or refuse to be. */
export function shownValue(value: unknown): string {
  return typeof value === "object" && value !== null
    ? "a list or an object"
    : String(value).slice(0, 80);
}

function isPlainObject(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
