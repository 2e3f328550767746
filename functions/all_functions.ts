/**
 * Every function that does something; `openapi.ts` describes them, `app.ts` mounts both.
 *
 * @module
 */
import type { HttpFunction } from "./server/env.ts";
import { chatCompletions } from "./chat_completions.ts";
import { completions } from "./completions.ts";
import { detokenize } from "./detokenize.ts";
import { generate } from "./generate.ts";
import { health } from "./health.ts";
import { metrics } from "./metrics.ts";
import { models } from "./models.ts";
import { ready } from "./ready.ts";
import { tokenize } from "./tokenize.ts";
import { tokenizerInfo } from "./tokenizer_info.ts";
import { version } from "./version.ts";

export const allFunctions: readonly HttpFunction[] = [
  generate,
  chatCompletions,
  completions,
  models,
  tokenize,
  detokenize,
  tokenizerInfo,
  health,
  ready,
  version,
  metrics,
];
