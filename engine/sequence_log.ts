/**
 * What is new of a request's sequences, put together: a reader that comes late finds one piece for each,
 * however many chunks it was made in.
 *
 * @module
 */
import type { FinishReason, GenerateChunk, Part, PositionLogprobs } from "./types.ts";

/** Measured in V8: an object with two numbers, its place in an array, a chunk with its arrays. */
const BYTES = { logprob: 88, token: 8, character: 2, chunk: 256 };

/** One sequence's chunks as one, which grows. */
export class SequenceLog implements GenerateChunk {
  readonly index: number;
  text = "";
  readonly parts: { readonly kind: Part["kind"]; text: string }[] = [];
  readonly tokens: number[] = [];
  readonly logprobs: PositionLogprobs[] | undefined;
  finishReason: FinishReason | null = null;
  stopReason: string | number | null = null;

  /** Begins as a copy of a chunk. */
  constructor(first: GenerateChunk) {
    this.index = first.index;
    this.logprobs = first.logprobs && [];
    this.add(first);
  }

  /** Takes in the sequence's next chunk. It is called for every token: no object is made. */
  add(chunk: GenerateChunk): void {
    const { parts, tokens, logprobs } = chunk;
    this.text += chunk.text;
    for (let i = 0; i < parts.length; i++) this.#addPart(parts[i]!);
    // One by one: a chunk that waited long may hold more than a call takes arguments.
    for (let i = 0; i < tokens.length; i++) this.tokens.push(tokens[i]!);
    if (logprobs !== undefined) { for (const position of logprobs) this.logprobs?.push(position); }
    this.finishReason = chunk.finishReason;
    this.stopReason = chunk.stopReason;
  }

  #addPart({ kind, text }: Part): void {
    const last = this.parts.at(-1);
    if (last?.kind === kind) last.text += text;
    else this.parts.push({ kind, text });
  }
}

/** A chunk that waits, and the memory that it and what prolonged it were counted with. */
interface Slot {
  chunk: GenerateChunk;
  bytes: number;
}

/** One slot a sequence: a chunk, prolonged while nobody takes it. */
export class SequenceSlots {
  /** Those that have waited longest first. */
  readonly #slots = new Map<number, Slot>();
  /** Memory that the slots take, about. */
  bytes = 0;

  add(chunk: GenerateChunk): void {
    const bytes = bytesOf(chunk);
    this.bytes += bytes;
    const slot = this.#slots.get(chunk.index);
    if (slot === undefined) {
      this.#slots.set(chunk.index, { chunk, bytes });
      return;
    }
    slot.bytes += bytes;
    if (!(slot.chunk instanceof SequenceLog)) slot.chunk = new SequenceLog(slot.chunk);
    (slot.chunk as SequenceLog).add(chunk);
  }

  /** What has waited longest, which is then the caller's; undefined where nothing waits. */
  take(): GenerateChunk | undefined {
    for (const [index, { chunk, bytes }] of this.#slots) {
      this.#slots.delete(index);
      this.bytes -= bytes;
      return chunk;
    }
    return undefined;
  }

  /** All that waits, by sequence. */
  all(): GenerateChunk[] {
    return [...this.#slots.values()].map(({ chunk }) => chunk).sort((a, b) => a.index - b.index);
  }

  clear(): void {
    this.#slots.clear();
    this.bytes = 0;
  }
}

function bytesOf({ text, tokens, logprobs }: GenerateChunk): number {
  let numLogprobs = 0;
  if (logprobs !== undefined) { for (const { top } of logprobs) numLogprobs += 1 + top.length; }
  return BYTES.chunk + BYTES.character * text.length + BYTES.token * tokens.length +
    BYTES.logprob * numLogprobs;
}
