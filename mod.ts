/**
 * Hearth runs a language model inside this process.
 *
 * ```ts
 * import { defaultModelPath, Engine } from "@hearth/hearth";
 *
 * await using engine = await Engine.open(await defaultModelPath());
 *
 * const messages = [{ role: "user", content: "Name a colour." }];
 * for await (const { text } of engine.generate({ messages, maxTokens: 16, temperature: 0 })) {
 *   console.log(text);
 * }
 * ```
 *
 * Any number of requests may run at a time: the engine batches them, and each gets the same tokens as
 * if it ran alone. Leaving a loop, or an `AbortSignal`, ends its request. For tests there is an engine
 * that is stepped by hand, in `@hearth/hearth/testing`.
 *
 * @module
 */
export { Engine, type OpenOptions } from "./engine/engine.ts";
export {
  type ConversationOptions,
  EngineError,
  type EngineErrorCode,
  type EngineErrorDetails,
  type EngineOptions,
  type EngineStats,
  type FinishReason,
  type GenerateChunk,
  type GenerateRequest,
  LogprobList,
  type Message,
  type Part,
  type PositionLogprobs,
  type Run,
  type RunObserver,
  type RunResult,
  type SamplingParameters,
  type SequenceResult,
  type TextPart,
  type TokenLogprob,
  type ToolCall,
} from "./engine/types.ts";
export { buildInfo, type DeviceInfo, listDevices } from "./ffi/library.ts";
export { type RenderedText, type TextOrigin, type TextSpan } from "./model/jinja/template.ts";
export { defaultModelPath } from "./model/default_model.ts";
export { loadModel, type LoadOptions } from "./model/load.ts";
export type { OnProgress, Progress } from "./model/progress.ts";
export type { UnreadOutput, UnreadShare } from "./engine/unread_output.ts";
export type { Steps } from "./model/steps.ts";
export {
  type ChatTemplate,
  type DType,
  type LiteralSpan,
  type Model,
  ModelError,
  type ModelSpec,
  type ReasoningMarkers,
  type SamplingDefaults,
  type TemplateVariables,
  type TensorEntry,
  type TensorRole,
  type TextOptions,
  type Tokenizer,
} from "./model/spec.ts";
