/**
 * Where fetched models are kept.
 *
 * @module
 */
import { join } from "node:path";
import { ModelError } from "./spec.ts";

/** Our own models: `hearth/models` in the user's cache folder (XDG). */
export function modelCacheFolder(): string {
  return join(userCacheFolder(), "hearth", "models");
}

/** The Hub's cache, shared with Hugging Face's own tools: `HF_HUB_CACHE`, or `hub` in `HF_HOME`. */
export function hubCacheFolder(): string {
  return variable("HF_HUB_CACHE") ?? join(hubHome(), "hub");
}

/** `HF_HOME`, where the Hub's tools keep their cache and the user's token. */
export function hubHome(): string {
  return variable("HF_HOME") ?? join(userCacheFolder(), "huggingface");
}

function userCacheFolder(): string {
  const home = variable("HOME");
  const folder = variable("XDG_CACHE_HOME") ??
    (home === undefined ? undefined : join(home, ".cache"));
  if (folder === undefined) {
    throw new ModelError("Cannot find the cache folder: neither XDG_CACHE_HOME nor HOME is set");
  }
  return folder;
}

/** An environment variable; empty counts as unset. */
function variable(name: string): string | undefined {
  return Deno.env.get(name) || undefined;
}
