/**
 * Statuses of the library as errors of the engine.
 *
 * @module
 */
import { EngineError, type EngineErrorCode } from "../engine/types.ts";
import { decodeCString } from "./struct.ts";
import { Status } from "./structs.ts";

const codes: ReadonlyMap<number, EngineErrorCode> = new Map([
  [Status.INVALID_ARGUMENT, "invalid_argument"],
  [Status.QUEUE_FULL, "queue_full"],
  [Status.CLOSING, "closing"],
  [Status.CLOSED, "closing"],
  [Status.OUT_OF_MEMORY, "out_of_memory"],
  [Status.IO_ERROR, "io_error"],
  [Status.UNSUPPORTED, "unsupported"],
  [Status.NOT_READY, "not_ready"],
  [Status.DEADLINE, "deadline"],
  [Status.DEVICE_LOST, "device_lost"],
]);

/** The field that a message names: `Cannot submit request: max_tokens must be >= 1: ...`. */
const FIELD_PATTERN = /: ([a-z][a-z0-9_]*) must /;

/** The error that a status and the library's message make. */
export function engineError(
  status: number,
  message: string,
  retryAfterMs?: number,
): EngineError {
  const code = codes.get(status) ?? "internal";
  const field = code === "invalid_argument" ? FIELD_PATTERN.exec(message)?.[1] : undefined;
  const text = message === "" ? `The library failed with status ${status}` : message;
  return new EngineError(code, text, field && camelCase(field), retryAfterMs);
}

function camelCase(name: string): string {
  return name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

/** Where a fallible call writes its message. */
export class ErrorBuffer {
  readonly bytes: Uint8Array<ArrayBuffer> = new Uint8Array(1024);

  /** @throws {EngineError} unless the status is HEARTH_OK */
  unwrap(status: number, retryAfterMs?: () => number): void {
    if (status === Status.OK) return;
    const busy = status === Status.QUEUE_FULL || status === Status.DEADLINE;
    throw engineError(status, decodeCString(this.bytes), busy ? retryAfterMs?.() : undefined);
  }
}
