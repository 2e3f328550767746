import assert from "node:assert/strict";
import { AddedTokenMatcher } from "../../model/added_tokens.ts";
import { withNamedTokens } from "../../model/named_tokens.ts";
import type { AddedTokenJson } from "../../model/tokenizer.ts";

type Part = readonly [id: number, text: string];

/** The parts of a text, each with the id that {@linkcode AddedTokenMatcher.split} gives it. */
function partsOf(
  tokens: readonly Partial<AddedTokenJson>[],
  text: string,
  isAllowed: (start: number, end: number) => boolean = () => true,
): Part[] {
  const matcher = new AddedTokenMatcher(
    tokens.map((token, id) => ({ id: 10 + id, content: "<x>", special: false, ...token })),
  );
  const parts: Part[] = [];
  let done = 0;
  for (const { id, start, end } of matcher.split(text, (_, from, to) => isAllowed(from, to))) {
    assert.equal(start, done, "parts follow each other");
    parts.push([id, text.slice(start, end)]);
    done = end;
  }
  assert.equal(done, text.length, "parts are all of the text");
  return parts;
}

const x = { content: "<x>" };
const cases: readonly (readonly [
  tokens: readonly Partial<AddedTokenJson>[],
  text: string,
  parts: readonly Part[],
])[] = [
  [[], "", []],
  [[], "abc", [[-1, "abc"]]],
  [[x], "", []],
  [[x], "abc", [[-1, "abc"]]],
  [[x], "<x>", [[10, "<x>"]]],
  [[x], "a<x>b", [[-1, "a"], [10, "<x>"], [-1, "b"]]],
  [[x], "<x><x>", [[10, "<x>"], [10, "<x>"]]],
  [[x], "<<x><x", [[-1, "<"], [10, "<x>"], [-1, "<x"]]],
  [[{ content: "aa" }], "aaa", [[10, "aa"], [-1, "a"]]],
  [[{ content: "a" }, { content: "abc" }], "abab abc", [
    [10, "a"],
    [-1, "b"],
    [10, "a"],
    [-1, "b "],
    [11, "abc"],
  ]],
  [[{ content: "ab" }, { content: "b" }], "abb", [[10, "ab"], [11, "b"]]],
  [[{ ...x, lstrip: true }], "a \t<x> b", [[-1, "a"], [10, " \t<x>"], [-1, " b"]]],
  [[{ ...x, lstrip: true }], "  <x>", [[10, "  <x>"]]],
  [[{ ...x, rstrip: true }], "a <x> \u0085b", [[-1, "a "], [10, "<x> \u0085"], [-1, "b"]]],
  [[{ ...x, rstrip: true }], "<x>  ", [[10, "<x>  "]]],
  [[{ ...x, lstrip: true, rstrip: true }], "<x> <x> a", [
    [10, "<x> "],
    [10, "<x> "],
    [-1, "a"],
  ]],
  [[{ ...x, lstrip: true }], "a\ufeff<x>", [[-1, "a\ufeff"], [10, "<x>"]]],
];

Deno.test("AddedTokenMatcher.split() gives tokens by their ids and what is between as -1", () => {
  for (const [tokens, text, parts] of cases) {
    assert.deepEqual(partsOf(tokens, text), parts, JSON.stringify([tokens, text]));
  }
});

Deno.test("AddedTokenMatcher.split() finds a token of single_word where no word touches it", () => {
  const cat = [{ content: "cat", single_word: true }];
  const [letters, others] = ["a1_é文\u0301\u200d𝐀", " -.,!\n€😀\ud83d"];
  for (const [characters, isFound] of [[letters, false], [others, true]] as const) {
    for (const character of characters) {
      for (const text of [`${character}cat`, `cat${character}`, `b${character}cat`]) {
        const found = partsOf(cat, text).some(([id]) => id === 10);
        assert.equal(found, isFound, JSON.stringify(text));
      }
    }
  }
  assert.deepEqual(partsOf(cat, "catcat cat"), [[-1, "catcat "], [10, "cat"]]);
});

Deno.test("AddedTokenMatcher.split() takes the longest token that is allowed where it stands", () => {
  const tokens = [{ content: "a" }, { content: "aa" }, { content: "aaa" }];
  const upTo = (length: number) =>
    partsOf(tokens, "aaa", (start, end) => start > 0 || end <= length);
  assert.deepEqual(upTo(3), [[12, "aaa"]]);
  assert.deepEqual(upTo(2), [[11, "aa"], [10, "a"]]);
  assert.deepEqual(upTo(1), [[10, "a"], [11, "aa"]]);
  assert.deepEqual(partsOf(tokens, "aaa", () => false), [[-1, "aaa"]]);
});

const known = {
  ids: new Map([["a", 0], ["b", 1], ["<s>", 2]]),
  added: [{ id: 2, content: "<s>", special: true }],
};
const asText = { single_word: false, lstrip: false, rstrip: false, normalized: false };

/** What {@linkcode withNamedTokens} makes of two files and an `added_tokens.json`. */
function namedBy(
  tokenizerConfig: Record<string, unknown>,
  specialTokensMap: Record<string, unknown> = {},
  addedTokens: Record<string, unknown> = {},
  numRows = 6,
): AddedTokenJson[] {
  const files = { tokenizerConfig, specialTokensMap, addedTokens };
  return withNamedTokens(known, files, numRows, (problem) => {
    throw new Error(problem);
  });
}

const names = ["bos", "eos", "unk", "sep", "pad", "cls", "mask"].map((name) => `${name}_token`);
for (const name of names) {
  Deno.test(`withNamedTokens() makes a special token of ${name}, in either file`, () => {
    const added = { ...asText, content: "<n>", id: 3, special: true };
    assert.deepEqual(namedBy({ [name]: "<n>" }), [...known.added, added]);
    assert.deepEqual(namedBy({}, { [name]: "<n>" }), [...known.added, added]);
    const more = { content: "<n>", lstrip: true };
    assert.deepEqual(namedBy({ [name]: more }), [...known.added, { ...added, lstrip: true }]);
  });
}

Deno.test("withNamedTokens() takes what lists hold, and numbers new tokens on", () => {
  const token = (content: string, id: number) => ({ ...asText, content, id, special: true });
  for (const list of ["additional_special_tokens", "extra_special_tokens"]) {
    assert.deepEqual(namedBy({ [list]: ["<m>", { content: "<n>" }] }), [
      ...known.added,
      token("<m>", 3),
      token("<n>", 4),
    ]);
  }
  assert.deepEqual(namedBy({ other_token: "<n>", pad_token: null }), known.added);
  assert.deepEqual(namedBy({ pad_token: "" }), known.added);
  assert.deepEqual(namedBy({ pad_token: "<s>" }), known.added, "it is there");
  assert.deepEqual(namedBy({ pad_token: "b" }), [...known.added, token("b", 1)]);
  assert.deepEqual(namedBy({ pad_token: "<p>" }, { pad_token: "<q>" }), [
    ...known.added,
    token("<p>", 3),
  ], "the configuration's goes before the map's");
});

Deno.test("withNamedTokens() takes tokens with ids of the newer file, else of the older", () => {
  const four = { ...asText, content: "<n>", id: 4, special: false };
  const decoder = { added_tokens_decoder: { 4: { content: "<n>", rstrip: true } } };
  assert.deepEqual(namedBy(decoder, {}, { "<o>": 5 }), [
    ...known.added,
    { ...four, rstrip: true },
  ]);
  assert.deepEqual(namedBy({}, {}, { "<n>": 4 }), [...known.added, four]);
  assert.deepEqual(namedBy({ pad_token: "<n>" }, {}, { "<n>": 4 }), [
    ...known.added,
    { ...four, special: true },
  ]);
  const special = { added_tokens_decoder: { 4: { content: "<n>", special: true } } };
  assert.deepEqual(namedBy(special), [...known.added, { ...four, special: true }]);
  assert.deepEqual(namedBy({ added_tokens_decoder: { 2: "<s>" } }), [
    { ...asText, content: "<s>", id: 2, special: false },
  ], "instead of what tokenizer.json says of it");
  assert.deepEqual(namedBy({ pad_token: "<p>" }, {}, { "<n>": 4 }).at(-1)?.id, 5);
});

Deno.test("withNamedTokens() leaves out what the embedding has no row for", () => {
  assert.deepEqual(namedBy({}, {}, { "<n>": 5 }).at(-1)?.id, 5);
  assert.deepEqual(namedBy({}, {}, { "<n>": 6 }), known.added);
  assert.deepEqual(namedBy({ pad_token: "<n>" }, {}, {}, 3), known.added);
  assert.deepEqual(namedBy({ pad_token: "<n>" }, {}, {}, 4).at(-1)?.id, 3);
});

Deno.test("withNamedTokens() says where files contradict each other", () => {
  const decoder = (id: string, content: unknown) => ({
    added_tokens_decoder: { [id]: { content } },
  });
  const wrong: readonly (readonly [run: () => unknown, message: string])[] = [
    [() => namedBy(decoder("3", "")), "added_tokens_decoder has no token and id in "],
    [() => namedBy(decoder("3", 7)), "added_tokens_decoder has no token and id in 3"],
    [() => namedBy(decoder("-1", "<n>")), "added_tokens_decoder has no token and id in <n>"],
    [() => namedBy(decoder("x", "<n>")), "added_tokens_decoder has no token and id in <n>"],
    [() => namedBy({}, {}, { "<n>": 0.5 }), "added_tokens.json has no token and id in <n>"],
    [() => namedBy({}, {}, { "<n>": "3" }), "added_tokens.json has no token and id in <n>"],
    [
      () => namedBy(decoder("3", "b")),
      'added_tokens_decoder gives "b" the id 3, tokenizer.json 1',
    ],
    [
      () => namedBy(decoder("1", "<n>")),
      'added_tokens_decoder gives "<n>" the id 1, which tokenizer.json gives "b"',
    ],
    [
      () => namedBy({}, {}, { [`<${"n".repeat(90)}>`]: 1 }),
      `added_tokens.json gives "<${"n".repeat(78)} the id 1, which tokenizer.json gives "b"`,
    ],
  ];
  for (const [run, message] of wrong) assert.throws(run, { message });
  assert.deepEqual(namedBy(decoder("0", "a"))[1]?.id, 0);
});
