/**
 * A request under way: a log of its output that grows, and readers that follow it, each at its own pace.
 *
 * @module
 */
import { type OutputEvent, type OutputOptions, RequestOutput } from "./request_output.ts";
import { bytesOfLogprobs, SequenceLog, SequenceLogs, SequenceSlots } from "./sequence_log.ts";
import type {
  EngineError,
  GenerateChunk,
  PositionLogprobs,
  Run,
  RunObserver,
  RunResult,
  SequenceResult,
} from "./types.ts";
import { outputTooLong, type UnreadOutput, type UnreadShare } from "./unread_output.ts";

/** How a run is made. */
export interface RunOptions {
  readonly numSequences: number;
  /** Ends the run. */
  readonly signal: AbortSignal | undefined;
  readonly observer: RunObserver;
  /** Ends the request in the library. */
  readonly cancelNative: (id: bigint) => void;
  /** Bounds what is kept for readers. */
  readonly unread: UnreadOutput;
}

/** The engine's side of a {@linkcode Run}: fed with events, read by any number of loops. */
export class ActiveRun implements Run {
  accepted: Promise<void> = Promise.resolve();
  readonly #options: RunOptions;
  readonly #cancellation = new AbortController();
  readonly #onAbort = () => this.#abort();
  readonly #readers = new Set<Reader>();
  readonly #ended = Promise.withResolvers<void>();
  /** All that came so far; undefined once it is too much to be kept. */
  #log: SequenceLogs | undefined = new SequenceLogs();
  /** Of the log; without one, of what readers have not read yet. */
  readonly #kept: UnreadShare;
  #promptBytes = 0;
  #numAwaited = 0;
  #hasEnded = false;
  #failure: { readonly reason: unknown } | undefined;
  #id: bigint | undefined;
  #output: RequestOutput | undefined;
  #promptTokens: readonly number[] = [];

  constructor(options: RunOptions) {
    this.#options = options;
    this.#kept = options.unread.open(() => this.#giveUp());
    options.signal?.addEventListener("abort", this.#onAbort, { once: true });
    this.#ended.promise.catch(() => {}); // whoever waits for it gets the error
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
    this.#options.observer.queued?.();
  }

  /** Takes an event in; true when it was the request's last. */
  take(event: OutputEvent | { readonly kind: "error"; readonly error: EngineError }): boolean {
    if (event.kind === "error") {
      this.fail(event.error);
      return true;
    }
    const output = this.#output!;
    const { observer } = this.#options;
    if (event.kind === "start") observer.started?.(event.queueMicroseconds / 1000);
    const chunk = output.take(event);
    if (chunk !== undefined) {
      if (chunk.tokens.length > 0) observer.tokens?.(chunk.index, chunk.tokens.length);
      this.#append(chunk);
    } else if (event.kind === "prompt_logprob") this.#promptBytes += bytesOfLogprobs([event.token]);
    if (output.ended) this.#end();
    return output.released;
  }

  /** Readers get `reason` behind what they have not read yet. */
  fail(reason: unknown): void {
    if (this.#hasEnded) return;
    this.#failure = { reason };
    this.#end();
  }

  /** Ends a request that the library never saw. */
  endUnsent(finishReason: "cancelled" | "deadline"): void {
    const nothing = { text: "", parts: [], tokens: [], logprobs: undefined, stopReason: null };
    for (let index = 0; index < this.#options.numSequences; index++) {
      this.#append({ index, ...nothing, finishReason });
    }
    this.#end();
  }

  cancel(): void {
    if (this.signal.aborted || this.#hasEnded) return;
    this.#cancellation.abort();
    if (this.#id !== undefined) this.#options.cancelNative(this.#id);
  }

  async result(): Promise<RunResult> {
    this.#numAwaited++;
    try {
      await this.accepted;
      await this.#ended.promise;
    } finally {
      this.#numAwaited--;
      this.#count();
    }
    if (this.#log === undefined) throw this.#tooLong();
    const { promptTokens, numCachedTokens, promptLogprobs } = this;
    const sequences = this.#log.all() as SequenceResult[];
    return { promptTokens, numCachedTokens, promptLogprobs, sequences };
  }

  async text(): Promise<string> {
    return (await this.result()).sequences[0]!.text;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<GenerateChunk, void, void> {
    const reader = this.#openReader();
    try {
      await this.accepted;
      for (;;) {
        const chunk = await reader.next();
        if (chunk === undefined) return;
        this.#count();
        yield chunk;
      }
    } finally {
      this.#readers.delete(reader);
      this.#count();
      if (this.#readers.size + this.#numAwaited === 0) this.cancel();
    }
  }

  /** One that begins at the beginning. */
  #openReader(): Reader {
    const reader = new Reader();
    for (const chunk of this.#log?.all() ?? []) reader.push(new SequenceLog(chunk));
    this.#readers.add(reader);
    if (this.#log === undefined) this.#drop(reader);
    else if (this.#hasEnded) reader.end(this.#failure);
    return reader;
  }

  #append(chunk: GenerateChunk): void {
    if (this.#hasEnded) return;
    const limit = this.#options.unread.maxRequestBytes;
    this.#log?.add(chunk);
    if (this.#log !== undefined && this.#log.bytes > limit) this.#log = undefined;
    for (const reader of this.#readers) {
      reader.push(chunk);
      if (reader.bytes > limit) this.#drop(reader);
    }
    this.#endUnread();
    this.#count();
  }

  /** Among all runs it keeps most. What may be wanted later goes first, where that is most of it. */
  #giveUp(): void {
    const isFollowed = this.#readers.size > 0 && this.#numAwaited === 0;
    if (!isFollowed || 2 * this.#unreadBytes > this.#kept.bytes) {
      this.#promptBytes = 0;
      for (const reader of this.#readers) this.#drop(reader);
    }
    this.#log = undefined;
    this.#endUnread();
    this.#count();
  }

  get #unreadBytes(): number {
    let bytes = 0;
    for (const reader of this.#readers) bytes += reader.bytes;
    return bytes;
  }

  /** Where nobody can have it whole, and nobody follows it. */
  #endUnread(): void {
    if (this.#log !== undefined || this.#readers.size > 0) return;
    this.cancel();
    this.fail(this.#tooLong());
  }

  /** What waits for it is lost, and it is told. */
  #drop(reader: Reader): void {
    this.#readers.delete(reader);
    reader.clear();
    reader.end({ reason: this.#tooLong() });
  }

  /** What has ended and is read by nobody is whoever's has the run. */
  #count(): void {
    const isOver = this.#hasEnded && this.#readers.size + this.#numAwaited === 0;
    const bytes = this.#log?.bytes ?? this.#unreadBytes;
    this.#kept.bytes = isOver ? 0 : bytes + this.#promptBytes;
  }

  #tooLong(): EngineError {
    return outputTooLong(this.#options.unread.maxRequestBytes);
  }

  #abort(): void {
    this.cancel();
    for (const reader of this.#readers) reader.clear();
    this.fail(this.#options.signal?.reason);
  }

  #end(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    for (const reader of this.#readers) reader.end(this.#failure);
    if (this.#failure === undefined) this.#ended.resolve();
    else this.#ended.reject(this.#failure.reason);
    this.#count();
    this.#options.signal?.removeEventListener("abort", this.#onAbort);
  }
}

/** What one loop has not read yet. */
class Reader {
  readonly #slots = new SequenceSlots();
  #end: { readonly failure: { readonly reason: unknown } | undefined } | undefined;
  #wake: (() => void) | undefined;

  get bytes(): number {
    return this.#slots.bytes;
  }

  push(chunk: GenerateChunk): void {
    this.#slots.add(chunk);
    this.#wakeUp();
  }

  /** With the reason of a failure, if it is one. */
  end(failure: { readonly reason: unknown } | undefined): void {
    this.#end ??= { failure };
    this.#wakeUp();
  }

  clear(): void {
    this.#slots.clear();
  }

  /** Undefined after the last one. */
  async next(): Promise<GenerateChunk | undefined> {
    for (;;) {
      const chunk = this.#slots.take();
      if (chunk !== undefined) return chunk;
      if (this.#end?.failure !== undefined) throw this.#end.failure.reason;
      if (this.#end !== undefined) return undefined;
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }

  #wakeUp(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}
