/**
 * The numbers of `/metrics`. What the engine counts is read once a scrape, so that the numbers of one
 * scrape agree; histograms grow with each request that ends. Loaded late: prom-client takes 50 ms.
 *
 * Most have two names: ours, and vLLM's with its labels, so that dashboards made for it show us.
 *
 * @module
 */
import process from "node:process";
import { Counter, Gauge, type Metric, Registry } from "prom-client";
import type { EngineStats } from "../../engine/types.ts";
import type { Histogram, Timings } from "./histogram.ts";
import type { Instance } from "./instance.ts";
import { standardError, standardOutput } from "./standard_output.ts";
import { VERSION } from "./version_number.ts";

/** vLLM's; `engine` numbers the engines of one server. */
const VLLM_LABELS = ["model_name", "engine"] as const;

type Labels = Readonly<Record<string, string | number>>;

/** A number that the engine has: its name here, its name there, what it is. */
interface EngineNumber {
  readonly kind: "counter" | "gauge";
  readonly ours?: string;
  readonly vllm?: string;
  readonly help: string;
  readonly read: (stats: EngineStats) => number;
}

const ENGINE_NUMBERS: readonly EngineNumber[] = [
  {
    kind: "gauge",
    ours: "num_requests_running",
    vllm: "num_requests_running",
    help: "Requests in the scheduler's steps",
    read: (now) => now.numRequestsRunning,
  },
  {
    kind: "gauge",
    ours: "num_requests_waiting",
    vllm: "num_requests_waiting",
    help: "Requests in the queue",
    read: (now) => now.numRequestsWaiting,
  },
  {
    kind: "gauge",
    ours: "expected_wait_seconds",
    help: "Until a request queued now would start",
    read: (now) => now.expectedWaitMs / 1000,
  },
  {
    kind: "gauge",
    vllm: "kv_cache_usage_perc",
    help: "Share of KV blocks that running sequences hold",
    read: heldShare,
  },
  {
    kind: "gauge",
    vllm: "gpu_cache_usage_perc",
    help: "Share of KV blocks that running sequences hold",
    read: heldShare,
  },
  {
    kind: "counter",
    ours: "prompt_tokens_total",
    vllm: "prompt_tokens_total",
    help: "Prompt tokens",
    read: (now) => now.numPromptTokens,
  },
  {
    kind: "counter",
    ours: "prompt_tokens_cached_total",
    vllm: "gpu_prefix_cache_hits_total",
    help: "Prompt tokens found in the warm KV cache",
    read: (now) => now.numPromptTokensCached,
  },
  {
    kind: "counter",
    vllm: "gpu_prefix_cache_queries_total",
    help: "Prompt tokens looked for in the warm KV cache",
    read: (now) => now.numPromptTokens,
  },
  {
    kind: "gauge",
    vllm: "gpu_prefix_cache_hit_rate",
    help: "Share of prompt tokens found in the warm KV cache",
    read: (now) => now.numPromptTokens > 0 ? now.numPromptTokensCached / now.numPromptTokens : 0,
  },
  {
    kind: "counter",
    ours: "generation_tokens_total",
    vllm: "generation_tokens_total",
    help: "Output tokens",
    read: (now) => now.numGenerationTokens,
  },
  {
    kind: "counter",
    ours: "num_preemptions_total",
    vllm: "num_preemptions_total",
    help: "Requests put back for want of KV blocks",
    read: (now) => now.numPreemptions,
  },
  { kind: "counter", ours: "steps_total", help: "Scheduler steps", read: (now) => now.numSteps },
  {
    kind: "counter",
    ours: "step_seconds_total",
    help: "Time in scheduler steps",
    read: (now) => now.stepSeconds,
  },
  {
    kind: "counter",
    ours: "step_bytes_total",
    help: "Bytes that the steps' ops had to move",
    read: (now) => now.stepBytes,
  },
  {
    kind: "counter",
    ours: "step_flops_total",
    help: "Arithmetic that the steps' ops had to do",
    read: (now) => now.stepFlops,
  },
  {
    kind: "counter",
    ours: "device_allocations_total",
    help: "Allocations of device memory since ready",
    read: (now) => now.numAllocations,
  },
  {
    kind: "counter",
    ours: "kernel_launches_total",
    help: "Kernels launched on a CUDA device",
    read: (now) => now.numLaunches,
  },
  {
    kind: "counter",
    ours: "device_busy_seconds_total",
    help: "Time that a CUDA device was busy with steps",
    read: (now) => now.deviceSeconds,
  },
];

function heldShare({ kvBlocks }: EngineStats): number {
  return kvBlocks.total > 0 ? kvBlocks.held / kvBlocks.total : 0;
}

/** Histograms that the server fills. */
const TIMINGS: readonly {
  readonly key: keyof Timings;
  readonly ours?: string;
  readonly vllm: string;
  readonly help: string;
}[] = [
  {
    key: "firstToken",
    ours: "time_to_first_token_seconds",
    vllm: "time_to_first_token_seconds",
    help: "From the request's arrival to its first token",
  },
  {
    key: "queueTime",
    ours: "request_queue_time_seconds",
    vllm: "request_queue_time_seconds",
    help: "From a request's place in the queue to its first step",
  },
  {
    key: "prefillTime",
    ours: "request_prefill_time_seconds",
    vllm: "request_prefill_time_seconds",
    help: "From a request's first step to its first token",
  },
  {
    key: "tokenGaps",
    ours: "inter_token_latency_seconds",
    vllm: "time_per_output_token_seconds",
    help: "From one token of a request to its next",
  },
  {
    key: "decodeTime",
    ours: "request_decode_time_seconds",
    vllm: "request_decode_time_seconds",
    help: "From a request's first token to its last",
  },
  {
    key: "endToEnd",
    ours: "e2e_request_latency_seconds",
    vllm: "e2e_request_latency_seconds",
    help: "From the request's arrival to the end of its answer",
  },
  {
    key: "promptTokens",
    ours: "request_prompt_tokens",
    vllm: "request_prompt_tokens",
    help: "Prompt tokens of a request",
  },
  {
    key: "outputTokens",
    ours: "request_generation_tokens",
    vllm: "request_generation_tokens",
    help: "Output tokens of a request",
  },
  {
    key: "longestOutput",
    vllm: "request_max_num_generation_tokens",
    help: "Output tokens of a request's longest sequence",
  },
];

/** What one instance has to tell. */
export class MetricsRegistry {
  readonly #registry = new Registry();
  readonly #instance: Instance;
  /** Each sets a metric; `stats` is undefined before there is an engine. */
  readonly #updates: ((stats: EngineStats | undefined) => void)[] = [];

  constructor(instance: Instance) {
    this.#instance = instance;
    for (const { key, ours, vllm, help } of TIMINGS) {
      const histogram = instance.timings[key];
      if (ours !== undefined) this.#histogram(`hearth_${ours}`, help, histogram, () => ({}));
      this.#histogram(`vllm:${vllm}`, help, histogram, () => this.#vllmLabels);
    }
    this.#gauge("hearth_ready", "1 when requests are taken", [], (set) => {
      set({}, instance.model.readiness().state === "ready" ? 1 : 0);
    });
    for (const { kind, ours, vllm, help, read } of ENGINE_NUMBERS) {
      const make = kind === "counter" ? this.#counter : this.#gauge;
      if (ours !== undefined) {
        make.call(this, `hearth_${ours}`, help, [], (set, now) => set({}, now ? read(now) : 0));
      }
      if (vllm !== undefined) {
        make.call(this, `vllm:${vllm}`, help, VLLM_LABELS, (set, now) => {
          if (now) set(this.#vllmLabels, read(now));
        });
      }
    }
    this.#gauge("hearth_kv_blocks", "KV blocks by what is in them", ["state"], (set, now) => {
      const { total: _, ...blocks } = now?.kvBlocks ?? { total: 0 };
      for (const [state, count] of Object.entries(blocks)) set({ state }, count);
    });
    this.#gauge("hearth_memory_bytes", "Memory by what it is for", ["use"], (set, now) => {
      if (now === undefined) return;
      set({ use: "weights" }, now.weightsBytes);
      set({ use: "kv_cache" }, now.kvBytes);
      set({ use: "workspace" }, now.workspaceBytes);
    });
    const ends = "Sequences by how they ended";
    this.#counter("hearth_requests_finished_total", ends, ["reason"], (set, now) => {
      for (const [reason, count] of Object.entries(now?.numFinished ?? {})) set({ reason }, count);
    });
    const reasonLabels = [...VLLM_LABELS, "finished_reason"];
    this.#counter("vllm:request_success_total", ends, reasonLabels, (set, now) => {
      if (now === undefined) return;
      const { stop, length, cancelled, deadline } = now.numFinished;
      for (const [reason, count] of Object.entries({ stop, length, abort: cancelled + deadline })) {
        set({ ...this.#vllmLabels, finished_reason: reason }, count);
      }
    });
    const configLabels = [...VLLM_LABELS, "block_size", "num_gpu_blocks"];
    this.#gauge("vllm:cache_config_info", "How the KV cache is cut", configLabels, (set, now) => {
      if (now === undefined) return;
      const { blockSize, kvBlocks } = now;
      set({ ...this.#vllmLabels, block_size: blockSize, num_gpu_blocks: kvBlocks.total }, 1);
    });
    const requestLabels = ["route", "method", "status"];
    this.#counter("hearth_http_requests_total", "Requests answered", requestLabels, (set) => {
      for (const { labels, count } of instance.answered.values()) set({ ...labels }, count);
    });
    const dropped = "Lines that could not be written in time";
    this.#counter("hearth_log_lines_dropped_total", dropped, ["stream"], (set) => {
      set({ stream: "stdout" }, standardOutput.numDropped);
      set({ stream: "stderr" }, standardError.numDropped);
    });
    this.#gauge("hearth_build_info", "What runs", ["version", "fingerprint"], (set, now) => {
      if (now) set({ version: VERSION, fingerprint: instance.model.engine?.fingerprint ?? "" }, 1);
    });
    this.#counter("process_cpu_seconds_total", "Time of all threads", [], (set) => {
      const { user, system } = process.cpuUsage();
      set({}, (user + system) / 1e6);
    });
    this.#gauge("process_resident_memory_bytes", "Memory of the process", [], (set) => {
      set({}, process.memoryUsage().rss);
    });
    const started = Date.now() / 1000 - process.uptime();
    this.#gauge("process_start_time_seconds", "Since 1970", [], (set) => set({}, started));
  }

  /** Prometheus' text format; its content type. */
  text(): Promise<string> {
    const stats = this.#instance.model.engine?.stats();
    for (const update of this.#updates) update(stats);
    return this.#registry.metrics();
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  get #vllmLabels(): Labels {
    return { model_name: this.#instance.model.names[0] ?? "unknown", engine: "0" };
  }

  /** prom-client's own takes one value at a time, and under one name. */
  #histogram(
    name: string,
    help: string,
    histogram: Histogram,
    labelsNow: () => Labels,
  ): void {
    const read = () => {
      const { bounds, counts, sum, count } = histogram;
      const labels = labelsNow();
      let below = 0;
      const buckets = bounds.map((bound, i) => ({
        metricName: `${name}_bucket`,
        labels: { ...labels, le: bound },
        value: below += counts[i]!,
      }));
      const values = count === 0 ? [] : [
        ...buckets,
        { metricName: `${name}_bucket`, labels: { ...labels, le: "+Inf" }, value: count },
        { metricName: `${name}_sum`, labels, value: sum },
        { metricName: `${name}_count`, labels, value: count },
      ];
      return Promise.resolve({ name, help, type: "histogram", aggregator: "sum", values });
    };
    const metric = { name, get: read, reset() {} };
    this.#registry.registerMetric(metric as unknown as Metric);
  }

  #gauge(name: string, help: string, labelNames: readonly string[], update: Update): void {
    const gauge = new Gauge({ name, help, labelNames, registers: [this.#registry] });
    this.#updates.push((stats) => {
      gauge.reset();
      update((labels, value) => gauge.set(labels, value), stats);
    });
  }

  /** `update` sets what was counted elsewhere, since the beginning. */
  #counter(name: string, help: string, labelNames: readonly string[], update: Update): void {
    const counter = new Counter({ name, help, labelNames, registers: [this.#registry] });
    this.#updates.push((stats) => {
      counter.reset();
      update((labels, value) => counter.inc(labels, value), stats);
    });
  }
}

type Update = (
  set: (labels: Labels, value: number) => void,
  stats: EngineStats | undefined,
) => void;
