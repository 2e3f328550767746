/**
 * The bodies of an instance's requests: each is bounded, and all that are under way together, from their first
 * byte until their requests are submitted or refused.
 *
 * @module
 */
import { createMiddleware } from "hono/factory";
import { HttpError } from "../dialects/http_error.ts";
import type { Env } from "./env.ts";

/** A refusal of bodies that are too much together lasts about as long as one of them takes. */
const RETRY_AFTER_MS = 1000;

/** What bodies may have. */
export interface BodyLimits {
  readonly bytes: number;
  readonly sumBytes: number;
}

/** See the module's comment. */
export class Bodies {
  readonly #limits: () => BodyLimits;
  #numBytes = 0;

  /** @param limits as they are now */
  constructor(limits: () => BodyLimits) {
    this.#limits = limits;
  }

  /** Of the bodies under way. */
  get numBytes(): number {
    return this.#numBytes;
  }

  /**
   * Begins a body.
   *
   * @param told its length, where that is told before
   * @throws {HttpError} 413
   */
  open(told: number): IncomingBody {
    this.#refuseTooLarge(told);
    let own = 0;
    let isOpen = true;
    return {
      take: (numBytes) => {
        if (!isOpen) throw new Error("Cannot read body: its request is over");
        this.#refuseTooLarge(own + numBytes);
        this.#refuseTooMuch(numBytes);
        own += numBytes;
        this.#numBytes += numBytes;
      },
      close: () => {
        this.#numBytes -= own;
        own = 0;
        isOpen = false;
      },
    };
  }

  #refuseTooLarge(numBytes: number): void {
    const { bytes } = this.#limits();
    if (numBytes <= bytes) return;
    const message = `Cannot read request: the body must have at most ${bytes} bytes`;
    throw new HttpError(413, "body_too_large", message);
  }

  #refuseTooMuch(numBytes: number): void {
    const { bytes, sumBytes } = this.#limits();
    // One at a time has to pass.
    const most = Math.max(bytes, sumBytes);
    if (this.#numBytes + numBytes <= most) return;
    const message = `Cannot read request: bodies under way have ${most} bytes already`;
    throw new HttpError(429, "bodies_full", message, null, RETRY_AFTER_MS);
  }
}

/** A body on its way. */
export interface IncomingBody {
  /** Counts what came of it. @throws {HttpError} 413 or 429 */
  take(numBytes: number): void;
  /** Nothing is kept of it any more. */
  close(): void;
}

/** Counts the body that a request has, while a function answers it. */
export function boundBody() {
  return createMiddleware<Env>(async function boundBody(c, next) {
    const body = c.var.instance.bodies.open(Number(c.req.header("content-length") ?? 0));
    c.set("body", body);
    try {
      await next();
    } finally {
      body.close();
    }
  });
}
