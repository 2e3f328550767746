/**
 * Fails any test of `tests/http`, `tests/engine` and `tests/attack` in which a turn of the event loop
 * lasts too long while this process answers a request. `deno task test:turns` preloads it before each file, so that a new
 * test has it too. Outside requests (start-up, opening an engine, what a test computes to compare with)
 * a turn may last as it likes.
 *
 * @module
 */
import { Server, type ServerResponse } from "node:http";
import { LONGEST_TURN_MS, takeAllowance, TurnWatch } from "./event_loop_guard.ts";

let watch = new TurnWatch();

if (/\/tests\/(http|engine|attack)\//.test(Deno.mainModule)) {
  Deno.test.beforeEach(() => {
    watch = new TurnWatch();
  });
  await watchInstances();
  await watchEngines();
  watchHttpServers();
  Deno.test.afterEach(() => {
    watch.stop();
    const { longestMs } = watch;
    if (takeAllowance() === undefined && longestMs > LONGEST_TURN_MS) {
      throw new Error(
        `A turn of the event loop lasted ${longestMs.toFixed()} ms while a request was open: ` +
          `at most ${LONGEST_TURN_MS} ms are allowed (tests/event_loop_guard.ts)`,
      );
    }
  });
}

async function watchInstances() {
  const { Instance } = await import("../functions/server/instance.ts");
  const { begin } = Instance.prototype;
  Instance.prototype.begin = function () {
    const close = watch.open();
    const end = begin.call(this);
    return () => {
      end();
      close();
    };
  };
}

/** A request is open until it is accepted, and again while somebody reads its output. */
async function watchEngines() {
  const { Engine } = await import("../engine/engine.ts");
  const { generate, tokenize } = Engine.prototype;
  Engine.prototype.generate = function (...args) {
    const close = watch.open();
    try {
      const run = generate.apply(this, args);
      run.accepted.catch(() => {}).finally(close);
      const { result } = run;
      run.result = () => watched(result.call(run));
      const iterate = run[Symbol.asyncIterator].bind(run);
      run[Symbol.asyncIterator] = async function* () {
        const close = watch.open();
        try {
          yield* { [Symbol.asyncIterator]: iterate };
        } finally {
          close();
        }
      };
      return run;
    } catch (error) {
      close();
      throw error;
    }
  };
  Engine.prototype.tokenize = function (...args) {
    return watched(tokenize.apply(this, args));
  };
}

async function watched<T>(promise: Promise<T>): Promise<T> {
  const close = watch.open();
  try {
    return await promise;
  } finally {
    close();
  }
}

function watchHttpServers() {
  const { emit } = Server.prototype;
  const watchedEmit = function (this: Server, event: string, ...args: unknown[]): boolean {
    if (event === "request") (args[1] as ServerResponse).once("close", watch.open());
    return (emit as (event: string, ...args: unknown[]) => boolean).call(this, event, ...args);
  };
  Server.prototype.emit = watchedEmit as typeof emit;
}
