/**
 * How a model's makers would have its tokens chosen, where their files say so.
 *
 * @module
 */
import type { SamplingDefaults } from "./spec.ts";

interface Source {
  readonly name: string;
  /** What Transformers does anyhow: a file that spells it out asks for nothing, as vLLM reads it. */
  readonly usual: number;
  readonly isAllowed: (value: number) => boolean;
}

/** By the name in generation_config.json. */
const SOURCES: Readonly<Record<keyof SamplingDefaults, Source>> = {
  temperature: { name: "temperature", usual: 1, isAllowed: (value) => value >= 0 && value <= 2 },
  topP: { name: "top_p", usual: 1, isAllowed: (value) => value > 0 && value <= 1 },
  topK: { name: "top_k", usual: 50, isAllowed: (value) => Number.isInteger(value) && value >= 0 },
  minP: { name: "min_p", usual: 0, isAllowed: (value) => value >= 0 && value <= 1 },
  repetitionPenalty: {
    name: "repetition_penalty",
    usual: 1,
    isAllowed: (value) => value > 0 && value <= 100,
  },
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
  return Object.fromEntries(
    Object.entries(SOURCES).flatMap(([field, { name, usual, isAllowed }]) => {
      const value = config[name];
      const counts = typeof value === "number" && value !== usual && isAllowed(value);
      return counts ? [[field, value]] : [];
    }),
  );
}

/** Out of GGUF's metadata, which has only what somebody wrote into it. */
export function ggufSamplingDefaults(raw: (key: string) => unknown): SamplingDefaults {
  return samplingDefaults(Object.fromEntries(
    Object.entries(GGUF_NAMES).map(([name, key]) => [name, raw(`general.sampling.${key}`)]),
  ));
}
