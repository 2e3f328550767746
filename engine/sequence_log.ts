/**
 * What is new of a request's sequences, put together: a reader that comes late finds one piece for each,
 * however many chunks it was made in.
 *
 * @module
 */
import {
  type FinishReason,
  type GenerateChunk,
  LogprobList,
  type Part,
  type PositionLogprobs,
} from "./types.ts";

/** Measured in V8: two numbers in an array that grows, or an object of them; a chunk with its arrays. */
const BYTES = { logprob: 20, logprobObject: 88, token: 8, character: 2, chunk: 256 };

/** One sequence's chunks as one, which grows. */
export class SequenceLog implements GenerateChunk {
  readonly index: number;
  text = "";
  readonly parts: { readonly kind: Part["kind"]; text: string }[] = [];
  readonly tokens: number[] = [];
  readonly logprobs: LogprobList | undefined;
  finishReason: FinishReason | null = null;
  stopReason: string | number | null = null;

  /** Begins as a copy of a chunk. */
  constructor(first: GenerateChunk) {
    this.index = first.index;
    this.logprobs = first.logprobs && new LogprobList();
    this.add(first);
  }

  /** Takes in the sequence's next chunk. It is called for every token: no object is made. */
  add(chunk: GenerateChunk): void {
    const { parts, tokens, logprobs } = chunk;
    this.text += chunk.text;
    for (let i = 0; i < parts.length; i++) this.#addPart(parts[i]!);
    // One by one: a chunk that waited long may hold more than a call takes arguments.
    for (let i = 0; i < tokens.length; i++) this.tokens.push(tokens[i]!);
    if (logprobs !== undefined) this.logprobs?.append(logprobs);
    this.finishReason = chunk.finishReason;
    this.stopReason = chunk.stopReason;
  }

  #addPart({ kind, text }: Part): void {
    const last = this.parts.at(-1);
    if (last?.kind === kind) last.text += text;
    else this.parts.push({ kind, text });
  }
}

/** All that came of each sequence. */
export class SequenceLogs {
  readonly #logs = new Map<number, SequenceLog>();
  /** Memory that they take, about. */
  bytes = 0;

  add(chunk: GenerateChunk): void {
    this.bytes += bytesOf(chunk);
    const log = this.#logs.get(chunk.index);
    if (log === undefined) this.#logs.set(chunk.index, new SequenceLog(chunk));
    else log.add(chunk);
  }

  /** By sequence. */
  all(): GenerateChunk[] {
    return [...this.#logs.values()].sort((a, b) => a.index - b.index);
  }
}

/** A chunk that waits, prolonged until it is long, and what it was counted with. */
interface Piece {
  chunk: GenerateChunk;
  bytes: number;
  numLogprobs: number;
}

/** Of one piece, about: in two milliseconds it is JSON, in one turn of the event loop. */
const LONG_LOGPROBS = 1024;

/** What waits for a reader: of each sequence one piece, and more where they are long. */
export class SequenceSlots {
  /** Those that have waited longest first. */
  readonly #slots = new Map<number, Piece[]>();
  /** Memory that they take, about. */
  bytes = 0;

  add(chunk: GenerateChunk): void {
    const bytes = bytesOf(chunk);
    const numLogprobs = numLogprobsOf(chunk);
    this.bytes += bytes;
    const slot = this.#slots.get(chunk.index);
    const last = slot?.at(-1);
    if (slot === undefined) this.#slots.set(chunk.index, [{ chunk, bytes, numLogprobs }]);
    else if (last!.numLogprobs >= LONG_LOGPROBS) slot.push({ chunk, bytes, numLogprobs });
    else {
      last!.bytes += bytes;
      last!.numLogprobs += numLogprobs;
      if (!(last!.chunk instanceof SequenceLog)) last!.chunk = new SequenceLog(last!.chunk);
      (last!.chunk as SequenceLog).add(chunk);
    }
  }

  /** What has waited longest, which is then the caller's; undefined where nothing waits. */
  take(): GenerateChunk | undefined {
    for (const [index, slot] of this.#slots) {
      const { chunk, bytes } = slot.shift()!;
      this.#slots.delete(index);
      if (slot.length > 0) this.#slots.set(index, slot);
      this.bytes -= bytes;
      return chunk;
    }
    return undefined;
  }

  clear(): void {
    this.#slots.clear();
    this.bytes = 0;
  }
}

/** Memory that a chunk takes, about. */
export function bytesOf(chunk: GenerateChunk): number {
  return BYTES.chunk + BYTES.character * chunk.text.length + BYTES.token * chunk.tokens.length +
    BYTES.logprob * numLogprobsOf(chunk);
}

/** Memory that log probabilities of a prompt's tokens take, about. */
export function bytesOfLogprobs(positions: readonly (PositionLogprobs | undefined)[]): number {
  return BYTES.logprobObject *
    positions.reduce((sum, one) => sum + (one ? 1 + one.top.length : 0), 0);
}

function numLogprobsOf({ logprobs }: GenerateChunk): number {
  return logprobs?.numLogprobs ?? 0;
}
