/**
 * From settings to a warm model: fetch the model if it has to be, read it, load its weights.
 *
 * @module
 */
import type { OnProgress } from "../../model/progress.ts";
import type { ServedModel } from "./served_model.ts";
import type { Settings } from "./settings.ts";

/**
 * Opens the engine of a model, which tells meanwhile how far it is. Resolves when it can
 * generate.
 *
 * @param signal ends the fetching of a model
 * @throws {ModelError | EngineError} what is wrong with the model, the device or the memory
 */
export async function openModel(
  served: ServedModel,
  settings: Settings,
  signal?: AbortSignal,
): Promise<void> {
  // Late, so that the port is open before these modules are read.
  const [{ Engine }, { loadModel }] = await Promise.all([
    import("../../engine/engine.ts"),
    import("../../model/load.ts"),
  ]);
  const progress: OnProgress = ({ what, received, total }) => {
    served.opening = { phase: "fetching", what, done: received, total };
  };
  const fetching = { progress, ...(signal && { signal }) };
  const source = settings.model ??
    await (await import("../../model/default_model.ts")).defaultModelPath(fetching);
  served.opening = { phase: "reading", done: 0, total: 0 };
  const { loadFormat = "auto" } = settings.engine;
  const model = await loadModel(source, { ...fetching, loadFormat });
  const engine = await Engine.open(model, { ...settings.engine, waitUntilReady: false });
  served.engine = engine;
  await engine.ready;
}
