/**
 * Instruction paths: every test of an op runs on each that this CPU has.
 *
 * @module
 */
import { EngineError } from "../../engine/types.ts";
import { type OpContext, Ops } from "../../ffi/ops.ts";

/** An instruction path that a kernel can be forced to. */
export type Path = Exclude<OpContext["isa"], "auto">;

const paths: readonly Path[] = ["generic", "avx2", "avx512", "amx"];

function isAvailable(isa: Path): boolean {
  using ops = new Ops({ isa });
  try {
    const one = new Float32Array([1]);
    ops.norm({ kind: "rms", eps: 1, weight: one }, one, new Float32Array(1));
    return true;
  } catch (error) {
    if (error instanceof EngineError && error.code === "unsupported") return false;
    throw error;
  }
}

const available = new Map(paths.map((isa) => [isa, isAvailable(isa)]));

/** Defines a test for each instruction path; those that this CPU lacks are ignored and say so. */
export function testOnEachPath(name: string, test: (isa: Path) => void): void {
  for (const isa of paths) {
    const runs = available.get(isa)!;
    Deno.test({
      name: `${name} (${isa}${runs ? "" : ": this CPU lacks it"})`,
      ignore: !runs,
      fn: () => test(isa),
    });
  }
}
