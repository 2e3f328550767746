/**
 * The server process: one engine, all functions, one port.
 *
 *   flags → port open → model fetched, read, loaded → ready → SIGTERM → drained → exit 0
 *
 * @module
 */
import { openFilesLimit } from "../ffi/c_library.ts";
import { createApp, servedFunctions } from "./app.ts";
import { hostsOf, isLoopback } from "./server/allowed_hosts.ts";
import { errorShapes } from "./server/base_app.ts";
import { maxConnectionsFor } from "./server/connections.ts";
import { FlagError } from "./server/flags.ts";
import { type HttpServer, listen } from "./server/http_server.ts";
import { giveMemoryBack } from "./server/idle_memory.ts";
import { Instance } from "./server/instance.ts";
import { openModel } from "./server/open_model.ts";
import { readSettings, type Settings, settingsHelp } from "./server/settings.ts";
import { exit, outliveRejections, ownConsole, standardOutput } from "./server/standard_output.ts";
import {
  addressOf,
  fail,
  permissions,
  reasonOf,
  showProgress,
  showReady,
} from "./server/startup_report.ts";
import { VERSION } from "./server/version_number.ts";
import { within } from "./server/within.ts";

/** A second SIGTERM this soon is the same one, delivered to the process group as well. */
const SAME_SIGNAL_MS = 1000;

/** What ends may take so long to say so. */
const LAST_WORDS_MS = 1000;

/** Under a limit of fewer open files a line says what it allows. */
const MANY_FILES = 4096;

/** The address cannot be had. */
class ListenError extends Error {}

/** Deno 2.9.6 gives EINVAL where node has EADDRNOTAVAIL. */
const LISTEN_ERRORS: Record<string, string> = {
  EADDRINUSE: "the port is in use; choose another with --port",
  EADDRNOTAVAIL: "the address is none of this machine's; choose another with --host",
  EINVAL: "the address is none of this machine's; choose another with --host",
};

if (import.meta.main) await main(Deno.args);

async function main(args: readonly string[]): Promise<void> {
  ownConsole();
  outliveRejections();
  const settings = await orExit(() => readSettings(args), FlagError);
  if (settings.help) return standardOutput.line(settingsHelp());
  if (settings.version) return standardOutput.line(`hearth ${VERSION}`);

  const started = performance.now();
  const allowedHosts = hostsOf(settings.host, settings.instance);
  const instance = new Instance({ ...settings.instance, allowedHosts });
  const app = createApp(instance);
  const openFiles = openFilesLimit();
  const maxConnections = maxConnectionsFor(openFiles);
  const server = await orExit(() => openPort(settings, maxConnections, app.fetch), ListenError);
  const address = addressOf(settings.host, server.port);
  giveMemoryBack(() => instance.isIdle);
  const leaving = new AbortController();
  const closed = closeOnSignal(instance, server, settings.drainTimeout * 1000, leaving);
  standardOutput.line(`listening on ${address}`);
  if (settings.instance.apiKeys.length === 0 && !isLoopback(settings.host)) {
    standardOutput.line("open to whoever reaches this address: --api-key asks callers for a key");
  }
  if (openFiles !== undefined && openFiles < MANY_FILES) {
    standardOutput.line(
      `open files: ${openFiles}, so ${maxConnections} connections: ulimit -n raises it`,
    );
  }
  standardOutput.line(`permissions: ${permissions()}`);

  const progress = showProgress(instance);
  const opened = openModel(instance.model, settings, leaving.signal).finally(() => progress.stop())
    .then(
      () => instance.model.closing || showReady(instance, address, performance.now() - started),
      (error) => instance.model.closing || fail(reasonOf(error)),
    );
  await closed;
  // A fetch that was ended removes its half a file.
  await within(opened, LAST_WORDS_MS);
  standardOutput.line("closed");
  await exit(0);
}

async function openPort(
  { host, port }: Settings,
  maxConnections: number,
  handler: (request: Request) => Response | Promise<Response>,
): Promise<HttpServer> {
  try {
    const errorShapeOf = errorShapes(servedFunctions);
    return await listen({ host, port, maxConnections, errorShapeOf }, handler);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const reason = LISTEN_ERRORS[code ?? ""] ?? message;
    throw new ListenError(`Cannot listen on ${host}:${port}: ${reason}`);
  }
}

/**
 * SIGTERM, SIGINT and SIGHUP end the server: no new work, what runs may finish within the time allowed,
 * then it is cut short. Resolves when the engine is closed.
 */
function closeOnSignal(
  instance: Instance,
  server: HttpServer,
  drainTimeoutMs: number,
  leaving: AbortController,
): Promise<void> {
  const { promise: closed, resolve } = Promise.withResolvers<void>();
  const { promise: cutShort, resolve: cut } = Promise.withResolvers<void>();
  let firstSignal: number | undefined;

  async function close() {
    standardOutput.line("closing: no new requests; a second signal cuts running ones short");
    instance.drain();
    leaving.abort();
    await within(Promise.race([instance.idle(), cutShort]), drainTimeoutMs);
    const quiet = server.shutdown();
    await instance.model.engine?.close();
    // The last bytes of what was cut short leave before the process does.
    await within(quiet, LAST_WORDS_MS);
    resolve();
  }

  function onSignal() {
    if (firstSignal === undefined) {
      firstSignal = performance.now();
      close();
    } else if (performance.now() - firstSignal > SAME_SIGNAL_MS) cut();
  }
  // SIGHUP: the terminal that it was started from is closed.
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
    Deno.addSignalListener(signal, onSignal);
  }
  return closed;
}

/** The value, or one line and exit code 1 for errors of the expected kind. */
async function orExit<T>(
  make: () => T | Promise<T>,
  expected: new (...args: never[]) => Error,
): Promise<T> {
  try {
    return await make();
  } catch (error) {
    if (error instanceof expected) await fail(error.message);
    throw error;
  }
}
