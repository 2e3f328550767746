/**
 * Encodes long texts beside the event loop: see `encoder.ts`.
 *
 * @module
 */
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { loadModel } from "../model/load.ts";
import type { LiteralSpan, Tokenizer } from "../model/spec.ts";

/** The model whose tokenizer it reads. */
export interface WorkerSource {
  readonly path: string;
  /** Of the model that the engine runs; another one's tokenizer would give other ids. */
  readonly fingerprint: bigint;
}

/** A text to encode. */
export interface EncodeRequest {
  readonly text: string;
  readonly addSpecialTokens: boolean;
  readonly literal: readonly LiteralSpan[];
}

/** First that it listens (Deno drops what comes before), then token ids; or what went wrong. */
export type WorkerMessage = "listening" | EncodeReply;
type EncodeReply = { readonly tokens: Uint32Array } | { readonly error: string };

if (parentPort !== null) await listen(parentPort, workerData as WorkerSource);

async function listen(port: MessagePort, source: WorkerSource): Promise<void> {
  const { tokenizer, spec } = await loadModel(source.path);
  if (spec.fingerprint !== source.fingerprint) {
    const error = `${source.path} has changed since it was opened`;
    return port.postMessage({ error } satisfies WorkerMessage);
  }
  port.on("message", (request: EncodeRequest) => port.postMessage(encode(tokenizer, request)));
  port.postMessage("listening" satisfies WorkerMessage);
}

function encode(tokenizer: Tokenizer, { text, ...options }: EncodeRequest): EncodeReply {
  try {
    return { tokens: Uint32Array.from(tokenizer.encode(text, options)) };
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}
