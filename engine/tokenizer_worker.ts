/**
 * Encodes long texts beside the event loop: see `encoder.ts`.
 *
 * A worker that reads this module's file begins by itself; where that file is a bundle of all modules,
 * the bundle is what it reads, and what else stands there does nothing by being read.
 *
 * @module
 */
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { loadModel } from "../model/load.ts";
import { type EncodeJob, EncodeQueue } from "./encode_queue.ts";

/** The file to start a worker with. */
export const WORKER_URL: URL = new URL(import.meta.url);

/** The model whose tokenizer it reads. */
export interface WorkerSource {
  /** Tells this worker from others that read this file. */
  readonly hearthTokenizer: true;
  readonly path: string;
  /** Of the model that the engine runs; another one's tokenizer would give other ids. */
  readonly fingerprint: bigint;
}

/** A text to encode, and one to forget. */
export type WorkerRequest =
  | { readonly id: number; readonly job: EncodeJob }
  | { readonly drop: number };

/**
 * First that it listens (Deno drops what comes before), then token ids; or why there will be none any
 * more.
 */
export type WorkerMessage =
  | "listening"
  | { readonly id: number; readonly tokens: Uint32Array }
  | { readonly error: string };

if (parentPort !== null && workerData?.hearthTokenizer === true) {
  await listen(parentPort, workerData);
}

async function listen(port: MessagePort, source: WorkerSource): Promise<void> {
  const tell = (message: WorkerMessage) => port.postMessage(message);
  let queue: EncodeQueue;
  try {
    const { tokenizer, spec } = await loadModel(source.path);
    if (spec.fingerprint !== source.fingerprint) {
      throw new Error(`${source.path} has changed since it was opened`);
    }
    queue = new EncodeQueue(tokenizer);
  } catch (error) {
    return tell({ error: textOf(error) });
  }
  const jobs = new Map<number, EncodeJob>();
  port.on("message", (request: WorkerRequest) => {
    if ("drop" in request) {
      const job = jobs.get(request.drop);
      if (job !== undefined) queue.drop(job);
      jobs.delete(request.drop);
      return;
    }
    const { id, job } = request;
    jobs.set(id, job);
    queue.add(job, {
      resolve: (tokens) => {
        jobs.delete(id);
        tell({ id, tokens: Uint32Array.from(tokens) });
      },
      reject: (error) => tell({ error: textOf(error) }),
    });
  });
  tell("listening");
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
