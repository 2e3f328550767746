/**
 * Texts that one thread encodes in turns, a few milliseconds at a time: a long or hard text holds up
 * neither the thread nor shorter ones. The caller who has had the least time goes first, and of one
 * caller's texts the shortest; a text can be dropped between two turns, and nothing else is lost by it.
 *
 * @module
 */
import type { TextOptions, Tokenizer } from "../model/spec.ts";
import type { Steps } from "../model/steps.ts";

/** A text to encode. */
export interface EncodeJob extends Required<TextOptions> {
  readonly text: string;
  /** Whose it is: each has turns of its own. */
  readonly caller: string;
}

/** What becomes of a job. */
export interface EncodeOutcome {
  resolve(tokens: number[]): void;
  reject(reason: unknown): void;
}

interface Turn {
  readonly job: EncodeJob;
  readonly outcome: EncodeOutcome;
  /** Of a job that has begun. */
  steps?: Steps<number[]>;
}

interface Caller {
  /** Milliseconds of this thread, counted so that a caller who comes anew has no more to spend. */
  served: number;
  /** Shortest first, among equals oldest first. */
  readonly turns: Turn[];
}

/**
 * How long a turn lasts, in milliseconds, and the rest of its last step. Between two lies a millisecond:
 * a worker of Deno's hears of no message while it has an immediate to run, only where it waits.
 */
const TURN_MS = 10;

/** See the module's comment. */
export class EncodeQueue {
  readonly #tokenizer: Tokenizer;
  readonly #now: () => number;
  readonly #callers = new Map<string, Caller>();
  #running = false;

  /** @param now milliseconds */
  constructor(tokenizer: Tokenizer, now: () => number = () => performance.now()) {
    this.#tokenizer = tokenizer;
    this.#now = now;
  }

  /** Takes a job; its outcome comes later. */
  add(job: EncodeJob, outcome: EncodeOutcome): void {
    const { turns } = this.#callerOf(job);
    const longer = turns.findIndex((other) => other.job.text.length > job.text.length);
    turns.splice(longer < 0 ? turns.length : longer, 0, { job, outcome });
    if (!this.#running) this.#run();
  }

  /** Forgets a job that has not ended; its outcome never comes. */
  drop(job: EncodeJob): void {
    const caller = this.#callers.get(job.caller);
    const at = caller?.turns.findIndex((turn) => turn.job === job) ?? -1;
    if (at < 0) return;
    caller!.turns.splice(at, 1);
    if (caller!.turns.length === 0) this.#callers.delete(job.caller);
  }

  #callerOf({ caller }: EncodeJob): Caller {
    const known = this.#callers.get(caller);
    if (known !== undefined) return known;
    const added = { served: this.#next()?.served ?? 0, turns: [] };
    this.#callers.set(caller, added);
    return added;
  }

  /** Who has had the least. */
  #next(): Caller | undefined {
    let next: Caller | undefined;
    for (const caller of this.#callers.values()) {
      if (next === undefined || caller.served < next.served) next = caller;
    }
    return next;
  }

  async #run(): Promise<void> {
    this.#running = true;
    await turnOfOthers(); // who adds a job is not held up by it
    for (let caller = this.#next(); caller !== undefined; caller = this.#next()) {
      const start = this.#now();
      this.#takeTurn(caller.turns[0]!, start + TURN_MS);
      caller.served += this.#now() - start;
      await turnOfOthers();
    }
    this.#running = false;
  }

  #takeTurn(turn: Turn, until: number): void {
    const { job, outcome } = turn;
    try {
      turn.steps ??= stepsOf(this.#tokenizer, job);
      let step = turn.steps.next();
      while (!step.done && this.#now() < until) step = turn.steps.next();
      if (!step.done) return;
      this.drop(job);
      outcome.resolve(step.value);
    } catch (error) {
      this.drop(job);
      outcome.reject(error);
    }
  }
}

function turnOfOthers(): Promise<void> {
  return new Promise((resume) => setTimeout(resume));
}

function stepsOf(tokenizer: Tokenizer, { text, ...options }: EncodeJob): Steps<number[]> {
  return tokenizer.encodeSteps?.(text, options) ?? atOnce(() => tokenizer.encode(text, options));
}

// deno-lint-ignore require-yield -- it has one step
function* atOnce<T>(work: () => T): Steps<T> {
  return work();
}
