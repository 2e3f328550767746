/**
 * One process is one warm function instance: its models, what it counts, and whether requests are open.
 * Every function reads this; `serve.ts` and `withEngine()` open its model.
 *
 * @module
 */
import { defaultsOf } from "../../ffi/field.ts";
import { Timings } from "./histogram.ts";
import { Bodies, type BodyLimits } from "./bodies.ts";
import type { MetricsRegistry } from "./metrics_registry.ts";
import { Models, ServedModel } from "./served_model.ts";
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
   * Key that callers must send, but to /health, /ready and /docs; may be repeated. Safer as
   * HEARTH_API_KEY. [none is asked for]
   */
  readonly apiKeys: readonly string[];
  /**
   * Where several keys have requests that wait, this one gets N times the tokens of one without;
   * may be repeated. [1 each]
   */
  readonly keyWeights: readonly string[];
  /** Requests may have a priority below 0, before all others of their key. [false] */
  readonly allowNegativePriority: boolean;
  /** Requests that one key may have open at a time; then 429. [no bound] */
  readonly maxRequestsPerKey: number;
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
  /**
   * Largest request body; then 413. [8MiB, or 64KiB and 8 bytes a token of `maxModelLen` where
   * that is more]
   */
  readonly bodyLimitBytes?: number;
  /** Request bodies under way, all together; then 429. [256MiB] */
  readonly bodyLimitSumBytes: number;
  /** Access log on standard output, a line a request. [text] */
  readonly accessLog: "text" | "json" | "off";
  /** Requests of /health and /ready that find all well are in the access log too. [false] */
  readonly logProbes: boolean;
  // #endregion
}

/** What a body may have at least, and beside its tokens. */
const MIN_BODY_LIMIT = 8 << 20, BODY_FRAME = 64 << 10, BYTES_A_TOKEN = 8;

export const DEFAULT_INSTANCE_OPTIONS = defaultsOf(INSTANCE_OPTIONS) as InstanceOptions;

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
  readonly models: Models;
  /** Requests that were answered, by route, method and status. */
  readonly answered = new Map<string, { readonly labels: AnsweredLabels; count: number }>();
  readonly timings = new Timings();
  readonly bodies = new Bodies(() => this.#bodyLimits);
  #metrics: Promise<MetricsRegistry> | undefined;
  #numOpenRequests = 0;
  #idle: (() => void)[] = [];

  constructor(options: Partial<InstanceOptions> = {}) {
    this.options = { ...DEFAULT_INSTANCE_OPTIONS, ...options };
    this.models = new Models([new ServedModel(this.options.servedModelNames)]);
  }

  /** The one model of the process. */
  get model(): ServedModel {
    return this.models.first;
  }

  /** Takes no new work from now on. */
  drain(): void {
    for (const model of this.models) model.closing = true;
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

  get #bodyLimits(): BodyLimits {
    const { bodyLimitBytes, bodyLimitSumBytes: sumBytes } = this.options;
    const maxModelLen = this.model.engine?.maxModelLen ?? 0;
    const needed = Math.max(MIN_BODY_LIMIT, BODY_FRAME + BYTES_A_TOKEN * maxModelLen);
    return { bytes: bodyLimitBytes ?? needed, sumBytes };
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

  /** No request is open. */
  get isIdle(): boolean {
    return this.#numOpenRequests === 0;
  }

  /** Resolves when no request is open. */
  idle(): Promise<void> {
    if (this.isIdle) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }
}
