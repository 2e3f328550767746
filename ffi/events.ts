/**
 * Events of the library, read out of the buffers that `hearth_poll` has filled.
 *
 * @module
 */
import type { EngineError } from "./errors.ts";
import { nameOf } from "./library.ts";
import { engineError } from "./status.ts";
import * as c from "./structs.ts";
import type { FinishReason, PositionLogprobs, TokenLogprob } from "./types.ts";

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
    readonly tokens: readonly PositionLogprobs[];
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

type EventStruct = ReturnType<typeof c.Event.decode>;

/**
 * The event at an offset of the event buffer; nothing of it stays in the buffers.
 *
 * @param payload the payload buffer of the same poll
 */
export function decodeEvent(events: DataView, offset: number, payload: DataView): NativeEvent {
  const event = c.Event.decode(events, offset);
  const { request, sequence } = event;
  const cachedTokens = event.cached_tokens;
  switch (event.kind) {
    case c.EventKind.start: {
      const queueMicroseconds = Number(event.queue_microseconds);
      return { kind: "start", request, cachedTokens, queueMicroseconds };
    }
    case c.EventKind.token: {
      const tokens = tokensOf(event, payload);
      const numOutputTokens = event.num_output_tokens;
      return { kind: "token", request, sequence, tokens, cachedTokens, numOutputTokens };
    }
    case c.EventKind.prompt_logprob: {
      const [token] = tokensOf(event, payload);
      return { kind: "prompt_logprob", request, position: sequence, token: token! };
    }
    case c.EventKind.finish: {
      const reason = nameOf(c.Finish, event.finish_reason);
      return { kind: "finish", request, sequence, reason, cachedTokens };
    }
    case c.EventKind.error:
      return { kind: "error", request, error: failureOf(event, payload) };
    case c.EventKind.ready:
      return { kind: "ready" };
    case c.EventKind.failed:
      return { kind: "failed", error: failureOf(event, payload) };
    default:
      throw new Error(`Cannot read event: kind ${event.kind} is unknown`);
  }
}

/** The layout that hearth.h draws: the first token is in the event, the rest in the payload. */
function tokensOf(event: EventStruct, payload: DataView): PositionLogprobs[] {
  const { payload_offset, num_tokens, num_top } = event;
  const entry = (index: number): TokenLogprob =>
    c.TokenLogprob.decode(payload, payload_offset + index * c.TokenLogprob.byteLength);
  const tokens: PositionLogprobs[] = [];
  let next = num_tokens - 1; // behind the tokens that the payload begins with
  for (let i = 0; i < num_tokens; i++) {
    const { token, logprob } = i === 0 ? event : entry(i - 1);
    const top: TokenLogprob[] = [];
    while (top.length < num_top) top.push(entry(next++));
    tokens.push({ token, logprob, top });
  }
  return tokens;
}

function failureOf({ payload_offset }: EventStruct, payload: DataView): EngineError {
  return engineError(c.Error.decode(payload, payload_offset));
}
