import assert from "node:assert/strict";
import type { BitsLine } from "./collect.ts";
import { compareLines } from "./compare.ts";

const line: BitsLine = {
  activation: "fp32",
  logprobs: ["bf800000"],
  model: "m",
  path: "p",
  prompt_logprobs: "",
  request: "r",
  sha256: "00",
  tokens: [[1]],
};

Deno.test("compareLines() says what differs, and which requests have no other side", () => {
  const before = new Map([["same", line], ["tokens", line], ["top", line], ["gone", line]]);
  const after = new Map([
    ["same", { ...line }],
    ["tokens", { ...line, tokens: [[2]], logprobs: ["bf800001"], sha256: "01" }],
    ["top", { ...line, sha256: "01" }],
    ["new", line],
  ]);
  assert.deepEqual(compareLines(before, after), [
    "tokens: other tokens, logprobs",
    "top: other logprobs of the likeliest tokens",
    "gone: only before",
    "new: only after",
  ]);
});
