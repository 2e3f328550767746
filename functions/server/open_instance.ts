/**
 * From settings to a warm instance: fetch the model if it has to be, read it, load its weights.
 *
 * @module
 */
import { EngineError, type EngineOptions } from "../../engine/types.ts";
import type { OnProgress } from "../../model/progress.ts";
import type { Instance } from "./instance.ts";
import type { Settings } from "./settings.ts";

/**
 * Opens the engine of `instance`, which tells meanwhile how far it is. Resolves when it can
 * generate.
 *
 * @param signal ends the fetching of a model
 * @throws {ModelError | EngineError} what is wrong with the model, the device or the memory
 */
export async function openInstance(
  instance: Instance,
  settings: Settings,
  signal?: AbortSignal,
): Promise<void> {
  // Late, so that the port is open before these modules are read.
  const [{ Engine }, { loadModel }] = await Promise.all([
    import("../../engine/engine.ts"),
    import("../../model/load.ts"),
  ]);
  const progress: OnProgress = ({ what, received, total }) => {
    instance.opening = { phase: "fetching", what, done: received, total };
  };
  const fetching = { progress, ...(signal && { signal }) };
  const source = settings.model ??
    await (await import("../../model/default_model.ts")).defaultModelPath(fetching);
  instance.opening = { phase: "reading", done: 0, total: 0 };
  const model = await loadModel(source, fetching);
  await requireDevice(settings.engine);
  const engine = await Engine.open(model, { ...settings.engine, waitUntilReady: false });
  instance.engine = engine;
  await engine.ready;
}

/** @throws {EngineError} for CUDA where there is none, said of the flag */
async function requireDevice({ device, library }: EngineOptions): Promise<void> {
  if (!device?.startsWith("cuda")) return;
  const { listDevices } = await import("../../ffi/library.ts");
  if (listDevices(library).some(({ kind }) => kind === "cuda")) return;
  throw new EngineError(
    "unsupported",
    `Cannot open engine: --device must be auto or cpu, for there is no CUDA here: ` +
      `current value is ${device}`,
    "device",
  );
}
