/**
 * Options of an engine, checked before the library sees them: in a C struct NaN would be 0, which
 * means the default, and -1 a large number.
 *
 * @module
 */
import { ENGINE_OPTIONS } from "../ffi/engine_options.ts";
import { checkField } from "./refuse.ts";
import type { EngineOptions } from "./types.ts";

/** @throws {EngineError} `invalid_argument` with the option in `field` */
export function checkOptions(options: EngineOptions): void {
  for (const [name, field] of Object.entries(ENGINE_OPTIONS)) {
    checkField("Cannot open engine", name, field, options[name as keyof EngineOptions]);
  }
}
