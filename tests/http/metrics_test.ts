import { allowLongTurns, LOADS_METRICS } from "../event_loop_guard.ts";
import assert from "node:assert/strict";
import { FakeEngine } from "./fake_engine.ts";
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
