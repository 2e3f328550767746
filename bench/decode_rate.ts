/**
 * How fast tokens came.
 *
 * @module
 */
import type { TokenTimes } from "./server.ts";

/**
 * Tokens a second of all streams together, while all of them ran: from the last one's first chunk to
 * the first one's last.
 */
export function decodeRate(streams: readonly TokenTimes[]): number {
  const from = Math.max(...streams.map(({ arrivals }) => arrivals[0]!.at));
  const to = Math.min(...streams.map(({ arrivals }) => arrivals.at(-1)!.at));
  const numTokens = streams.flatMap(({ arrivals }) => arrivals)
    .filter(({ at }) => at > from && at <= to)
    .reduce((sum, arrival) => sum + arrival.numTokens, 0);
  return numTokens / (to - from) * 1000;
}
