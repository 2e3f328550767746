/**
 * One process is one warm function instance: its engine, how far it is, and whether it still takes
 * work. Every function reads this; `serve.ts` and `withEngine()` write it.
 *
 * @module
 */
import { createMiddleware } from "hono/factory";
import { EngineError } from "../../engine/types.ts";
import { defaultsOf } from "../../ffi/field.ts";
import type { Env, ServedEngine } from "../env.ts";
import { failureReason, HttpError } from "../errors.ts";
import { Timings } from "./histogram.ts";
import type { MetricsRegistry } from "./metrics_registry.ts";
import { INSTANCE_OPTIONS } from "./server_options.ts";

/** How an instance treats its callers. */
export interface InstanceOptions {
  // #region INSTANCE_OPTIONS
  /** Name in requests and answers, the first in these; may be repeated. [the model's own] */
  readonly servedModelNames: readonly string[];
  /**
   * auto: the model's own sampling where a request says nothing; vllm: temperature 1 and no more.
   * [auto]
   */
  readonly generationConfig: "auto" | "vllm";
  /**
   * Key that callers must send, but to /health and /ready; may be repeated. Safer as
   * HEARTH_API_KEY. [none is asked for]
   */
  readonly apiKeys: readonly string[];
  /**
   * Name that Host may have, beside loopback's and `host`; may be repeated. [any; on loopback
   * without a key, loopback's alone]
   */
  readonly allowedHosts: readonly string[];
  /**
   * Callers with different keys share warm KV blocks; answer times then tell who asked what.
   * [false]
   */
  readonly sharePrefixesAcrossKeys: boolean;
  /** Origin that browsers may call from, or *; may be repeated. [none] */
  readonly corsOrigins: readonly string[];
  /** Largest request body. [8MiB] */
  readonly bodyLimitBytes: number;
  /** Access log on standard output, a line a request. [text] */
  readonly accessLog: "text" | "json" | "off";
  /** Requests of /health and /ready that find all well are in the access log too. [false] */
  readonly logProbes: boolean;
  // #endregion
}

export const DEFAULT_INSTANCE_OPTIONS = defaultsOf(INSTANCE_OPTIONS) as InstanceOptions;

/** Before there is an engine: what the process is busy with. */
export interface OpeningProgress {
  readonly phase: "starting" | "fetching" | "reading";
  /** What is fetched, and from where. */
  readonly what?: string;
  /** Bytes; 0 of 0 where they are not known. */
  readonly done: number;
  readonly total: number;
}

/** What `/ready` says. */
export interface Readiness {
  readonly state: "starting" | "fetching" | "reading" | "loading" | "ready" | "closing" | "failed";
  /** Share of the present state's work, 0 to 1. */
  readonly progress: number;
  /** Why it has failed; nothing else has a reason. */
  readonly reason?: string;
}

/** What answers are counted by. */
export interface AnsweredLabels {
  /** The route's pattern; `none` for what there is not. */
  readonly route: string;
  readonly method: string;
  readonly status: number;
}

/** See the module's comment. */
export class Instance {
  readonly options: InstanceOptions;
  /** Seconds since 1970, for `/v1/models`. */
  readonly created = Math.floor(Date.now() / 1000);
  opening: OpeningProgress = { phase: "starting", done: 0, total: 0 };
  engine: ServedEngine | undefined;
  /** Why there will be no engine, in words that callers may read. */
  failure: string | undefined;
  /** True once no new work is taken. */
  draining = false;
  /** Requests that were answered, by route, method and status. */
  readonly answered = new Map<string, { readonly labels: AnsweredLabels; count: number }>();
  readonly timings = new Timings();
  #metrics: Promise<MetricsRegistry> | undefined;
  #numOpenRequests = 0;
  #idle: (() => void)[] = [];

  constructor(options: Partial<InstanceOptions> = {}) {
    this.options = { ...DEFAULT_INSTANCE_OPTIONS, ...options };
  }

  /** Names that `model` may have, the first being what answers carry. */
  get modelNames(): readonly string[] {
    const { servedModelNames } = this.options;
    return servedModelNames.length > 0 ? servedModelNames : [this.engine?.model.name ?? "unknown"];
  }

  readiness(): Readiness {
    if (this.failure !== undefined) return { state: "failed", progress: 0, reason: this.failure };
    if (this.draining) return { state: "closing", progress: 1 };
    if (this.engine === undefined) {
      const { phase, done, total } = this.opening;
      return { state: phase, progress: share(done, total) };
    }
    const stats = this.engine.stats();
    if (stats.state === "ready") return { state: "ready", progress: 1 };
    if (stats.state === "loading") {
      return { state: "loading", progress: share(stats.bytesLoaded, stats.bytesTotal) };
    }
    if (stats.state === "failed") {
      return { state: "failed", progress: 0, reason: failureReason(this.engine.failure) };
    }
    return { state: "closing", progress: 0 };
  }

  /** Notes that a request was answered. */
  count(labels: AnsweredLabels): void {
    const key = Object.values(labels).join(" ");
    const known = this.answered.get(key);
    if (known === undefined) this.answered.set(key, { labels, count: 1 });
    else known.count++;
  }

  /** What `/metrics` shows. */
  metrics(): Promise<MetricsRegistry> {
    return this.#metrics ??= import("./metrics_registry.ts")
      .then(({ MetricsRegistry }) => new MetricsRegistry(this))
      .catch((error) => {
        this.#metrics = undefined;
        throw error;
      });
  }

  /** Counts a request until the returned function is called, so that a drain can wait for it. */
  begin(): () => void {
    this.#numOpenRequests++;
    let open = true;
    return () => {
      if (!open) return;
      open = false;
      if (--this.#numOpenRequests === 0) this.#idle.splice(0).forEach((resolve) => resolve());
    };
  }

  /** Resolves when no request is open. */
  idle(): Promise<void> {
    if (this.#numOpenRequests === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  /**
   * The engine, once its model's files are read.
   *
   * @throws {EngineError} `not_ready` or `closing`
   * @throws {HttpError} 500 when there will be none, 503 when it has failed
   */
  openEngine(): ServedEngine {
    if (this.failure !== undefined) throw new HttpError(500, "internal_error", this.failure);
    const { state, progress, reason } = this.readiness();
    if (state === "failed") {
      throw new HttpError(503, "engine_failed", `The engine has failed: ${reason}`);
    }
    if (state === "closing") {
      throw new EngineError("closing", "The server is shutting down and takes no new requests");
    }
    if (this.engine === undefined) throw notReady(state, progress);
    return this.engine;
  }

  /** The engine, once it can generate. */
  warmEngine(): ServedEngine {
    const engine = this.openEngine();
    const { state, progress } = this.readiness();
    if (state !== "ready") throw notReady(state, progress);
    return engine;
  }
}

/** For functions that need the tokenizer only. */
export const openEngine = createMiddleware<Env>(async (c, next) => {
  c.set("engine", c.var.instance.openEngine());
  await next();
});

/** For functions that run the model. */
export const warmEngine = createMiddleware<Env>(async (c, next) => {
  c.set("engine", c.var.instance.warmEngine());
  await next();
});

function notReady(state: string, progress: number): EngineError {
  const percent = Math.floor(progress * 100);
  const message = `The model is not ready yet: ${state} is ${percent} % done`;
  return new EngineError("not_ready", message, { retryAfterMs: 1000 });
}

function share(done: number, total: number): number {
  return total > 0 ? Math.min(done / total, 1) : 0;
}
