/**
 * Models that are served. A process has one; a request names it, or takes the first.
 *
 * @module
 */
import { EngineError } from "../../engine/types.ts";
import { HttpError } from "../dialects/http_error.ts";
import type { ServedEngine } from "./env.ts";
import { failureReason } from "./errors.ts";

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

/** One model: its names, how far it is, its engine. Whoever opens it writes the fields. */
export class ServedModel {
  opening: OpeningProgress = { phase: "starting", done: 0, total: 0 };
  engine: ServedEngine | undefined;
  /** Why there will be no engine, in words that callers may read. */
  failure: string | undefined;
  /** True once no new work is taken. */
  closing = false;
  readonly #givenNames: readonly string[];

  /** @param givenNames names that requests may give; empty: the model's own */
  constructor(givenNames: readonly string[]) {
    this.#givenNames = givenNames;
  }

  /** Names that requests may give, the first being what answers carry; none while it is not read. */
  get names(): readonly string[] {
    if (this.#givenNames.length > 0) return this.#givenNames;
    return this.engine === undefined ? [] : [this.engine.model.name];
  }

  readiness(): Readiness {
    if (this.failure !== undefined) return { state: "failed", progress: 0, reason: this.failure };
    if (this.closing) return { state: "closing", progress: 1 };
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

  /**
   * The engine, for what needs its tokenizer alone; with `ready`, one that can generate.
   *
   * @throws {EngineError} `not_ready` or `closing`
   * @throws {HttpError} 500 when there will be none, 503 when it has failed
   */
  require(what: "read" | "ready"): ServedEngine {
    if (this.failure !== undefined) throw new HttpError(500, "internal_error", this.failure);
    const { state, progress, reason } = this.readiness();
    if (state === "failed") {
      throw new HttpError(503, "engine_failed", `The engine has failed: ${reason}`);
    }
    if (state === "closing") {
      throw new EngineError("closing", "The server is shutting down and takes no new requests");
    }
    if (this.engine === undefined || (what === "ready" && state !== "ready")) {
      const percent = Math.floor(progress * 100);
      const message = `The model is not ready yet: ${state} is ${percent} % done`;
      throw new EngineError("not_ready", message, { retryAfterMs: 1000 });
    }
    return this.engine;
  }
}

/** Models by their names. */
export class Models {
  readonly #all: readonly ServedModel[];

  constructor(all: readonly [ServedModel, ...ServedModel[]]) {
    this.#all = all;
  }

  /** What a request that names no model gets. */
  get first(): ServedModel {
    return this.#all[0]!;
  }

  [Symbol.iterator](): Iterator<ServedModel> {
    return this.#all[Symbol.iterator]();
  }

  /**
   * Refuses early, before a body is read, where no model could answer it.
   *
   * @throws what the first says
   */
  requireAny(what: "read" | "ready"): void {
    let reason: unknown;
    for (const model of this.#all) {
      try {
        return void model.require(what);
      } catch (error) {
        reason ??= error;
      }
    }
    throw reason;
  }

  /**
   * The model that a request names, and the name that its answer carries.
   *
   * @throws {HttpError} 404 for a name that none has
   * @throws {EngineError} `not_ready` or `closing` while one has no names yet
   */
  resolve(
    asked: string | null | undefined,
  ): { readonly name: string; readonly model: ServedModel } {
    if (asked === null || asked === undefined) {
      const { first } = this;
      if (first.names.length === 0) first.require("read");
      return { name: first.names[0]!, model: first };
    }
    const model = this.#all.find(({ names }) => names.includes(asked));
    if (model !== undefined) return { name: asked, model };
    for (const one of this.#all) one.require("read");
    const names = this.#all.flatMap(({ names }) => names).join(", ");
    const message = `Cannot find model ${JSON.stringify(asked.slice(0, 200))}: served is ${names}`;
    throw new HttpError(404, "model_not_found", message, "model");
  }
}

function share(done: number, total: number): number {
  return total > 0 ? Math.min(done / total, 1) : 0;
}
