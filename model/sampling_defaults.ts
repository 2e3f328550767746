/**
 * How a model's makers would have its tokens chosen, where their files say so.
 *
 * @module
 */
import { snakeCase } from "../ffi/field.ts";
import { brokenRule } from "../ffi/field_rule.ts";
import { REQUEST_FIELDS } from "../ffi/request_fields.ts";
import type { SamplingDefaults } from "./spec.ts";

/** What Transformers does anyhow: a file that spells it out asks for nothing, as vLLM reads it. */
const USUAL: Readonly<Record<keyof SamplingDefaults, number>> = {
  temperature: 1,
  topP: 1,
  topK: 50,
  minP: 0,
  repetitionPenalty: 1,
};

/** GGUF's names for the same, behind `general.sampling.`. */
const GGUF_NAMES: Readonly<Record<string, string>> = {
  temperature: "temp",
  top_p: "top_p",
  top_k: "top_k",
  min_p: "min_p",
  repetition_penalty: "penalty_repeat",
};

/** Out of generation_config.json. A value that no request could have is none. */
export function samplingDefaults(config: Readonly<Record<string, unknown>>): SamplingDefaults {
  const fields = Object.keys(USUAL) as (keyof SamplingDefaults)[];
  return Object.fromEntries(fields.flatMap((field) => {
    const value = config[snakeCase(field)];
    const counts = typeof value === "number" && value !== USUAL[field] &&
      brokenRule(REQUEST_FIELDS[field], value) === undefined;
    return counts ? [[field, value]] : [];
  }));
}

/** Out of GGUF's metadata, which has only what somebody wrote into it. */
export function ggufSamplingDefaults(raw: (key: string) => unknown): SamplingDefaults {
  return samplingDefaults(Object.fromEntries(
    Object.entries(GGUF_NAMES).map(([name, key]) => [name, raw(`general.sampling.${key}`)]),
  ));
}
