import assert from "node:assert/strict";
import { buildInfo } from "../../ffi/library.ts";
import { numerics } from "../../ffi/structs.ts";
import { collectBits, pathsHere } from "./collect.ts";
import { changedRequests, digestsOf, readStored, STORE_COMMAND } from "./stored.ts";

const stored = readStored();

Deno.test("The library has the numerics that structs.ts names", () => {
  assert.match(buildInfo(), new RegExp(`, numerics ${numerics},`));
});

Deno.test("Every stored file is of these numerics, and plain C++ has one", () => {
  for (const [name, { numerics: found }] of stored) {
    assert.equal(
      found,
      numerics,
      `The bits of ${name} are stored for HEARTH_NUMERICS ${found}: current value is ${numerics}: ` +
        `store new ones with \`${STORE_COMMAND}\``,
    );
  }
  // Every machine has these paths, so there is none on which nothing is compared.
  for (const name of ["cpu-generic-fp32", "cpu-generic-int8"]) {
    assert.ok(stored.has(name), `${name} has no stored bits: make them with \`${STORE_COMMAND}\``);
  }
});

for (const path of pathsHere()) {
  const expected = stored.get(path.name);
  const lacking = expected === undefined
    ? ` (none are stored: make them with \`${STORE_COMMAND}\`)`
    : "";
  Deno.test({
    name: `The bits of tiny models on ${path.name} are the stored ones${lacking}`,
    ignore: expected === undefined,
    fn: async () => {
      const found = digestsOf(await collectBits("tiny", path));
      const changed = changedRequests(expected!.digests, found);
      assert.ok(
        changed.length === 0,
        `The bits changed: raise HEARTH_NUMERICS if that is meant, and store new ones with ` +
          `\`${STORE_COMMAND}\`. ${changed.length} requests changed, the first of them ` +
          changed.slice(0, 8).join("; "),
      );
    },
  });
}

Deno.test("changedRequests() sees other bits, requests that went and new ones", () => {
  const before = { one: { same: "1", other: "2", gone: "3" }, two: { gone: "4" } };
  const now = { one: { same: "1", other: "5", new: "6" } };
  assert.deepEqual(changedRequests(before, now), [
    "one: other",
    "one: gone",
    "one: new",
    "two: gone",
  ]);
  assert.deepEqual(changedRequests(before, before), []);
});
