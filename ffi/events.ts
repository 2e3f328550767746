/**
 * Events of the library, read out of the buffers that `hearth_poll` has filled.
 *
 * @module
 */
import type { EngineError } from "./errors.ts";
import { nameOf } from "./library.ts";
import { LogprobList } from "./logprobs.ts";
import { engineError } from "./status.ts";
import * as c from "./structs.ts";
import type { FinishReason, PositionLogprobs } from "./types.ts";

/** What `hearth_poll` tells. */
export type NativeEvent =
  | {
    readonly kind: "start";
    readonly request: bigint;
    readonly cachedTokens: number;
    /** From `submit` to the first step. */
    readonly queueMicroseconds: number;
  }
  | {
    readonly kind: "token";
    readonly request: bigint;
    readonly sequence: number;
    /** New ones, in order; a logprob is NaN when not asked for. */
    readonly tokens: LogprobList;
    readonly cachedTokens: number;
    /** The number of the last of them in its sequence, from 1. */
    readonly numOutputTokens: number;
  }
  | {
    readonly kind: "prompt_logprob";
    readonly request: bigint;
    /** Index of the prompt token. */
    readonly position: number;
    readonly token: PositionLogprobs;
  }
  | {
    readonly kind: "finish";
    readonly request: bigint;
    readonly sequence: number;
    readonly reason: FinishReason;
    readonly cachedTokens: number;
  }
  | { readonly kind: "error"; readonly request: bigint; readonly error: EngineError }
  | { readonly kind: "ready" }
  | { readonly kind: "failed"; readonly error: EngineError };

const AT = c.Event.offsets;
const ENTRY = c.TokenLogprob.offsets;

/**
 * The event at an offset of the event buffer; nothing of it stays in the buffers. One comes with each
 * token, so that only what its kind has is read.
 *
 * @param payload the payload buffer of the same poll
 */
export function decodeEvent(events: DataView, offset: number, payload: DataView): NativeEvent {
  const u32 = (at: number) => events.getUint32(offset + at, true);
  const kind = u32(AT.kind);
  const request = events.getBigUint64(offset + AT.request, true);
  switch (kind) {
    case c.EventKind.start: {
      const queueMicroseconds = Number(events.getBigUint64(offset + AT.queue_microseconds, true));
      return { kind: "start", request, cachedTokens: u32(AT.cached_tokens), queueMicroseconds };
    }
    case c.EventKind.token:
      return {
        kind: "token",
        request,
        sequence: u32(AT.sequence),
        tokens: tokensOf(events, offset, payload),
        cachedTokens: u32(AT.cached_tokens),
        numOutputTokens: u32(AT.num_output_tokens),
      };
    case c.EventKind.prompt_logprob: {
      const token = tokensOf(events, offset, payload).at(0)!;
      return { kind: "prompt_logprob", request, position: u32(AT.sequence), token };
    }
    case c.EventKind.finish:
      return {
        kind: "finish",
        request,
        sequence: u32(AT.sequence),
        reason: nameOf(c.Finish, u32(AT.finish_reason)),
        cachedTokens: u32(AT.cached_tokens),
      };
    case c.EventKind.error:
      return { kind: "error", request, error: errorAt(payload, u32(AT.payload_offset)) };
    case c.EventKind.ready:
      return { kind: "ready" };
    case c.EventKind.failed:
      return { kind: "failed", error: errorAt(payload, u32(AT.payload_offset)) };
    default:
      throw new Error(`Cannot read event: kind ${kind} is unknown`);
  }
}

/** The layout that hearth.h draws: the first token is in the event, the rest in the payload. */
function tokensOf(events: DataView, offset: number, payload: DataView): LogprobList {
  const first = events.getUint32(offset + AT.payload_offset, true);
  const numTokens = events.getUint32(offset + AT.num_tokens, true);
  const numTop = events.getUint32(offset + AT.num_top, true);
  const numbers = [
    events.getUint32(offset + AT.token, true),
    events.getFloat32(offset + AT.logprob, true),
  ];
  const take = (index: number) => {
    const at = first + index * c.TokenLogprob.byteLength;
    numbers.push(payload.getUint32(at + ENTRY.token, true));
    numbers.push(payload.getFloat32(at + ENTRY.logprob, true));
  };
  let next = numTokens - 1; // behind the tokens that the payload begins with
  for (let i = 0; i < numTokens; i++) {
    if (i > 0) take(i - 1);
    for (let j = 0; j < numTop; j++) take(next++);
  }
  return new LogprobList(numTop, numbers);
}

function errorAt(payload: DataView, offset: number): EngineError {
  return engineError(c.Error.decode(payload, offset));
}
