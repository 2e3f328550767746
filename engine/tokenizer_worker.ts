/**
 * Encodes long texts beside the event loop: see `encoder.ts`.
 *
 * @module
 */
import { parentPort, workerData } from "node:worker_threads";
import { loadModel } from "../model/load.ts";

/** A text to encode. */
export interface EncodeRequest {
  readonly text: string;
  readonly addSpecialTokens: boolean;
}

/** First that it listens (Deno drops what comes before), then token ids or what went wrong. */
export type WorkerMessage = "listening" | EncodeReply;
type EncodeReply = { readonly tokens: Uint32Array } | { readonly error: string };

const { tokenizer } = await loadModel(workerData as string);

parentPort!.on("message", ({ text, addSpecialTokens }: EncodeRequest) => {
  parentPort!.postMessage(encode(text, addSpecialTokens));
});
parentPort!.postMessage("listening");

function encode(text: string, addSpecialTokens: boolean): EncodeReply {
  try {
    return { tokens: Uint32Array.from(tokenizer.encode(text, { addSpecialTokens })) };
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}
