import assert from "node:assert/strict";
import fc from "fast-check";
import { lazily } from "../../functions/dialects/lazy_list.ts";
import { jsonPieces } from "../../functions/server/json_pieces.ts";

/** Some lists of a value lazy. */
function withLazy(value: unknown): unknown {
  if (Array.isArray(value)) {
    const items = value.map(withLazy);
    return value.length % 2 === 0 ? lazily(items, (item) => item) : items;
  }
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, withLazy(one)]));
}

Deno.test("jsonPieces() gives what JSON.stringify does, lists lazy or not", () => {
  const values = fc.jsonValue({ maxDepth: 4, noNullPrototype: true } as never);
  fc.assert(fc.property(values, (value) => {
    const expected = JSON.stringify(value);
    assert.equal([...jsonPieces(withLazy(value))].join(""), expected);
    assert.equal(JSON.stringify(withLazy(value)), expected);
  }));
  const odd = { a: undefined, b: [{ c: undefined }, undefined, null], d: "\u2028\ud800" };
  assert.equal([...jsonPieces(odd)].join(""), JSON.stringify(odd));
});

Deno.test("jsonPieces() makes items when their piece is taken, and no long piece", () => {
  let numMade = 0;
  const list = lazily(Array(100_000).fill("x".repeat(98)), (text) => (numMade++, text));
  let length = 0;
  for (const piece of jsonPieces({ list })) {
    length += piece.length;
    assert.ok(piece.length < 70_000);
    assert.ok(numMade <= length / 100);
  }
  assert.equal(length, '{"list":[]}'.length + 100_000 * 101 - 1);
});
