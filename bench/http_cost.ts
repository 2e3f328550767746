/**
 * What a streamed token costs the server's main thread, and how many come a second, of several trees
 * in turns on one machine: thread time by /proc, so that what runs beside it counts little.
 *
 *     deno run -A bench/http_cost.ts --tree ../old --tree . [--clients 64] [--tokens 400] [--rounds 3]
 *
 * A tree is a checkout with its library built. On the CPU the model is tiny, so that steps cost next
 * to nothing; on a GPU a small one's shapes are enough (--model FOLDER --load-format dummy
 * --device cuda). Each client sends its requests one after another (--requests), of random ids
 * (--prompt-tokens) or of one short text; --client-threads read them.
 *
 * @module
 */
import { once } from "node:events";
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";
import { serveTask } from "../scripts/serve_task.ts";
import type { Share, Tally } from "./stream_clients.ts";
import { median, printTable } from "./table.ts";

const { values: flags } = parseArgs({
  args: Deno.args,
  options: {
    tree: { type: "string", multiple: true, default: ["."] },
    model: { type: "string", default: "tests/data/smollm2-bf16" },
    "load-format": { type: "string", default: "auto" },
    device: { type: "string", default: "cpu" },
    clients: { type: "string", default: "64" },
    "client-threads": { type: "string", default: "1" },
    requests: { type: "string", default: "1" },
    "prompt-tokens": { type: "string", default: "0" },
    tokens: { type: "string", default: "400" },
    rounds: { type: "string", default: "3" },
    route: { type: "string", default: "/v1/chat/completions" },
  },
});
const numClients = Number(flags.clients), numTokens = Number(flags.tokens);
const requestsEach = Number(flags.requests), promptTokens = Number(flags["prompt-tokens"]);
const model = await Deno.realPath(flags.model);
const readers = Array.from(
  { length: Number(flags["client-threads"]) },
  () => new Worker(new URL("./stream_clients.ts", import.meta.url)),
);

interface Cost {
  /** Of the main thread, a token. */
  readonly microseconds: number;
  readonly tokensPerSecond: number;
  /** Fewer than one where readers were slower than the engine. */
  readonly eventsPerToken: number;
}

/** All clients, shared among the readers. Returns the number of events. */
async function readAll(address: string): Promise<number> {
  const body = {
    ...(flags.route.includes("chat")
      ? { messages: [{ role: "user", content: "Hi" }] }
      : { prompt: "Hi" }),
    max_tokens: numTokens,
    ignore_eos: true,
    stream: true,
  };
  const tallies = await Promise.all(readers.map(async (reader, i) => {
    const own = Math.floor((numClients + i) / readers.length); // all of them together
    const share: Share = { address, numClients: own, requestsEach, body, promptTokens };
    reader.postMessage(share);
    return (await once(reader, "message"))[0] as Tally;
  }));
  const fault = tallies.flatMap(({ faults }) => faults)[0];
  if (fault !== undefined) throw new Error(fault);
  return tallies.reduce((sum, { events }) => sum + events, 0);
}

/** User and system time of a process's main thread, in seconds. */
async function mainThreadSeconds(pid: number): Promise<number> {
  const stat = await Deno.readTextFile(`/proc/${pid}/task/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

async function measure(tree: string): Promise<Cost> {
  const options = Object.entries({
    model,
    port: 0,
    device: flags.device,
    "load-format": flags["load-format"],
    "num-threads": 1,
    "max-num-seqs": numClients,
    "log-format": "off",
  }).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const server = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "functions/serve.ts", ...options],
    env: serveTask(tree).env,
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
    await readAll(address); // warm
    const [seconds, start] = [await mainThreadSeconds(server.pid), performance.now()];
    const events = await readAll(address);
    const used = await mainThreadSeconds(server.pid) - seconds;
    const count = numClients * requestsEach * numTokens;
    return {
      microseconds: used * 1e6 / count,
      tokensPerSecond: count * 1000 / (performance.now() - start),
      eventsPerToken: events / count,
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
