import assert from "node:assert/strict";
import { render } from "./cases.ts";

/** Methods of Python's values that no template needs, by an expression that has them. */
const METHODS: Readonly<Record<string, readonly [kind: string, methods: string]>> = {
  "{}": ["dict", "fromkeys"],
  "{}.keys()": ["dict_keys", "mapping isdisjoint"],
  "{}.values()": ["dict_values", "mapping"],
  "{}.items()": ["dict_items", "mapping isdisjoint"],
  "1": ["int", "as_integer_ratio from_bytes to_bytes"],
  "true": ["bool", "as_integer_ratio from_bytes to_bytes"],
  "1.5": ["float", "as_integer_ratio fromhex hex"],
  "([1] | map('abs'))": ["generator", "close send throw gi_running gi_yieldfrom gi_suspended"],
};

Deno.test("methods that values have in Python and not here are refused by name", () => {
  for (const [value, [kind, methods]] of Object.entries(METHODS)) {
    for (const method of methods.split(" ")) {
      const { refused } = render({ template: `{{ (${value}).${method} }}`, variables: {} });
      assert.match(refused ?? "", new RegExp(`${kind}\\.${method} is not supported`));
    }
    const { text } = render({ template: `{{ (${value}).nothing }}`, variables: {} });
    assert.equal(text, "", "what Python does not have is not there");
  }
});
