/**
 * Statuses and errors of the library as errors of the engine.
 *
 * @module
 */
import { EngineError, type EngineErrorCode } from "./errors.ts";
import { Error as ErrorStruct, Status } from "./structs.ts";

const codes: ReadonlyMap<number, EngineErrorCode> = new Map([
  [Status.invalid_argument, "invalid_argument"],
  [Status.queue_full, "queue_full"],
  [Status.closing, "closing"],
  [Status.closed, "closing"],
  [Status.out_of_memory, "out_of_memory"],
  [Status.io_error, "io_error"],
  [Status.unsupported, "unsupported"],
  [Status.not_ready, "not_ready"],
  [Status.deadline, "deadline"],
  [Status.device_lost, "device_lost"],
]);

/** The error of a call that tells its status alone. */
export function statusError(status: number): EngineError {
  return new EngineError(codeOf(status), `The library failed with status ${status}`);
}

/** A `hearth_error` as an error of the engine. */
export function engineError(
  error: ReturnType<typeof ErrorStruct.decode>,
  retryAfterMs?: number,
): EngineError {
  const { status, field, rule, value, message } = error;
  return new EngineError(codeOf(status), message, {
    field: optionName(field),
    rule: rule === "" ? undefined : rule,
    value: value === "" ? undefined : value,
    retryAfterMs,
  });
}

function codeOf(status: number): EngineErrorCode {
  return codes.get(status) ?? "internal";
}

/** What names a field in C names an option here, in camelCase; a tensor is no option. */
function optionName(field: string): string | undefined {
  if (!/^[a-z][a-z0-9_]*$/.test(field)) return undefined;
  return field.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

/** Where a fallible call writes its error. */
export class ErrorBuffer {
  readonly #view = ErrorStruct.allocate();
  readonly bytes: Uint8Array<ArrayBuffer> = new Uint8Array(this.#view.buffer);

  /** @throws {EngineError} unless the status is HEARTH_OK */
  unwrap(status: number, retryAfterMs?: () => number): void {
    if (status === Status.ok) return;
    const busy = status === Status.queue_full || status === Status.deadline;
    throw engineError(ErrorStruct.decode(this.#view), busy ? retryAfterMs?.() : undefined);
  }
}
