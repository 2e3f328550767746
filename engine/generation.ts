/**
 * A request under way, as its caller iterates it.
 *
 * @module
 */
import { type OutputEvent, type OutputOptions, RequestOutput } from "./request_output.ts";
import type {
  EngineError,
  GenerateChunk,
  GenerateRequest,
  Generation,
  PositionLogprobs,
} from "./types.ts";

/** The engine's side of a {@linkcode Generation}: fed with events, read by the caller's loop. */
export class ActiveGeneration implements Generation {
  accepted: Promise<void> = Promise.resolve();
  readonly #cancellation = new AbortController();
  readonly #request: GenerateRequest;
  readonly #cancelNative: (id: bigint) => void;
  readonly #queue = new ChunkQueue();
  readonly #onAbort = () => this.#abort();
  #id: bigint | undefined;
  #output: RequestOutput | undefined;
  #promptTokens: readonly number[] = [];

  constructor(
    request: GenerateRequest,
    cancelNative: (id: bigint) => void,
  ) {
    this.#request = request;
    this.#cancelNative = cancelNative;
    request.signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  /** Aborts when it is asked to end, perhaps before the library knew the request. */
  get signal(): AbortSignal {
    return this.#cancellation.signal;
  }

  get promptTokens(): readonly number[] {
    return this.#promptTokens;
  }

  get numCachedTokens(): number {
    return this.#output?.numCachedTokens ?? 0;
  }

  get queueMs(): number | undefined {
    return this.#output?.queueMs;
  }

  get numOutputTokens(): number {
    return this.#output?.numOutputTokens ?? 0;
  }

  get promptLogprobs(): readonly (PositionLogprobs | undefined)[] | undefined {
    return this.#output?.promptLogprobs;
  }

  /** The library knows it as `id`; events may follow. */
  begin(id: bigint, options: OutputOptions): void {
    this.#id = id;
    this.#promptTokens = options.promptTokens;
    this.#output = new RequestOutput(options);
  }

  /** Takes an event in; true when it was the request's last. */
  take(event: OutputEvent | { readonly kind: "error"; readonly error: EngineError }): boolean {
    if (event.kind === "error") {
      this.fail(event.error);
      return true;
    }
    const output = this.#output!;
    this.#queue.push(output.take(event));
    if (output.ended) this.#end();
    return output.released;
  }

  /** The loop throws `reason` after the chunks that it has not read yet. */
  fail(reason: unknown): void {
    this.#queue.fail(reason);
    this.#forgetSignal();
  }

  /** Ends a request that the library never saw. */
  endUnsent(finishReason: "cancelled" | "deadline"): void {
    for (let index = 0; index < (this.#request.n ?? 1); index++) {
      this.#queue.push({
        index,
        text: "",
        tokens: [],
        logprobs: undefined,
        finishReason,
        stopReason: null,
      });
    }
    this.#end();
  }

  cancel(): void {
    if (this.signal.aborted || this.#queue.ended) return;
    this.#cancellation.abort();
    if (this.#id !== undefined) this.#cancelNative(this.#id);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<GenerateChunk, void, void> {
    try {
      await this.accepted;
      for (;;) {
        const chunk = await this.#queue.next();
        if (chunk === undefined) return;
        yield chunk;
      }
    } finally {
      this.cancel();
    }
  }

  #abort(): void {
    this.cancel();
    this.#queue.clear();
    this.fail(this.#request.signal?.reason);
  }

  #end(): void {
    this.#queue.end();
    this.#forgetSignal();
  }

  #forgetSignal(): void {
    this.#request.signal?.removeEventListener("abort", this.#onAbort);
  }
}

/** Chunks on their way from the poll loop to the caller's: one slot for each sequence. */
class ChunkQueue {
  /** By sequence, those that have waited longest first. */
  readonly #chunks = new Map<number, GenerateChunk>();
  #failure: { readonly reason: unknown } | undefined;
  #wake: (() => void) | undefined;
  ended = false;

  /** A chunk that nobody has read yet is prolonged: a slow reader gets fewer, longer ones. */
  push(chunk: GenerateChunk | undefined): void {
    if (chunk === undefined || this.ended) return;
    const { index } = chunk;
    const unread = this.#chunks.get(index);
    this.#chunks.set(index, unread === undefined ? chunk : prolong(unread, chunk));
    this.#wakeReader();
  }

  end(): void {
    this.ended = true;
    this.#wakeReader();
  }

  fail(reason: unknown): void {
    if (this.ended) return;
    this.#failure = { reason };
    this.end();
  }

  clear(): void {
    this.#chunks.clear();
  }

  /** Undefined after the last one. */
  async next(): Promise<GenerateChunk | undefined> {
    while (this.#chunks.size === 0 && !this.ended) {
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    for (const [index, chunk] of this.#chunks) {
      this.#chunks.delete(index);
      return chunk;
    }
    if (this.#failure !== undefined) throw this.#failure.reason;
    return undefined;
  }

  #wakeReader(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}

/** `first` with `second` behind it; takes over `first`'s arrays, which nobody else has seen. */
function prolong(first: GenerateChunk, second: GenerateChunk): GenerateChunk {
  (first.tokens as number[]).push(...second.tokens);
  (first.logprobs as PositionLogprobs[] | undefined)?.push(...second.logprobs ?? []);
  return {
    ...second,
    text: first.text + second.text,
    tokens: first.tokens,
    logprobs: first.logprobs,
  };
}
