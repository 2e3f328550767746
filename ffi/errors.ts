/**
 * The one error of the library and of the engine above it: data, and the sentence made of it.
 *
 * @module
 */

/** What a machine-readable error says; each maps to one HTTP status (`functions/errors.ts`). */
export type EngineErrorCode =
  | "invalid_argument"
  | "context_length_exceeded"
  | "queue_full"
  | "deadline"
  | "not_ready"
  | "closing"
  | "out_of_memory"
  | "output_too_long"
  | "unsupported"
  | "device_lost"
  | "io_error"
  | "internal";

/** What an {@linkcode EngineError} tells programs beside its code; all of it may be absent. */
export interface EngineErrorDetails {
  /** The field or option at fault, in camelCase. */
  readonly field?: string | undefined;
  /** What must hold of it, to be read behind "must": `be 0 to 2`. */
  readonly rule?: string | undefined;
  /** What it held, as text. */
  readonly value?: string | undefined;
  /** For `queue_full` and `deadline`: when trying again makes sense. */
  readonly retryAfterMs?: number | undefined;
}

/** A field that breaks a rule. A rule names no other field: callers may know it by another name. */
export interface BrokenRule {
  /** Its name, as the reader of the sentence knows it. */
  readonly field: string;
  /** What follows "must": `be 0 to 2`. */
  readonly rule: string;
  /** What it held, as text; undefined where there is nothing to show. */
  readonly value?: string | undefined;
}

/**
 * The sentence of a field that breaks a rule, as the library makes it too (csrc/error.h).
 *
 * @param doing how it begins: `Cannot submit request`
 */
export function ruleSentence(doing: string, { field, rule, value }: BrokenRule): string {
  const shown = value === undefined ? "" : `: current value is ${value}`;
  return `${doing}: ${field} must ${rule}${shown}`;
}

/** A request or an engine that cannot be served. */
export class EngineError extends Error implements EngineErrorDetails {
  /** For `error.name` and messages. */
  override name = "EngineError";
  /** See {@linkcode EngineErrorDetails}. */
  readonly field: string | undefined;
  /** See {@linkcode EngineErrorDetails}. */
  readonly rule: string | undefined;
  /** See {@linkcode EngineErrorDetails}. */
  readonly value: string | undefined;
  /** See {@linkcode EngineErrorDetails}. */
  readonly retryAfterMs: number | undefined;
  /** The message names the field, its value and what is allowed. */
  constructor(
    /** For programs. */
    readonly code: EngineErrorCode,
    message: string,
    details: EngineErrorDetails = {},
  ) {
    super(message);
    this.field = details.field;
    this.rule = details.rule;
    this.value = details.value;
    this.retryAfterMs = details.retryAfterMs;
  }
}
