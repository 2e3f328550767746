import assert from "node:assert/strict";
import { symbols } from "../../ffi/symbols.ts";
import { parseHeader, readHeader } from "../../scripts/c_header.ts";
import { denoType, nameEnumeration, structName } from "../../scripts/generate_abi.ts";

Deno.test("parseHeader() reads what headers of csrc/ are made of", () => {
  const header = parseHeader(`
    /** How many. More of it. */
#define HEARTH_MAX 7
typedef int32_t hearth_status; /* struct hearth_no { no; }; */
enum { HEARTH_A_ONE = 1, /* HEARTH_A_NOT = 9 */ HEARTH_A_MINUS = -2 };
/**
 * A pair,
 * twice.
 */
typedef struct hearth_pair {
  uint32_t size; /* uint32_t not_a_field; */
  uint64_t salt[2];
} hearth_pair;
HEARTH_API const char* f(const struct_t* a,
  uint32_t b /* and more */);
HEARTH_API void g(void);`);
  assert.deepEqual(header, {
    constants: [{ name: "HEARTH_MAX", value: 7, doc: "How many. More of it." }],
    enumerations: [[{ name: "HEARTH_A_ONE", value: 1 }, { name: "HEARTH_A_MINUS", value: -2 }]],
    structs: [{
      name: "hearth_pair",
      doc: "A pair, twice.",
      fields: [
        { type: "uint32_t", name: "size", count: undefined },
        { type: "uint64_t", name: "salt", count: 2 },
      ],
    }],
    prototypes: [
      {
        name: "f",
        result: "const char*",
        parameters: [{ type: "const struct_t*", name: "a" }, { type: "uint32_t", name: "b" }],
      },
      { name: "g", result: "void", parameters: [] },
    ],
  });
});

Deno.test("parseHeader() misses no struct and no function of the headers", () => {
  for (const name of ["hearth.h", "hearth_ops.h"]) {
    const text = Deno.readTextFileSync(new URL(`../../csrc/${name}`, import.meta.url));
    const { structs, prototypes, constants, enumerations } = readHeader(name);
    const count = (pattern: RegExp) => [...text.matchAll(pattern)].length;
    assert.equal(structs.length, count(/^typedef struct \w+ \{/gm));
    assert.equal(prototypes.length, count(/^HEARTH_API /gm));
    assert.equal(constants.length, count(/^#define HEARTH_\w+ -?\d/gm));
    assert.equal(enumerations.length, count(/^enum \{/gm));
  }
});

Deno.test("denoType() passes handles as integers and other pointers as buffers", () => {
  assert.equal(denoType("hearth_engine*"), "u64");
  assert.equal(denoType("hearth_engine**"), "buffer");
  assert.equal(denoType("const float*"), "buffer");
  assert.equal(denoType("hearth_status"), "i32");
  assert.equal(denoType("void"), "void");
  assert.throws(() => denoType("size_t"), /size_t/);
});

Deno.test("names in TypeScript are those in C without the prefix", () => {
  assert.equal(structName("hearth_engine_options"), "EngineOptions");
  assert.equal(nameEnumeration([{ name: "HEARTH_OK", value: 0 }]).name, "Status");
  assert.deepEqual(nameEnumeration([{ name: "HEARTH_STATE_READY", value: 2 }]), {
    name: "State",
    prefix: "HEARTH_STATE_",
  });
  assert.throws(() => nameEnumeration([{ name: "HEARTH_NEW_THING", value: 0 }]), /HEARTH_NEW/);
});

Deno.test("symbols.ts lets only hearth_poll leave the thread", () => {
  const nonblocking = Object.entries<Deno.ForeignFunction>(symbols)
    .filter(([, symbol]) => symbol.nonblocking)
    .map(([key]) => key);
  assert.deepEqual(nonblocking, ["hearth_poll"]);
});
