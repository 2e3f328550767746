/**
 * Paths: every test of an op runs on each instruction path that this CPU has, and on CUDA where there
 * is a device.
 *
 * @module
 */
import { EngineError } from "../../engine/types.ts";
import { listDevices } from "../../ffi/library.ts";
import { type OpContext, Ops } from "../../ffi/ops.ts";
import { Isa } from "../../ffi/structs.ts";

/** What forces kernels to one path: part of an op's context. */
export type Path = Partial<Pick<OpContext, "device" | "isa" | "maxComputeCapability">>;

interface NamedPath {
  readonly name: string;
  readonly path: Path;
  /** Why it is ignored here; undefined: it is not. */
  readonly lacking: string | undefined;
}

function named(name: string, path: Path, reason: string): NamedPath {
  return { name, path, lacking: isAvailable(path) ? undefined : reason };
}

function isAvailable(path: Path): boolean {
  using ops = new Ops(path);
  try {
    const one = new Float32Array([1]);
    ops.norm({ kind: "rms", eps: 1, weight: one }, one, new Float32Array(1));
    return true;
  } catch (error) {
    if (error instanceof EngineError && error.code === "unsupported") return false;
    throw error;
  }
}

const { auto: _, ...isas } = Isa;
const cpuPaths = Object.keys(isas).map((isa) =>
  named(isa, { isa: isa as keyof typeof isas }, "this CPU lacks it")
);
const cudaPath = named("cuda", { device: "cuda" }, "this machine has no CUDA device");

const capability = Number(
  listDevices().find(({ kind, index }) => kind === "cuda" && index === 0)?.capability ?? 0,
);
/** Also of a device for which there are better kernels. */
const tensorCorePaths = [{ name: "cuda", kernels: 0 }, {
  name: "cuda, kernels of 8.0",
  kernels: 80,
}]
  .map(({ name, kernels }): NamedPath => ({
    name,
    path: { device: "cuda", maxComputeCapability: kernels },
    lacking: capability >= Math.max(8, kernels / 10 + 0.1)
      ? undefined
      : cudaPath.lacking ?? "this device has no others",
  }));

function testOn({ name, path, lacking }: NamedPath, what: string, test: (path: Path) => void) {
  Deno.test({
    name: `${what} (${lacking === undefined ? name : `${name}: ${lacking}`})`,
    ignore: lacking !== undefined,
    fn: () => test(path),
  });
}

/** Defines a test for each path; those that this machine lacks are ignored and say so. */
export function testOnEachPath(name: string, test: (path: Path) => void): void {
  for (const path of [...cpuPaths, cudaPath]) testOn(path, name, test);
}

/** The same for what CPUs alone can do. */
export function testOnEachCpuPath(name: string, test: (path: Path) => void): void {
  for (const path of cpuPaths) testOn(path, name, test);
}

/** The same for what CUDA devices with tensor cores for 16-bit types alone can do. */
export function testOnTensorCores(name: string, test: (path: Path) => void): void {
  for (const path of tensorCorePaths) testOn(path, name, test);
}

/** How linear ops of a path take their activations, tensor cores' types left out. */
export function activationDTypesOf({ device }: Path): readonly ("fp32" | "int8")[] {
  return device === "cuda" ? ["fp32"] : ["fp32", "int8"];
}
