/**
 * A worker's share of streaming clients, so that reading costs the server's thread nothing and no one
 * thread has to read all: each sends its requests one after another, and counts events.
 *
 * @module
 */
import { parentPort } from "node:worker_threads";

/** What a worker is told; it answers with a {@link Tally}. */
export interface Share {
  readonly address: string;
  readonly numClients: number;
  readonly requestsEach: number;
  /** Without its prompt. */
  readonly body: Record<string, unknown>;
  /** Of random token ids; 0: the body has its text. */
  readonly promptTokens: number;
}

export interface Tally {
  readonly events: number;
  /** Why a request was refused or lost. */
  readonly faults: readonly string[];
}

/** The smallest vocabulary that is measured, less what may be special. */
const FIRST_ID = 32, NUM_IDS = 96;

/** Reads one stream to its end, and counts its events by their ends. */
async function readStream(address: string, body: unknown): Promise<number> {
  const response = await fetch(address, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(await response.text());
  let numLines = 0;
  for await (const bytes of response.body!) for (const byte of bytes) if (byte === 10) numLines++;
  return numLines / 2;
}

async function readAll(share: Share): Promise<Tally> {
  let events = 0;
  const faults: string[] = [];
  const randomId = () => FIRST_ID + Math.floor(Math.random() * NUM_IDS);
  await Promise.all(Array.from({ length: share.numClients }, async () => {
    for (let i = 0; i < share.requestsEach; i++) {
      const prompt = share.promptTokens > 0
        ? { prompt: Array.from({ length: share.promptTokens }, randomId) }
        : {};
      try {
        const own = await readStream(share.address, { ...share.body, ...prompt });
        events += own; // not in one line: others add while this waits
      } catch (error) {
        faults.push(String(error));
      }
    }
  }));
  return { events, faults };
}

parentPort?.on("message", async (share: Share) => parentPort!.postMessage(await readAll(share)));
