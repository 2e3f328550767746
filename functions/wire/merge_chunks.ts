/**
 * The pieces of a generation put together, one whole for each sequence.
 *
 * @module
 */
import type { FinishReason, GenerateChunk, PositionLogprobs } from "../../engine/types.ts";

/** A sequence that has ended. */
export interface WholeSequence {
  text: string;
  readonly tokens: number[];
  readonly logprobs: PositionLogprobs[];
  finishReason: FinishReason;
  stopReason: string | number | null;
}

/** Reads `chunks` to their end. */
export async function mergeChunks(
  chunks: AsyncIterable<GenerateChunk>,
  numSequences: number,
): Promise<WholeSequence[]> {
  const sequences = Array.from({ length: numSequences }, (): WholeSequence => ({
    text: "",
    tokens: [],
    logprobs: [],
    finishReason: "cancelled",
    stopReason: null,
  }));
  for await (const chunk of chunks) {
    const sequence = sequences[chunk.index]!;
    sequence.text += chunk.text;
    // One by one: a chunk that waited long may hold more than a call takes arguments.
    for (const token of chunk.tokens) sequence.tokens.push(token);
    for (const position of chunk.logprobs ?? []) sequence.logprobs.push(position);
    if (chunk.finishReason !== null) {
      sequence.finishReason = chunk.finishReason;
      sequence.stopReason = chunk.stopReason;
    }
  }
  return sequences;
}
