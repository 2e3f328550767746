/**
 * The numbers of `/metrics`. Counters and gauges are read from the engine when somebody looks;
 * histograms grow with each request that ends. Loaded late: prom-client takes 50 ms.
 *
 * @module
 */
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { EngineStats } from "../../engine/types.ts";
import type { Instance } from "./instance.ts";
import type { RequestRecord } from "./request_record.ts";

const SECONDS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300];

/** What one instance has to tell. Names are vLLM's stems with `hearth_` before them. */
export class MetricsRegistry {
  readonly #registry = new Registry();
  readonly #firstToken = this.#histogram(
    "hearth_time_to_first_token_seconds",
    "From the request's arrival to its first token",
  );
  readonly #queueTime = this.#histogram(
    "hearth_request_queue_time_seconds",
    "From a request's place in the queue to its first step",
  );
  readonly #interToken = this.#histogram(
    "hearth_inter_token_latency_seconds",
    "From one token of a request to its next",
  );
  readonly #endToEnd = this.#histogram(
    "hearth_e2e_request_latency_seconds",
    "From the request's arrival to the end of its answer",
  );

  constructor(instance: Instance) {
    const stats = () => instance.engine?.stats();
    this.#gauge("hearth_ready", "1 when requests are taken", () => {
      return instance.readiness().state === "ready" ? 1 : 0;
    });
    this.#gauge("hearth_num_requests_running", "Requests in the scheduler's steps", () => {
      return stats()?.numRequestsRunning;
    });
    this.#gauge("hearth_num_requests_waiting", "Requests in the queue", () => {
      return stats()?.numRequestsWaiting;
    });
    this.#gauge("hearth_expected_wait_seconds", "Until a request queued now would start", () => {
      return scaled(stats()?.expectedWaitMs, 1e-3);
    });
    this.#gaugePer("hearth_kv_blocks", "KV blocks by what is in them", "state", () => {
      const { total: _, ...blocks } = stats()?.kvBlocks ?? { total: 0 };
      return blocks;
    });
    this.#gaugePer("hearth_memory_bytes", "Memory by what it is for", "use", () => {
      const now = stats();
      if (now === undefined) return {};
      return { weights: now.weightsBytes, kv_cache: now.kvBytes, workspace: now.workspaceBytes };
    });
    const counters: [string, string, (stats: EngineStats) => number][] = [
      ["hearth_prompt_tokens_total", "Prompt tokens", (now) => now.numPromptTokens],
      [
        "hearth_prompt_tokens_cached_total",
        "Prompt tokens found in the warm KV cache",
        (now) => now.numPromptTokensCached,
      ],
      ["hearth_generation_tokens_total", "Output tokens", (now) => now.numGenerationTokens],
      ["hearth_num_preemptions_total", "Requests put back for want of KV blocks", (now) => {
        return now.numPreemptions;
      }],
      ["hearth_steps_total", "Scheduler steps", (now) => now.numSteps],
      ["hearth_step_seconds_total", "Time in scheduler steps", (now) => now.stepSeconds],
      ["hearth_step_bytes_total", "Bytes that the steps' ops had to move", (now) => now.stepBytes],
      ["hearth_step_flops_total", "Arithmetic that the steps' ops had to do", (now) => {
        return now.stepFlops;
      }],
      ["hearth_device_allocations_total", "Allocations of device memory since ready", (now) => {
        return now.numAllocations;
      }],
      ["hearth_kernel_launches_total", "Kernels launched on a CUDA device", (now) => {
        return now.numLaunches;
      }],
      [
        "hearth_device_busy_seconds_total",
        "Time that a CUDA device was busy with steps",
        (now) => now.deviceSeconds,
      ],
    ];
    for (const [name, help, read] of counters) {
      this.#counter(name, help, [], (counter) => {
        const now = stats();
        if (now !== undefined) counter.inc(read(now));
      });
    }
    this.#counter(
      "hearth_requests_finished_total",
      "Sequences by how they ended",
      ["reason"],
      (counter) => {
        const finished = Object.entries(stats()?.numFinished ?? {});
        for (const [reason, count] of finished) counter.inc({ reason }, count);
      },
    );
  }

  /** Takes in a generating request that has ended. */
  observe(record: RequestRecord): void {
    if (record.firstTokenMs === undefined) return;
    this.#firstToken.observe(record.firstTokenMs / 1000);
    this.#endToEnd.observe(record.elapsedMs() / 1000);
    for (const ms of record.queueMs) this.#queueTime.observe(ms / 1000);
    for (const { seconds, numTokens } of record.tokenGaps) {
      for (let i = 0; i < numTokens; i++) this.#interToken.observe(seconds);
    }
  }

  /** Prometheus' text format; its content type. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  #histogram(name: string, help: string): Histogram {
    return new Histogram({ name, help, buckets: SECONDS, registers: [this.#registry] });
  }

  #gauge(name: string, help: string, read: () => number | undefined): void {
    const registers = [this.#registry];
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read() ?? 0);
      },
    });
  }

  #gaugePer(
    name: string,
    help: string,
    label: string,
    read: () => Readonly<Record<string, number>>,
  ): void {
    new Gauge({
      name,
      help,
      labelNames: [label],
      registers: [this.#registry],
      collect() {
        for (const [value, count] of Object.entries(read())) this.set({ [label]: value }, count);
      },
    });
  }

  /** `read` adds what the engine has counted so far to a counter at 0. */
  #counter(
    name: string,
    help: string,
    labelNames: string[],
    read: (counter: Counter) => void,
  ): void {
    new Counter({
      name,
      help,
      labelNames,
      registers: [this.#registry],
      collect() {
        this.reset();
        read(this);
      },
    });
  }
}

function scaled(value: number | undefined, factor: number): number | undefined {
  return value === undefined ? undefined : value * factor;
}
