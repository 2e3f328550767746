/**
 * Makes one function a server of its own: `deno serve --host 127.0.0.1 functions/tokenize.ts`.
 *
 * @module
 */
import { baseApp, type HttpFunction } from "./base_app.ts";
import { Instance } from "./instance.ts";
import { openInstance } from "./open_instance.ts";
import { readSettings } from "./settings.ts";

/** Set once an isolate of this process has an engine. All isolates of a process see it. */
const CLAIM = "HEARTH_ENGINE_CLAIM";

/**
 * Wraps a function with all that it needs: settings from `HEARTH_*` variables and the one engine of
 * the process, opened when the server listens. A second isolate (`deno serve --parallel`) would
 * load the model again, so it refuses to.
 */
export function withEngine(one: HttpFunction): Deno.ServeDefaultExport {
  let opened: Promise<(request: Request) => Response | Promise<Response>> | undefined;

  async function open() {
    const settings = readSettings([]);
    const instance = new Instance(settings.instance);
    try {
      await claimProcess();
      openInstance(instance, settings).catch((error) => {
        instance.failure = error.message;
        console.error(error.message);
      });
    } catch (error) {
      instance.failure = (error as Error).message;
      console.error(instance.failure);
    }
    return baseApp(instance, [one]).fetch;
  }

  return {
    onListen({ hostname, port }: Deno.NetAddr) {
      console.log(`listening on http://${hostname}:${port}`);
      opened ??= open();
    },
    async fetch(request) {
      return (await (opened ??= open()))(request);
    },
  } as Deno.ServeDefaultExport;
}

/** @throws {Error} when another isolate of this process was first */
async function claimProcess(): Promise<void> {
  const refusal = "Cannot open engine: another isolate of this process has it; " +
    "run one isolate (without --parallel) and let it batch";
  if (Deno.env.get(CLAIM) !== undefined) throw new Error(refusal);
  const mine = crypto.randomUUID();
  Deno.env.set(CLAIM, mine);
  // Isolates that start together both find it free; the last to write has it.
  await new Promise((resolve) => setTimeout(resolve, 50));
  if (Deno.env.get(CLAIM) !== mine) throw new Error(refusal);
}
