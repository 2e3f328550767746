import { allowLongTurns, LOADS_METRICS } from "../event_loop_guard.ts";
import assert from "node:assert/strict";
import type { Run, RunObserver } from "../../engine/types.ts";
import { Histogram, Timings } from "../../functions/server/histogram.ts";
import { RequestRecord } from "../../functions/server/request_record.ts";
import { FakeEngine } from "./fake_engine.ts";
import { FakeTime } from "./fake_time.ts";
import { fakeHarness, Harness } from "./harness.ts";

const CHAT = "/v1/chat/completions";
const chat = { messages: [{ role: "user", content: "Hello" }], max_tokens: 4 };

/** Lines of `/metrics` without comments, by everything before the value. */
async function scrape(harness: Harness): Promise<Map<string, number>> {
  allowLongTurns(LOADS_METRICS);
  const text = await (await harness.get("/metrics")).text();
  return new Map(
    text.split("\n").filter((line) => line !== "" && !line.startsWith("#")).map((line) => {
      const at = line.lastIndexOf(" ");
      return [line.slice(0, at), Number(line.slice(at + 1))];
    }),
  );
}

/**
 * What the panels of vLLM's examples/online_serving/prometheus_grafana/grafana.json ask for, at its
 * commit 004f771f3a6b49597546b05c7d83686d1e121fa0; each with {model_name="$model_name"}.
 */
const PANELS: Readonly<Record<string, readonly string[]>> = {
  "E2E Request Latency": [
    "vllm:e2e_request_latency_seconds_bucket",
    "vllm:e2e_request_latency_seconds_sum",
    "vllm:e2e_request_latency_seconds_count",
  ],
  "Token Throughput": ["vllm:prompt_tokens_total", "vllm:generation_tokens_total"],
  "Time Per Output Token Latency": [
    "vllm:time_per_output_token_seconds_bucket",
    "vllm:time_per_output_token_seconds_sum",
    "vllm:time_per_output_token_seconds_count",
  ],
  "Scheduler State": ["vllm:num_requests_running", "vllm:num_requests_waiting"],
  "Time To First Token Latency": [
    "vllm:time_to_first_token_seconds_bucket",
    "vllm:time_to_first_token_seconds_sum",
    "vllm:time_to_first_token_seconds_count",
  ],
  "Cache Utilization": ["vllm:gpu_cache_usage_perc"],
  "Request Prompt Length": ["vllm:request_prompt_tokens_bucket"],
  "Request Generation Length": ["vllm:request_generation_tokens_bucket"],
  "Finish Reason": ["vllm:request_success_total"],
  "Queue Time": ["vllm:request_queue_time_seconds_sum"],
  "Requests Prefill and Decode Time": [
    "vllm:request_prefill_time_seconds_sum",
    "vllm:request_decode_time_seconds_sum",
  ],
  "Max Generation Token in Sequence Group": ["vllm:request_max_num_generation_tokens_sum"],
};
/** What gateways route by. */
const OTHERS = [
  "vllm:kv_cache_usage_perc",
  "vllm:gpu_prefix_cache_hits_total",
  "vllm:gpu_prefix_cache_queries_total",
  "vllm:gpu_prefix_cache_hit_rate",
  "vllm:cache_config_info",
];

Deno.test("metrics have what vLLM's dashboard and gateways ask for, under its labels", async (t) => {
  await using harness = fakeHarness();
  await harness.json(CHAT, { ...chat, n: 2 });
  const seen = [...(await scrape(harness)).keys()];
  for (const [panel, names] of [...Object.entries(PANELS), ["others", OTHERS] as const]) {
    await t.step(panel, () => {
      for (const name of names) {
        const one = seen.find((key) => key.startsWith(`${name}{`));
        assert.ok(one !== undefined, `${name} is missing`);
        assert.match(one, /model_name="fake"/);
        assert.match(one, /engine="0"/);
      }
    });
  }
});

Deno.test("the hit rate is 0 while there was no prompt", async () => {
  await using harness = fakeHarness();
  const rate = 'vllm:gpu_prefix_cache_hit_rate{model_name="fake",engine="0"}';
  assert.equal((await scrape(harness)).get(rate), 0);
});

Deno.test("memory and KV blocks are told by what they are for", async () => {
  await using harness = fakeHarness();
  const numbers = await scrape(harness);
  const memory = ["weights", "kv_cache", "workspace"].map((use) =>
    numbers.get(`hearth_memory_bytes{use="${use}"}`)
  );
  assert.deepEqual(memory, [1000, 2000, 3000]);
  assert.equal(numbers.get('hearth_kv_blocks{state="free"}'), 100);
});

Deno.test("a scrape reads the engine once", async () => {
  let reads = 0;
  const engine = new FakeEngine();
  const stats = engine.stats.bind(engine);
  engine.stats = () => (reads++, stats());
  await using harness = new Harness(engine);
  await scrape(harness);
  const withReady = reads; // one more: whether it takes requests
  assert.ok(withReady <= 2, `${withReady} reads`);
});

Deno.test("metrics tell lengths, times and requests as they were", async () => {
  await using harness = fakeHarness({ tokenMs: 5, prefillMs: 10 });
  await harness.json(CHAT, { ...chat, n: 2 });
  await harness.json("/v1/completions", { prompt: "Hi", max_tokens: 3 });
  await harness.post(CHAT, { ...chat, temperature: 9 });
  await harness.get("/nowhere/at/all");
  await harness.app.request("/health", { method: "BREW" });
  const numbers = await scrape(harness);
  const value = (key: string) => numbers.get(key);
  const vllm = (name: string) => value(`vllm:${name}{model_name="fake",engine="0"}`);
  assert.equal(value("hearth_request_generation_tokens_sum"), 2 * 4 + 3);
  assert.equal(vllm("request_max_num_generation_tokens_sum"), 4 + 3);
  assert.equal(vllm("request_prompt_tokens_count"), 2);
  assert.ok(vllm("request_prefill_time_seconds_sum")! > 0.01);
  assert.ok(vllm("request_decode_time_seconds_sum")! > 0.02);
  const requests = (route: string, method: string, status: number) =>
    value(
      `hearth_http_requests_total{route="${route}",method="${method}",status="${status}"}`,
    );
  assert.equal(requests(CHAT, "POST", 200), 1);
  assert.equal(requests(CHAT, "POST", 400), 1);
  assert.equal(requests("none", "GET", 404), 1);
  assert.equal(requests("/health", "other", 405) ?? requests("none", "other", 405), 1);
  assert.ok(value("process_resident_memory_bytes")! > 1e6);
  assert.ok(value("process_cpu_seconds_total")! > 0);
  for (const [key, number] of numbers) assert.ok(!Number.isNaN(number), key);
});

/** Counts of an engine, no two equal. */
const COUNTS = {
  bytesLoaded: 2,
  bytesTotal: 3,
  numRequestsRunning: 5,
  numRequestsWaiting: 7,
  numSequencesRunning: 11,
  numQueuedTokens: 13,
  kvBlocks: { total: 160, free: 17, cached: 19, held: 40 },
  numPromptTokens: 64,
  numPromptTokensCached: 16,
  numGenerationTokens: 23,
  numRequestsSubmitted: 29,
  numFinished: { stop: 31, length: 37, cancelled: 41, deadline: 43, error: 47 },
  numPreemptions: 53,
  numSteps: 59,
  numStepTokens: 61,
  stepSeconds: 67,
  stepBytes: 71,
  stepFlops: 73,
  weightsBytes: 79,
  kvBytes: 83,
  workspaceBytes: 89,
  expectedWaitMs: 1500,
  numAllocations: 97,
  numLaunches: 101,
  deviceSeconds: 103,
};

/** What is told of {@linkcode COUNTS}: `l` stands for vLLM's labels. */
const TOLD = `
counter hearth_device_allocations_total 97
counter hearth_device_busy_seconds_total 103
counter hearth_generation_tokens_total 23
counter hearth_kernel_launches_total 101
counter hearth_num_preemptions_total 53
counter hearth_prompt_tokens_cached_total 16
counter hearth_prompt_tokens_total 64
counter hearth_requests_finished_total{reason="cancelled"} 41
counter hearth_requests_finished_total{reason="deadline"} 43
counter hearth_requests_finished_total{reason="error"} 47
counter hearth_requests_finished_total{reason="length"} 37
counter hearth_requests_finished_total{reason="stop"} 31
counter hearth_step_bytes_total 71
counter hearth_step_flops_total 73
counter hearth_step_seconds_total 67
counter hearth_steps_total 59
counter vllm:generation_tokens_total{l} 23
counter vllm:gpu_prefix_cache_hits_total{l} 16
counter vllm:gpu_prefix_cache_queries_total{l} 64
counter vllm:num_preemptions_total{l} 53
counter vllm:prompt_tokens_total{l} 64
counter vllm:request_success_total{l,finished_reason="abort"} 84
counter vllm:request_success_total{l,finished_reason="length"} 37
counter vllm:request_success_total{l,finished_reason="stop"} 31
gauge hearth_build_info{version="0",fingerprint="fp_0123456789abcdef"} 1
gauge hearth_expected_wait_seconds 1.5
gauge hearth_kv_blocks{state="cached"} 19
gauge hearth_kv_blocks{state="free"} 17
gauge hearth_kv_blocks{state="held"} 40
gauge hearth_memory_bytes{use="kv_cache"} 83
gauge hearth_memory_bytes{use="weights"} 79
gauge hearth_memory_bytes{use="workspace"} 89
gauge hearth_num_requests_running 5
gauge hearth_num_requests_waiting 7
gauge hearth_ready 1
gauge vllm:cache_config_info{l,block_size="16",num_gpu_blocks="160"} 1
gauge vllm:gpu_cache_usage_perc{l} 0.25
gauge vllm:gpu_prefix_cache_hit_rate{l} 0.25
gauge vllm:kv_cache_usage_perc{l} 0.25
gauge vllm:num_requests_running{l} 5
gauge vllm:num_requests_waiting{l} 7`;

/** Of the process or of what was asked. */
const OTHERS_OF_PROCESS = /^\w+ (hearth_http_requests|hearth_log_lines|process_)/;

/** Each line of a scrape with the kind of its metric in front. */
async function linesOf(harness: Harness): Promise<string[]> {
  allowLongTurns(LOADS_METRICS);
  const text = await (await harness.get("/metrics")).text();
  const helps = [...text.matchAll(/^# HELP (\S+) (.*)$/gm)];
  assert.ok(helps.every(([, , help]) => /^[A-Z0-9]/.test(help!)), "each says what it is");
  const kinds = [...text.matchAll(/^# TYPE (\S+) (\w+)$/gm)];
  assert.deepEqual(kinds.map(([, name]) => name), helps.map(([, name]) => name));
  return text.split("\n").filter((line) => line !== "" && !line.startsWith("#")).map((line) => {
    const [name] = /^[\w:]+/.exec(line)!;
    const kind = kinds.find(([, of]) => name.replace(/_(bucket|sum|count)$/, "") === of) ??
      kinds.find(([, of]) => name === of);
    return `${kind?.[2]} ${line}`.replace('model_name="fake",engine="0"', "l")
      .replace(/version="[^"]*"/, 'version="0"');
  });
}

Deno.test("metrics tell each count of the engine under its names, in its unit", async () => {
  const engine = new FakeEngine();
  const stats = engine.stats.bind(engine);
  engine.stats = () => ({ ...stats(), ...COUNTS });
  const harness = new Harness(engine);
  const lines = (await linesOf(harness)).filter((line) => !OTHERS_OF_PROCESS.test(line));
  assert.deepEqual(lines.filter((line) => !line.startsWith("histogram")).sort(), [
    ...TOLD.trim().split("\n"),
  ]);
  assert.deepEqual(
    lines,
    await linesOf(harness).then((again) => again.filter((line) => !OTHERS_OF_PROCESS.test(line))),
    "a second scrape counts nothing twice",
  );
  engine.stats = () => ({ ...stats(), kvBlocks: { ...COUNTS.kvBlocks, total: 0 } });
  const none = await linesOf(harness);
  assert.ok(none.includes("gauge vllm:kv_cache_usage_perc{l} 0"));
});

Deno.test("without an engine metrics are there, and vLLM's are not", async () => {
  const harness = fakeHarness();
  harness.instance.model.engine = undefined;
  const lines = await linesOf(harness);
  assert.ok(lines.includes("gauge hearth_ready 0"));
  assert.ok(lines.includes("counter hearth_steps_total 0"));
  assert.ok(!lines.some((line) => line.includes("vllm:")));
  assert.ok(!lines.some((line) => /hearth_(memory_bytes|build_info)/.test(line)));
  const counted = lines.filter((line) => OTHERS_OF_PROCESS.test(line))
    .map((line) => line.replace(/ [^ ]*$/, ""));
  assert.deepEqual(counted.sort(), [
    'counter hearth_log_lines_dropped_total{stream="stderr"}',
    'counter hearth_log_lines_dropped_total{stream="stdout"}',
    "counter process_cpu_seconds_total",
    "gauge process_resident_memory_bytes",
    "gauge process_start_time_seconds",
  ]);
  const numbers = await scrape(harness);
  const started = numbers.get("process_start_time_seconds")!;
  assert.ok(started <= Date.now() / 1000 && started > Date.now() / 1000 - 86_400);
  const cpu = numbers.get("process_cpu_seconds_total")!;
  assert.ok(cpu > 0.01 && cpu < 86_400, `${cpu} s`);
});

/** By name: what of it a histogram tells, ours and vLLM's. */
const HISTOGRAMS: Readonly<Record<keyof Timings, readonly string[]>> = {
  firstToken: ["hearth_time_to_first_token_seconds", "vllm:time_to_first_token_seconds"],
  queueTime: ["hearth_request_queue_time_seconds", "vllm:request_queue_time_seconds"],
  prefillTime: ["hearth_request_prefill_time_seconds", "vllm:request_prefill_time_seconds"],
  tokenGaps: ["hearth_inter_token_latency_seconds", "vllm:time_per_output_token_seconds"],
  decodeTime: ["hearth_request_decode_time_seconds", "vllm:request_decode_time_seconds"],
  endToEnd: ["hearth_e2e_request_latency_seconds", "vllm:e2e_request_latency_seconds"],
  promptTokens: ["hearth_request_prompt_tokens", "vllm:request_prompt_tokens"],
  outputTokens: ["hearth_request_generation_tokens", "vllm:request_generation_tokens"],
  longestOutput: ["vllm:request_max_num_generation_tokens"],
};

Deno.test("histograms tell their values by their names and bounds", async () => {
  const harness = fakeHarness();
  const { timings } = harness.instance;
  const keys = Object.keys(HISTOGRAMS) as (keyof Timings)[];
  for (const [i, key] of keys.entries()) timings[key].add(2 ** -10 * (i + 1), i + 1);
  const numbers = await scrape(harness);
  for (const [i, key] of keys.entries()) {
    for (const name of HISTOGRAMS[key]) {
      const labels = name.startsWith("vllm:") ? 'model_name="fake",engine="0"' : "";
      const value = (suffix: string, le?: string | number) => {
        const all = [labels, ...le === undefined ? [] : [`le="${le}"`]].filter((one) => one !== "");
        return numbers.get(`${name}_${suffix}${all.length > 0 ? `{${all.join(",")}}` : ""}`);
      };
      assert.equal(value("sum"), 2 ** -10 * (i + 1) ** 2, name);
      assert.equal(value("count"), i + 1, name);
      assert.equal(value("bucket", "+Inf"), i + 1, name);
      for (const bound of timings[key].bounds) {
        assert.equal(value("bucket", bound), 2 ** -10 * (i + 1) <= bound ? i + 1 : 0, name);
      }
    }
  }
});

Deno.test("Histogram counts values by the bounds that they are at most", () => {
  const histogram = new Histogram([1, 2, 5]);
  for (const value of [0, 1, 1.5, 2, 5, 6]) histogram.add(value);
  histogram.add(3, 4);
  assert.deepEqual(histogram.counts, [2, 2, 5]);
  assert.deepEqual([histogram.sum, histogram.count], [27.5, 10]);
  const { firstToken, promptTokens } = new Timings();
  const seconds = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300];
  assert.deepEqual(firstToken.bounds, seconds);
  const tokens = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000];
  assert.deepEqual(promptTokens.bounds, [...tokens, 100_000, 200_000, 500_000, 1_000_000]);
});

/** A run that has come to an end. */
const runOf = (prompt: number, cached: number, output: number) =>
  ({
    promptTokens: Array(prompt).fill(1),
    numCachedTokens: cached,
    numOutputTokens: output,
  }) as unknown as Run;

Deno.test("RequestRecord takes times at events, and tells them in seconds", () => {
  using clock = new FakeTime();
  const timings = new Timings();
  const record = new RequestRecord(timings);
  let observer: RunObserver = {};
  clock.now += 2;
  record.run((one) => (observer = one, runOf(7, 3, 5)));
  observer.queued?.();
  clock.now += 30;
  observer.started?.(20);
  clock.now += 40;
  observer.tokens?.(0, 3);
  assert.equal(record.firstTokenMs, 72);
  clock.now += 6;
  observer.tokens?.(1, 1);
  clock.now += 10;
  observer.tokens?.(0, 2);
  clock.now += 100;
  const told = (name: keyof Timings) => {
    const { sum, count } = timings[name];
    return [Math.round(sum * 1e6) / 1e6, count];
  };
  assert.deepEqual(told("endToEnd"), [0, 0], "not before the answer has left");
  record.end();
  assert.deepEqual(told("firstToken"), [0.072, 1]);
  assert.deepEqual(told("queueTime"), [0.02, 1]);
  assert.deepEqual(told("prefillTime"), [0.05, 1], "of 70 ms behind the queue 20 were waited");
  assert.deepEqual(told("tokenGaps"), [0.016, 5], "two beside the first, one, and two together");
  assert.deepEqual(told("decodeTime"), [0.016, 1]);
  assert.deepEqual(told("endToEnd"), [0.188, 1]);
  assert.deepEqual(told("promptTokens"), [7, 1]);
  assert.deepEqual(told("outputTokens"), [5, 1]);
  assert.deepEqual(told("longestOutput"), [5, 1]);
  assert.deepEqual([record.promptTokens, record.cachedTokens, record.outputTokens], [7, 3, 5]);
  assert.equal(record.elapsedMs(), 188);
});

Deno.test("RequestRecord of an answer without tokens goes into no histogram", () => {
  const timings = new Timings();
  const record = new RequestRecord(timings);
  record.end();
  assert.ok(Object.values(timings).every(({ count }) => count === 0));
});

Deno.test("RequestRecord adds up runs, and tells the status that holds in the end", () => {
  const record = new RequestRecord(new Timings());
  for (const run of [runOf(1, 2, 3), runOf(10, 20, 30)]) record.run(() => run);
  assert.deepEqual([record.promptTokens, record.cachedTokens, record.outputTokens], [11, 22, 33]);
  assert.equal(record.statusOf(200), 200);
  record.failedStatus = 503;
  assert.equal(record.statusOf(200), 503);
  record.left = true;
  assert.equal(record.statusOf(200), 499);
});
