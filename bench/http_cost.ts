/**
 * What a streamed token costs the server's main thread, of several trees in turns on one machine:
 * thread time by /proc, so that what runs beside it counts little.
 *
 *     deno run -A bench/http_cost.ts --tree ../old --tree . [--clients 64] [--tokens 400] [--rounds 3]
 *
 * A tree is a checkout with its library built. The model is tiny, so that steps cost next to nothing.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { median, printTable } from "./table.ts";

const { values: flags } = parseArgs({
  args: Deno.args,
  options: {
    tree: { type: "string", multiple: true, default: ["."] },
    model: { type: "string", default: "tests/data/smollm2-bf16" },
    clients: { type: "string", default: "64" },
    tokens: { type: "string", default: "400" },
    rounds: { type: "string", default: "3" },
    route: { type: "string", default: "/v1/chat/completions" },
  },
});
const numClients = Number(flags.clients), numTokens = Number(flags.tokens);
const model = await Deno.realPath(flags.model);

interface Cost {
  /** Of the main thread, a token. */
  readonly microseconds: number;
  readonly tokensPerSecond: number;
  /** Fewer than one where readers were slower than the engine. */
  readonly eventsPerToken: number;
}

/** Reads one stream to its end, and counts its events by their ends. */
async function readStream(address: string, body: string): Promise<number> {
  const response = await fetch(address, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body,
  });
  if (!response.ok) throw new Error(await response.text());
  let numLines = 0;
  for await (const bytes of response.body!) for (const byte of bytes) if (byte === 10) numLines++;
  return numLines / 2;
}

/** User and system time of a process's main thread, in seconds. */
async function mainThreadSeconds(pid: number): Promise<number> {
  const stat = await Deno.readTextFile(`/proc/${pid}/task/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

async function measure(tree: string): Promise<Cost> {
  const server = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "functions/serve.ts", "--model", model, "--port", "0", "--device", "cpu"]
      .concat("--num-threads", "1", "--max-num-seqs", String(numClients), "--log-format", "off"),
    cwd: tree,
    stdout: "piped",
  }).spawn();
  try {
    let output = "";
    const reader = server.stdout.pipeThrough(new TextDecoderStream()).getReader();
    while (!output.includes("curl ")) {
      const { value, done } = await reader.read();
      if (done) throw new Error(`${tree} does not serve: ${output}`);
      output += value;
    }
    const address = /listening on (\S+)/.exec(output)![1] + flags.route;
    const body = JSON.stringify({
      ...(flags.route.includes("chat")
        ? { messages: [{ role: "user", content: "Hi" }] }
        : { prompt: "Hi" }),
      max_tokens: numTokens,
      ignore_eos: true,
      stream: true,
    });
    const all = () =>
      Promise.all(Array.from({ length: numClients }, () => readStream(address, body)));
    await all(); // warm
    const [seconds, start] = [await mainThreadSeconds(server.pid), performance.now()];
    const events = await all();
    const used = await mainThreadSeconds(server.pid) - seconds;
    const count = numClients * numTokens;
    return {
      microseconds: used * 1e6 / count,
      tokensPerSecond: count * 1000 / (performance.now() - start),
      eventsPerToken: events.reduce((sum, one) => sum + one, 0) / count,
    };
  } finally {
    server.kill("SIGKILL");
    await server.status;
  }
}

const costs = new Map<string, Cost[]>(flags.tree.map((tree) => [tree, []]));
for (let round = 0; round < Number(flags.rounds); round++) {
  for (const tree of flags.tree) costs.get(tree)!.push(await measure(tree));
}
printTable(
  ["tree", "µs of the main thread a token", "events a token", "tok/s"],
  [...costs].map(([tree, all]) => [
    tree,
    median(all.map(({ microseconds }) => microseconds)).toFixed(1),
    median(all.map(({ eventsPerToken }) => eventsPerToken)).toFixed(2),
    median(all.map(({ tokensPerSecond }) => tokensPerSecond)).toFixed(0),
  ]),
);
Deno.exit(0);
