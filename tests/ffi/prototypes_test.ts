import assert from "node:assert/strict";
import { symbols } from "../../ffi/symbols.ts";
import { type Prototype, prototypesOf, readHeader } from "./header.ts";

/** Types in C and what Deno must be told; pointers follow in {@linkcode denoType}. */
const scalars: Readonly<Record<string, string>> = {
  void: "void",
  uint32_t: "u32",
  int32_t: "i32",
  uint64_t: "u64",
  float: "f32",
  hearth_status: "i32",
};

/** Handles are passed as integers, every other pointer is a buffer of ours. */
function denoType(type: string): string {
  if (type === "hearth_engine*") return "u64";
  if (type.endsWith("*")) return "buffer";
  return scalars[type] ?? `unknown type ${type}`;
}

function expectedSymbol({ result, parameters }: Prototype) {
  return { parameters: parameters.map(denoType), result: denoType(result) };
}

Deno.test("symbols.ts declares every function of hearth.h as C does", () => {
  const prototypes = new Map(prototypesOf(readHeader("hearth.h")).map((it) => [it.name, it]));
  const declared = Object.entries<Deno.ForeignFunction>(symbols);
  const names = new Set(declared.map(([key, symbol]) => symbol.name ?? key));
  assert.deepEqual([...names].sort(), [...prototypes.keys()].sort());
  for (const [key, symbol] of declared) {
    const { parameters, result } = symbol;
    const prototype = prototypes.get(symbol.name ?? key)!;
    assert.deepEqual({ parameters, result }, expectedSymbol(prototype), key);
  }
});

Deno.test("symbols.ts lets only hearth_poll leave the thread", () => {
  const nonblocking = Object.entries<Deno.ForeignFunction>(symbols)
    .filter(([, symbol]) => symbol.nonblocking)
    .map(([key]) => key);
  assert.deepEqual(nonblocking, ["hearth_poll"]);
});

Deno.test("prototypesOf() reads names, results and parameters", () => {
  const header =
    "HEARTH_API const char* f(const struct_t* a,\n  uint32_t b);\nHEARTH_API void g(void);";
  assert.deepEqual(prototypesOf(header), [
    { name: "f", result: "const char*", parameters: ["const struct_t*", "uint32_t"] },
    { name: "g", result: "void", parameters: [] },
  ]);
});
