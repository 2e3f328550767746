/**
 * What it costs a server that prompts come as text: requests of random words, and others of the
 * token ids of such words, in turns. No two prompts are the same, so that nothing of one is cached
 * for another.
 *
 *     deno run -A bench/text_prompts.ts [--words 512] [--tokens 32] [--clients 64] [--requests 8]
 *         [--rounds 3] [-- flags of the server]
 *
 * @module
 */
import { parseArgs } from "node:util";
import { ServerProcess } from "./server.ts";
import { median, percentile, printTable } from "./table.ts";

const { values: flags, positionals: serverFlags } = parseArgs({
  options: {
    words: { type: "string", default: "512" },
    tokens: { type: "string", default: "32" },
    clients: { type: "string", default: "64" },
    requests: { type: "string", default: "8" },
    rounds: { type: "string", default: "3" },
  },
  allowPositionals: true,
});
const numWords = Number(flags.words), numTokens = Number(flags.tokens);
const numClients = Number(flags.clients), numPrompts = numClients * Number(flags.requests);

interface Round {
  readonly promptTokens: number;
  readonly tokensPerSecond: number;
  readonly latencies: readonly number[];
}

/** Words of this repository's own prose. */
const words = await (async () => {
  const texts = ["README.md"];
  for await (const { name } of Deno.readDir("docs")) {
    if (name.endsWith(".md")) texts.push(`docs/${name}`);
  }
  const prose = (await Promise.all(texts.map((path) => Deno.readTextFile(path)))).join(" ");
  return [...new Set(prose.match(/[A-Za-z]+[,.]?/g))];
})();

function randomText(): string {
  const word = () => words[Math.floor(Math.random() * words.length)];
  return Array.from({ length: numWords }, word).join(" ");
}

async function measure(
  server: ServerProcess,
  prompts: readonly (string | number[])[],
): Promise<Round> {
  const waiting = [...prompts], latencies: number[] = [];
  let promptTokens = 0;
  const start = performance.now();
  await Promise.all(Array.from({ length: numClients }, async () => {
    for (let prompt = waiting.pop(); prompt !== undefined; prompt = waiting.pop()) {
      const sent = performance.now();
      const body = { prompt, max_tokens: numTokens, ignore_eos: true, temperature: 0 };
      const { usage } = await server.ask<{ usage: { prompt_tokens: number } }>(
        "/v1/completions",
        body,
      );
      promptTokens += usage.prompt_tokens;
      latencies.push(performance.now() - sent);
    }
  }));
  const seconds = (performance.now() - start) / 1000;
  return { promptTokens, tokensPerSecond: prompts.length * numTokens / seconds, latencies };
}

const args = ["--max-num-seqs", String(numClients), "--log-format", "off", ...serverFlags];
await using server = await ServerProcess.start(args);
const rounds: Record<"text" | "ids", Round[]> = { text: [], ids: [] };
for (let round = 0; round <= Number(flags.rounds); round++) {
  for (const kind of ["text", "ids"] as const) {
    const texts = Array.from({ length: numPrompts }, randomText);
    const prompts = kind === "text" ? texts : await Promise.all(
      texts.map(async (prompt) =>
        (await server.ask<{ tokens: number[] }>("/tokenize", { prompt })).tokens
      ),
    );
    const measured = await measure(server, prompts);
    if (round > 0) rounds[kind].push(measured); // the first one warms
  }
}
const rate = (kind: "text" | "ids") =>
  median(rounds[kind].map(({ tokensPerSecond }) => tokensPerSecond));
printTable(
  ["prompts", "tokens each", "tok/s out", "ratio", "latency p50 ms", "p99 ms"],
  (["ids", "text"] as const).map((kind) => {
    const latencies = rounds[kind].flatMap((round) => round.latencies);
    const tokens = rounds[kind].reduce((sum, { promptTokens }) => sum + promptTokens, 0);
    return [
      kind,
      (tokens / latencies.length).toFixed(0),
      rate(kind).toFixed(0),
      (rate(kind) / rate("ids")).toFixed(3),
      percentile(latencies, 0.5).toFixed(0),
      percentile(latencies, 0.99).toFixed(0),
    ];
  }),
);
