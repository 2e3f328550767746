/**
 * Finds, opens and checks libhearth.so.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { EngineError } from "./errors.ts";
import { decodeCString } from "./struct.ts";
import { abiVersion, Device, DeviceKind, Isa } from "./structs.ts";
import { symbols } from "./symbols.ts";

/** An open library. It stays open as long as the process: engines of it may live in any module. */
export type Library = Deno.DynamicLibrary<typeof symbols>;

const opened = new Map<string, Library>();

/**
 * The library at `path`, else at `HEARTH_LIBRARY`, else `build/libhearth.so` beside this package.
 *
 * @throws {EngineError} `io_error` where there is none, `unsupported` where it is of another version.
 */
export function openLibrary(path: string = defaultLibraryPath()): Library {
  const known = opened.get(path);
  if (known !== undefined) return known;
  checkVersion(path);
  const library = dlopen(path, symbols);
  opened.set(path, library);
  return library;
}

/** `HEARTH_LIBRARY`, else `build/libhearth.so` beside this package. */
export function defaultLibraryPath(): string {
  const variable = "HEARTH_LIBRARY";
  const { state } = Deno.permissions.querySync({ name: "env", variable });
  const chosen = state === "granted" ? Deno.env.get(variable) : undefined;
  return chosen ?? fileURLToPath(new URL("../build/libhearth.so", import.meta.url));
}

/** Before the other symbols are bound: one that is missing says less than the version. */
function checkVersion(path: string): void {
  const library = dlopen(path, { hearth_abi_version: symbols.hearth_abi_version });
  const found = library.symbols.hearth_abi_version();
  library.close();
  if (found !== abiVersion) {
    throw new EngineError(
      "unsupported",
      `Cannot use ${path}: its ABI version must be ${abiVersion}: current value is ${found}; ` +
        "build the library from the same sources as this package with `make lib`",
    );
  }
}

function dlopen<S extends Deno.ForeignLibraryInterface>(
  path: string,
  symbols: S,
): Deno.DynamicLibrary<S> {
  try {
    return Deno.dlopen(path, symbols);
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    // Deno says these words twice.
    const reason = (error instanceof Error ? error.message : String(error))
      .replace(/^(Could not open library: )+/, "");
    throw new EngineError(
      "io_error",
      `Cannot open ${path}: ${reason}; build it with \`make lib\`, or name it in HEARTH_LIBRARY`,
    );
  }
}

/**
 * What the library is, in one line: version, numerics, commit, compiler, instruction sets and GPU code
 * compiled in.
 *
 * @param path of the library; by default the one that engines use
 */
export function buildInfo(path?: string): string {
  const { symbols } = openLibrary(path);
  return readText((text, capacity) => symbols.hearth_build_info(text, capacity));
}

/** A device that this process can run on. */
export interface DeviceInfo {
  /** What computes. */
  readonly kind: "cpu" | "cuda";
  /** Among its kind. */
  readonly index: number;
  /** As the machine names it. */
  readonly name: string;
  /** CPU: the best instruction path; CUDA: the compute capability, such as `9.0`. */
  readonly capability: string;
  /** CPU: cores this process may use; CUDA: multiprocessors. */
  readonly numCores: number;
  /** All there is; CPU: within the cgroup's limit. */
  readonly memoryBytes: number;
  /** What is free now; CUDA: all there is where the driver does not tell (no NVML). */
  readonly freeBytes: number;
}

/**
 * The devices that this process can run on.
 *
 * @example What there is
 * ```ts
 * import { listDevices } from "@hearth/hearth";
 *
 * for (const { kind, name, numCores } of listDevices()) console.log(kind, name, numCores);
 * ```
 *
 * @param path of the library; by default the one that engines use
 */
export function listDevices(path?: string): DeviceInfo[] {
  const { symbols } = openLibrary(path);
  const capacity = symbols.hearth_devices(null, Device.byteLength, 0);
  const view = Device.allocate(capacity);
  const found = symbols.hearth_devices(bytesOf(view), Device.byteLength, capacity);
  const count = Math.min(capacity, found);
  return Array.from({ length: count }, (_, i) => {
    const device = Device.decode(view, i * Device.byteLength);
    const cuda = device.kind === DeviceKind.cuda;
    return {
      kind: cuda ? "cuda" : "cpu",
      index: device.index,
      name: device.name,
      capability: cuda ? (device.best_isa / 10).toFixed(1) : nameOf(Isa, device.best_isa),
      numCores: device.num_cores,
      memoryBytes: Number(device.memory_bytes),
      freeBytes: Number(device.free_bytes),
    };
  });
}

/** The bytes behind a view, as a buffer parameter. */
export function bytesOf(view: DataView<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

/** Text by snprintf's rule: asks for the length, then for the text. */
export function readText(write: (text: Uint8Array | null, capacity: number) => number): string {
  const text = new Uint8Array(write(null, 0) + 1);
  write(text, text.length);
  return decodeCString(text);
}

/** The name of an enumerator's value. */
export function nameOf<T extends Readonly<Record<string, number>>>(
  enumerators: T,
  value: number,
): keyof T & string {
  for (const [name, known] of Object.entries(enumerators)) if (known === value) return name;
  throw new EngineError("internal", `Cannot name ${value}: it is none of hearth.h's values`);
}
