/**
 * Makes one function a server of its own: `deno serve --host 127.0.0.1 functions/tokenize.ts`.
 *
 * @module
 */
import { hostsOf } from "./allowed_hosts.ts";
import { baseApp } from "./base_app.ts";
import type { HttpFunction } from "./env.ts";
import { FlagError } from "./flags.ts";
import { Instance } from "./instance.ts";
import { openModel } from "./open_model.ts";
import { openApiFunction } from "./openapi_function.ts";
import { readSettings, type Settings } from "./settings.ts";
import { outliveRejections, ownConsole, standardError, standardOutput } from "./standard_output.ts";
import { addressOf, fail, reasonOf } from "./startup_report.ts";

/** Set once an isolate of this process has an engine. All isolates of a process see it, and its children. */
const CLAIM = "HEARTH_ENGINE_CLAIM";
const CLAIMED = "Cannot open engine: another isolate of this process has it; " +
  "run one isolate (without --parallel) and let it batch";

/**
 * Wraps a function with all that it needs: settings from `HEARTH_*` variables and the one engine of
 * the process, opened when the server listens. A second isolate (`deno serve --parallel`) would
 * load the model again, so it refuses to.
 */
export function withEngine(one: HttpFunction): Deno.ServeDefaultExport {
  let opened: Promise<(request: Request) => Response | Promise<Response>> | undefined;

  async function open(listening: string) {
    ownConsole();
    outliveRejections();
    const settings = await settingsOrExit();
    const allowedHosts = hostsOf(listening, settings.instance);
    const instance = new Instance({ ...settings.instance, allowedHosts });
    if (await claimProcess()) {
      openModel(instance.model, settings).catch((error) => fail(reasonOf(error)));
    } else {
      instance.model.failure = CLAIMED;
      standardError.line(CLAIMED);
    }
    return baseApp(instance, [one, openApiFunction([one])]).fetch;
  }

  return {
    onListen({ hostname, port }: Deno.NetAddr) {
      standardOutput.line(`listening on ${addressOf(hostname, port)}`);
      opened ??= open(hostname);
    },
    async fetch(request) {
      return (await (opened ??= open("")))(request); // a host of its own, which never told where
    },
  } as Deno.ServeDefaultExport;
}

async function settingsOrExit(): Promise<Settings> {
  try {
    return readSettings([]);
  } catch (error) {
    if (error instanceof FlagError) await fail(error.message);
    throw error;
  }
}

/** False when another isolate of this process was first. */
async function claimProcess(): Promise<boolean> {
  const ours = `${Deno.pid} `;
  if (Deno.env.get(CLAIM)?.startsWith(ours)) return false;
  const mine = ours + crypto.randomUUID();
  Deno.env.set(CLAIM, mine);
  // Isolates that start together both find it free; the last to write has it.
  await new Promise((resolve) => setTimeout(resolve, 50));
  return Deno.env.get(CLAIM) === mine;
}
