/**
 * All of list A at its full size, one attack after the other, against one server: what `/health` takes meanwhile,
 * what memory the server takes and gives back, and whether other callers are served. It takes some minutes:
 *
 *   deno run -A tests/attack/storm.ts [NAME ...] [-- FLAG ...]
 *
 * @module
 */
import { ServerProcess } from "../http/server_process.ts";

const MODEL = ["--model", "tests/data/smollm2-bf16"];
const FLAGS = ["--kv-cache-memory-bytes", "256M"];
const IDLE_MS = 30_000;
const LARGEST = 8 << 20;

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
const headOf = (path: string, length: number) =>
  `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n` +
  `Content-Length: ${length}\r\n\r\n`;

/** A connection that says something and reads nothing. */
async function open(port: number, text = ""): Promise<Deno.TcpConn | undefined> {
  try {
    const socket = await Deno.connect({ hostname: "127.0.0.1", port });
    const bytes = new TextEncoder().encode(text);
    const writing = (async () => {
      for (let at = 0; at < bytes.length;) at += await socket.write(bytes.subarray(at));
    })();
    writing.catch(() => {}); // refused on the way
    await Promise.race([writing, sleep(20_000)]).catch(() => {});
    return socket;
  } catch {
    return undefined;
  }
}

function close(sockets: readonly (Deno.TcpConn | undefined)[]): void {
  for (const socket of sockets) {
    try {
      socket?.close();
    } catch {
      // The server closed it.
    }
  }
}

const many = <T>(count: number, make: (i: number) => T): T[] =>
  Array.from({ length: count }, (_, i) => make(i));

/** Each takes a port, and resolves when it has done what it can. */
const ATTACKS: Record<string, (port: number) => Promise<void>> = {
  "2,000 silent connections": async (port) => {
    const sockets = [];
    for (let i = 0; i < 2000; i++) sockets.push(await open(port));
    await sleep(2000);
    close(sockets);
  },
  "255 bodies of the largest size": async (port) => {
    const fields = '{"prompt":"x","max_tokens":500,"stream":true,"ignore_eos":true,"user":"';
    const body = `${fields}${"u".repeat(LARGEST - fields.length - 5)}☃"}`;
    close(
      await Promise.all(many(255, () => open(port, headOf("/v1/completions", LARGEST) + body))),
    );
  },
  "100 uploads that stop": async (port) => {
    const half = `{"prompt":"${"x".repeat(LARGEST - 1000)}`;
    const sockets = await Promise.all(
      many(100, () => open(port, headOf("/v1/completions", LARGEST) + half)),
    );
    await sleep(5000);
    close(sockets);
  },
  "12 streams that nobody reads": async (port) => {
    const body = JSON.stringify({
      tokens: [20],
      n: 128,
      max_tokens: 2000,
      logprobs: 20,
      ignore_eos: true,
      stream: true,
    });
    const sockets = await Promise.all(
      many(12, () => open(port, headOf("/generate", body.length) + body)),
    );
    await sleep(60_000);
    close(sockets);
  },
  "300 kB of stop texts": async (port) => {
    const stop = many(16, (i) => `${" ".repeat(19_000 - i)}y`);
    const within = many(16, (i) => `${" ".repeat(1000 - i)}y`);
    const bodies = many(20, (i) =>
      JSON.stringify({
        prompt: "x",
        max_tokens: 200,
        ignore_eos: true,
        logit_bias: { "220": 100 },
        stop: i % 2 === 0 ? stop : within,
      }));
    const sockets = await Promise.all(
      bodies.map((body) => open(port, headOf("/v1/completions", body.length) + body)),
    );
    await sleep(3000);
    close(sockets);
  },
  "8 MB of nested brackets": async (port) => {
    const body = `{"prompt":"x","z":${"[".repeat(LARGEST / 2 - 10)}${
      "]".repeat(LARGEST / 2 - 10)
    }}`;
    const head = headOf("/v1/completions", body.length);
    close(await Promise.all(many(8, () => open(port, head + body))));
  },
};

/** What is seen of a server from beside: in a process of its own, as attacks keep this one busy. */
interface Seen {
  readonly healthMs: number[];
  readonly peakBytes: number;
  readonly answered: number;
  readonly refused: number;
}

async function look(address: string, pid: number): Promise<void> {
  const healthMs: number[] = [];
  let peakBytes = 0, answered = 0, refused = 0, isOver = false;
  const ask = async () => {
    while (!isOver) {
      const body = JSON.stringify({ prompt: "Hello", max_tokens: 8, ignore_eos: true });
      const headers = { "content-type": "application/json" };
      await fetch(`${address}/v1/completions`, { method: "POST", headers, body })
        .then(async (answer) => (await answer.text(), answer.ok ? answered++ : refused++))
        .catch(() => refused++);
      await sleep(200);
    }
  };
  const watch = async () => {
    while (!isOver) {
      const asked = performance.now();
      await fetch(`${address}/health`).then((answer) => answer.text()).catch(() => {});
      healthMs.push(performance.now() - asked);
      peakBytes = Math.max(peakBytes, residentBytes(pid));
      await sleep(20);
    }
  };
  const working = [ask(), watch()];
  await Deno.stdin.readable.pipeTo(new WritableStream());
  isOver = true;
  await Promise.all(working);
  console.log(JSON.stringify({ healthMs, peakBytes, answered, refused }));
}

async function seenWhile(server: ServerProcess, attack: () => Promise<void>): Promise<Seen> {
  const viewer = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", import.meta.filename!, "--look", server.address, String(server.pid)],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  await sleep(1000);
  await attack();
  await viewer.stdin.close();
  return await new Response(viewer.stdout).json();
}

function residentBytes(pid: number): number {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  return 1024 * Number(/^VmRSS:\s+(\d+)/m.exec(status)![1]);
}

const megabytes = (bytes: number) => `${Math.round(bytes / 1e6)} MB`;

/** Until nearly every block of the KV cache was used, so that its pages are there before memory is compared. */
async function fill(server: ServerProcess): Promise<void> {
  const blocks = async (state: string) => {
    const metrics = await (await fetch(`${server.address}/metrics`)).text();
    return Number(
      new RegExp(`^hearth_kv_blocks\\{state="${state}"\\} (\\d+)`, "m").exec(metrics)![1],
    );
  };
  // What a sequence leaves half full is free again: some always are.
  for (let i = 0; await blocks("free") > await blocks("cached") / 50 && i < 10; i++) {
    const body = { prompt: `${i}`, n: 128, max_tokens: 1500, ignore_eos: true };
    await (await server.post("/v1/completions", body)).text();
  }
}

function tell(name: string, seen: Seen, startBytes: number): void {
  const sorted = seen.healthMs.toSorted((a, b) => a - b);
  const at = (share: number) => `${sorted[Math.floor(share * (sorted.length - 1))]!.toFixed()} ms`;
  console.log(
    `${name}: /health median ${at(0.5)}, 99 % ${at(0.99)}, longest ${at(1)}; ` +
      `memory +${megabytes(seen.peakBytes - startBytes)}; ` +
      `others: ${seen.answered} answered, ${seen.refused} not`,
  );
}

async function storm(names: readonly string[], flags: readonly string[]): Promise<void> {
  const args = [...MODEL, ...FLAGS, ...flags];
  await using server = await ServerProcess.start(args, { openFiles: 1024 });
  await fill(server);
  await sleep(5000);
  const startBytes = residentBytes(server.pid);
  console.log(`start: ${megabytes(startBytes)}`);
  const port = Number(new URL(server.address).port);
  tell("idle", await seenWhile(server, () => sleep(5000)), startBytes);
  for (const [name, attack] of Object.entries(ATTACKS)) {
    if (names.length > 0 && !names.some((part) => name.includes(part))) continue;
    tell(name, await seenWhile(server, () => attack(port)), startBytes);
    await sleep(IDLE_MS);
    console.log(
      `  after ${IDLE_MS / 1000} s: +${megabytes(residentBytes(server.pid) - startBytes)}`,
    );
  }
  if (names.length > 0) return;
  server.pauseReading();
  const requests = async () => {
    for (let i = 0; i < 6000; i++) {
      await (await fetch(`${server.address}/n${i}/${"x".repeat(7000)}`)).text();
    }
  };
  tell("6,000 lines that nobody reads", await seenWhile(server, requests), startBytes);
  server.goOnReading();
  server.signal("SIGHUP");
  console.log(
    `ended with ${await server.code()}, on standard error: ${server.stderr || "nothing"}`,
  );
}

if (import.meta.main) {
  const [first, ...rest] = Deno.args;
  if (first === "--look") await look(rest[0]!, Number(rest[1]));
  else {
    const at = Deno.args.includes("--") ? Deno.args.indexOf("--") : Deno.args.length;
    await storm(Deno.args.slice(0, at), Deno.args.slice(at + 1));
  }
}
