/**
 * One engine of the library: its calls with TypeScript's types, its buffers, its lifetime.
 *
 * @module
 */
import { ComputeDType } from "./dtypes.ts";
import { encodeFields } from "./encode_fields.ts";
import { ENGINE_OPTIONS } from "./engine_options.ts";
import { decodeEvent, type NativeEvent } from "./events.ts";
import { EngineError } from "./errors.ts";
import { FlatBuffer } from "./flat_buffer.ts";
import { bytesOf, type Library, nameOf, readText } from "./library.ts";
import { REQUEST_FIELDS } from "./request_fields.ts";
import { ErrorBuffer, statusError } from "./status.ts";
import * as c from "./structs.ts";
import type { EngineOptions, EngineStats } from "./types.ts";

/** A model as `hearth_engine_open` takes it, encoded. */
export interface ModelTables {
  readonly spec: Uint8Array<ArrayBuffer>;
  readonly tensors: Uint8Array<ArrayBuffer>;
  readonly files: Uint8Array<ArrayBuffer>;
  readonly numTensors: number;
  readonly numFiles: number;
  /** Names, paths and frequencies. */
  readonly flat: FlatBuffer;
}

/** Those fields of a request that the library takes as they are. */
type ScalarFields = {
  readonly [
    K in keyof typeof REQUEST_FIELDS as typeof REQUEST_FIELDS[K] extends { inC: null } ? never : K
  ]: typeof REQUEST_FIELDS[K]["kind"] extends "switch" ? boolean : number;
};

/** A request with every field given; ranges as in hearth.h. */
export interface NativeRequest extends ScalarFields {
  readonly seed: bigint;
  readonly caller: bigint;
  readonly salt: readonly [bigint, bigint];
  readonly stopIds: readonly number[];
  readonly logitBias: ReadonlyMap<number, number>;
  readonly badWords: readonly (readonly number[])[];
}

/**
 * Of one poll. Where the event loop cannot keep up, a poll finds several tokens of each sequence, and
 * its readers get them as one: so many sequences times as many tokens can be told at a time.
 */
const EVENT_CAPACITY = 4096;
const PAYLOAD_CAPACITY = 256 * 1024;
const KEEP_ALL_TOKENS = 0xffff_ffff;
const NO_STEP_BOUND = 0xffff_ffff;

/** Closes engines that nobody closed and nobody can reach any more. */
const forgotten = new FinalizationRegistry<{ library: Library; handle: bigint }>(
  ({ library, handle }) => library.symbols.hearth_engine_close(handle),
);

/** See the module's comment. Close it with {@linkcode close}; garbage collection is the net only. */
export class NativeEngine implements Disposable {
  readonly #library: Library;
  readonly #error = new ErrorBuffer();
  /** The library writes these while a poll is pending: made once, never resized. */
  readonly #events = c.Event.allocate(EVENT_CAPACITY);
  readonly #payload = new DataView(new ArrayBuffer(PAYLOAD_CAPACITY));
  /** 0 once closed. */
  #handle: bigint;
  #polling = false;

  private constructor(library: Library, handle: bigint) {
    this.#library = library;
    this.#handle = handle;
    forgotten.register(this, { library, handle }, this);
  }

  /**
   * Returns at once, loading; with `manual`, when the weights are loaded.
   *
   * @throws {EngineError} for options, tensors, files, devices or memory that do not fit
   */
  static open(
    library: Library,
    model: ModelTables,
    options: EngineOptions & { readonly manual?: boolean },
  ): NativeEngine {
    const { spec, tensors, files, flat } = model;
    const [kind, index] = (options.device ?? "auto").split(":") as [
      keyof typeof c.DeviceKind,
      string | undefined,
    ];
    const encoded = c.EngineOptions.encode({
      ...encodeFields(c.EngineOptions, ENGINE_OPTIONS, options),
      device_kind: c.DeviceKind[kind],
      device_index: Number(index ?? 0),
      manual: Number(options.manual ?? false),
      max_step_ms: options.maxStepMs === 0 ? NO_STEP_BOUND : options.maxStepMs ?? 0,
      flat_bytes: flat.byteLength,
      num_tensors: model.numTensors,
      num_files: model.numFiles,
    });
    const handle = new BigUint64Array(1);
    const error = new ErrorBuffer();
    error.unwrap(library.symbols.hearth_engine_open(
      encoded,
      spec,
      tensors,
      files,
      flat.toBytes(),
      handle,
      error.bytes,
    ));
    return new NativeEngine(library, handle[0]!);
  }

  /**
   * Queue one request and return its id.
   *
   * @throws {EngineError} `invalid_argument`, `queue_full`, `deadline`, `not_ready` or `closing`
   */
  submit(tokens: Uint32Array<ArrayBuffer>, request: NativeRequest): bigint {
    const flat = new FlatBuffer();
    const badWords = request.badWords.flatMap((word) => [word.length, ...word]);
    const logitBias = [...request.logitBias].map(([token, bias]) => ({ token, bias }));
    const encoded = c.RequestOptions.encode({
      ...encodeFields(c.RequestOptions, REQUEST_FIELDS, request),
      seed: request.seed,
      has_seed: 1,
      caller: request.caller,
      salt: request.salt,
      stop_ids_offset: flat.append(Uint32Array.from(request.stopIds)),
      stop_ids_count: request.stopIds.length,
      logit_bias_offset: flat.append(c.LogitBias.encodeAll(logitBias)),
      logit_bias_count: logitBias.length,
      bad_words_offset: flat.append(Uint32Array.from(badWords)),
      bad_words_count: badWords.length,
      flat_bytes: flat.byteLength,
    });
    const id = new BigUint64Array(1);
    this.#error.unwrap(
      this.#library.symbols.hearth_submit(
        this.#open(),
        tokens,
        tokens.length,
        encoded,
        flat.toBytes(),
        id,
        this.#error.bytes,
      ),
      () => this.stats().expectedWaitMs,
    );
    return id[0]!;
  }

  /** End a request for its client; finish events follow. Harmless when it has ended. */
  cancel(request: bigint): void {
    this.#cancel(request, c.Cancel.all_sequences, c.Cancel.client, KEEP_ALL_TOKENS);
  }

  /** End a sequence in whose text a stop text was found: the first `keepTokens` tokens count. */
  stopSequence(request: bigint, sequence: number, keepTokens: number): void {
    this.#cancel(request, sequence, c.Cancel.stop, keepTokens);
  }

  #cancel(request: bigint, sequence: number, reason: number, keepTokens: number): void {
    const status = this.#library.symbols.hearth_cancel(
      this.#open(),
      request,
      sequence,
      reason,
      keepTokens,
    );
    if (status !== c.Status.not_found && status !== c.Status.ok) throw statusError(status);
  }

  /**
   * Wait for events off this thread, one call at a time. Undefined: the engine has stopped and
   * every event was delivered.
   */
  async poll(timeoutMs: number): Promise<NativeEvent[] | undefined> {
    if (this.#polling) throw new Error("Cannot poll: a poll is pending already");
    this.#polling = true;
    try {
      return this.#received(
        await this.#library.symbols.hearth_poll(this.#open(), ...this.#buffers(), timeoutMs),
      );
    } finally {
      this.#polling = false;
    }
  }

  /** The events there are, without waiting. */
  pollNow(): NativeEvent[] | undefined {
    return this.#received(
      this.#library.symbols.hearth_poll_now(this.#open(), ...this.#buffers(), 0),
    );
  }

  /** Manual mode: one scheduler step. Returns the input tokens computed; 0: nothing to do. */
  step(): number {
    const numTokens = new Uint32Array(1);
    const { bytes } = this.#error;
    this.#error.unwrap(this.#library.symbols.hearth_step(this.#open(), numTokens, bytes));
    return numTokens[0]!;
  }

  /** @throws {EngineError} `internal` when KV blocks are lost or shared wrongly */
  checkIntegrity(): void {
    const { bytes } = this.#error;
    this.#error.unwrap(this.#library.symbols.hearth_check_integrity(this.#open(), bytes));
  }

  stats(): EngineStats {
    const view = c.EngineStats.allocate();
    const status = this.#library.symbols.hearth_stats(this.#open(), bytesOf(view));
    if (status !== c.Status.ok) throw statusError(status);
    return toEngineStats(c.EngineStats.decode(view));
  }

  /** `key: value` lines. */
  describe(): string {
    const handle = this.#open();
    return readText((text, capacity) =>
      this.#library.symbols.hearth_engine_describe(handle, text, capacity)
    );
  }

  /** Take no new requests; see hearth_engine_stop. */
  stop(drain: boolean): void {
    this.#library.symbols.hearth_engine_stop(this.#open(), Number(drain));
  }

  /** Free it. A pending poll must have ended: `stop` makes it end. */
  close(): void {
    if (this.#handle === 0n) return;
    if (this.#polling) throw new Error("Cannot close the engine: a poll is pending");
    this.#library.symbols.hearth_engine_close(this.#handle);
    this.#handle = 0n;
    forgotten.unregister(this);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #open(): bigint {
    if (this.#handle === 0n) throw new EngineError("closing", "The engine is closed");
    return this.#handle;
  }

  #buffers(): [Uint8Array<ArrayBuffer>, number, number, Uint8Array<ArrayBuffer>, number] {
    const { byteLength } = c.Event;
    const payload = bytesOf(this.#payload);
    return [bytesOf(this.#events), byteLength, EVENT_CAPACITY, payload, payload.length];
  }

  #received(count: number): NativeEvent[] | undefined {
    if (count === c.Status.closed) return undefined;
    if (count < 0) throw statusError(count);
    return Array.from(
      { length: count },
      (_, i) => decodeEvent(this.#events, i * c.Event.byteLength, this.#payload),
    );
  }
}

function toEngineStats(stats: ReturnType<typeof c.EngineStats.decode>): EngineStats {
  return {
    state: nameOf(c.State, stats.state),
    bytesLoaded: Number(stats.bytes_loaded),
    bytesTotal: Number(stats.bytes_total),
    numRequestsRunning: stats.num_requests_running,
    numRequestsWaiting: stats.num_requests_waiting,
    numSequencesRunning: stats.num_sequences_running,
    numQueuedTokens: Number(stats.num_queued_tokens),
    kvBlocks: {
      total: stats.kv_blocks_total,
      free: stats.kv_blocks_free,
      cached: stats.kv_blocks_cached,
      held: stats.kv_blocks_held,
    },
    numPromptTokens: Number(stats.num_prompt_tokens),
    numPromptTokensCached: Number(stats.num_prompt_tokens_cached),
    numGenerationTokens: Number(stats.num_generation_tokens),
    numRequestsSubmitted: Number(stats.num_requests_submitted),
    numFinished: {
      stop: Number(stats.num_finished_stop),
      length: Number(stats.num_finished_length),
      cancelled: Number(stats.num_finished_cancelled),
      deadline: Number(stats.num_finished_deadline),
      error: Number(stats.num_finished_error),
    },
    numPreemptions: Number(stats.num_preemptions),
    numSteps: Number(stats.num_steps),
    numStepTokens: Number(stats.num_step_tokens),
    stepSeconds: Number(stats.step_microseconds) / 1e6,
    stepBytes: Number(stats.step_bytes),
    stepFlops: Number(stats.step_flops),
    weightsBytes: Number(stats.weights_bytes),
    kvBytes: Number(stats.kv_bytes),
    workspaceBytes: Number(stats.workspace_bytes),
    expectedWaitMs: Number(stats.expected_wait_ms),
    loadSeconds: Number(stats.load_microseconds) / 1e6,
    maxModelLen: stats.max_model_len,
    maxNumSeqs: stats.max_num_seqs,
    maxNumBatchedTokens: stats.max_num_batched_tokens,
    blockSize: stats.block_size,
    numThreads: stats.num_threads,
    isa: nameOf(c.Isa, stats.isa),
    activationDtype: nameOf(ComputeDType, stats.activation_dtype),
    kvCacheDtype: nameOf(ComputeDType, stats.kv_cache_dtype),
    device: nameOf(c.DeviceKind, stats.device_kind),
    deviceIndex: stats.device_index,
    numAllocations: stats.num_allocations,
    numLaunches: Number(stats.num_launches),
    deviceSeconds: Number(stats.device_microseconds) / 1e6,
  };
}
