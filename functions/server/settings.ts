/**
 * All that a server is told when it starts. Flags have vLLM's names where they mean the same.
 *
 * @module
 */
import type { EngineOptions } from "../../engine/types.ts";
import { ENGINE_OPTIONS } from "../../ffi/engine_options.ts";
import { defaultsOf, type Fields } from "../../ffi/field.ts";
import { weightsOf } from "./caller.ts";
import { FlagError, flagRows, parseFlags } from "./flags.ts";
import { DEFAULT_INSTANCE_OPTIONS, type InstanceOptions } from "./instance.ts";
import { INSTANCE_OPTIONS, PROCESS_OPTIONS } from "./server_options.ts";

const FLAGS = { ...PROCESS_OPTIONS, ...INSTANCE_OPTIONS, ...ENGINE_OPTIONS };

/** Of the process itself. */
interface ProcessOptions {
  // #region PROCESS_OPTIONS
  /** GGUF file, folder with safetensors, or Hub id. [SmolLM2-135M-Instruct, fetched once] */
  readonly model?: string;
  /** Address to listen on. [127.0.0.1] */
  readonly host: string;
  /** Port to listen on; 0 takes a free one; from 0 to 65535. [8000] */
  readonly port: number;
  /** How long running requests may go on after SIGTERM. [30] */
  readonly drainTimeout: number;
  /** Show this and leave. [false] */
  readonly help: boolean;
  /** Show the version and leave. [false] */
  readonly version: boolean;
  // #endregion
}

/** See the module's comment. */
export interface Settings extends ProcessOptions {
  readonly engine: EngineOptions;
  readonly instance: InstanceOptions;
}

/** Reads flags over `HEARTH_*` variables. @throws {FlagError} */
export function readSettings(
  args: readonly string[],
  variable: (name: string) => string | undefined = (name) => Deno.env.get(name),
): Settings {
  const given = parseFlags(FLAGS, args, variable);
  const valuesOf = (fields: Fields): unknown =>
    Object.fromEntries(
      Object.keys(fields).filter((name) => name in given).map((name) => [name, given[name]]),
    );
  const instance: InstanceOptions = {
    ...DEFAULT_INSTANCE_OPTIONS,
    ...valuesOf(INSTANCE_OPTIONS) as Partial<InstanceOptions>,
  };
  for (const key of weightsOf(instance.keyWeights).keys()) {
    if (instance.apiKeys.includes(key)) continue;
    throw new FlagError("Cannot read --key-weight: each of its keys must be an --api-key too");
  }
  return {
    ...defaultsOf(PROCESS_OPTIONS) as ProcessOptions,
    ...valuesOf(PROCESS_OPTIONS) as Partial<ProcessOptions>,
    engine: valuesOf(ENGINE_OPTIONS) as EngineOptions,
    instance,
  };
}

/** How each flag is written, and what it says. */
export function settingsRows(): readonly (readonly [usage: string, text: string])[] {
  return flagRows(FLAGS);
}

/** What `--help` prints. */
export function settingsHelp(): string {
  const rows = settingsRows();
  const width = Math.max(...rows.map(([usage]) => usage.length));
  const lines = rows.map(([usage, text]) => `  ${usage.padEnd(width)}  ${text}`);
  return `deno task serve [flags]\n\n${lines.join("\n")}\n\n` +
    "Each flag is a variable too: --max-model-len is HEARTH_MAX_MODEL_LEN. A flag wins.";
}
