import assert from "node:assert/strict";
import fc from "fast-check";
import { ReasoningParser } from "../../engine/reasoning.ts";
import { SequenceLog } from "../../engine/sequence_log.ts";
import { createChatTemplate } from "../../model/chat_template.ts";
import type { Part } from "../../engine/types.ts";

const markers = { start: "<think>", end: "</think>" };

/** What comes out when a text comes in pieces. */
function partsOf(pieces: readonly string[], isOpen: boolean): readonly Part[] {
  const parser = new ReasoningParser({ markers, isOpen });
  const chunk = {
    index: 0,
    text: "",
    tokens: [],
    logprobs: undefined,
    finishReason: null,
    stopReason: null,
  };
  const log = new SequenceLog({ ...chunk, parts: [] });
  for (const piece of pieces) log.add({ ...chunk, parts: parser.push(piece) });
  log.add({ ...chunk, parts: parser.flush() });
  return log.parts;
}

const reasoning = (text: string): Part => ({ kind: "reasoning", text });
const answer = (text: string): Part => ({ kind: "text", text });

Deno.test("ReasoningParser splits an output at its markers, and keeps the rest as it is", () => {
  const cases: [text: string, isOpen: boolean, parts: Part[]][] = [
    ["<think>\nhm\n</think>\n\nYes", false, [reasoning("\nhm\n"), answer("\n\nYes")]],
    ["\n <think>hm</think>Yes", false, [reasoning("hm"), answer("Yes")]],
    ["<think></think>Yes", false, [answer("Yes")]],
    ["hm</think>Yes", true, [reasoning("hm"), answer("Yes")]],
    ["<think>hm</think>Yes", true, [reasoning("hm"), answer("Yes")]],
    ["Yes", false, [answer("Yes")]],
    [" Yes", false, [answer(" Yes")]],
    ["hm", true, [reasoning("hm")]],
    ["<think>hm </thi", false, [reasoning("hm </thi")]],
    ["<thi", false, [answer("<thi")]],
    ["<thi", true, [reasoning("<thi")]],
    ["Say <think>x</think>", false, [answer("Say <think>x</think>")]],
    ["hm</think>a</think>b<think>", true, [reasoning("hm"), answer("a</think>b<think>")]],
    ["", false, []],
  ];
  for (const [text, isOpen, parts] of cases) {
    assert.deepEqual(partsOf([text], isOpen), parts, JSON.stringify([text, isOpen]));
  }
});

Deno.test("ReasoningParser gives the same parts however the text is cut", () => {
  const word = fc.constantFrom(
    "<think>",
    "</think>",
    "<",
    "</",
    "think>",
    ">",
    " ",
    "\n",
    "hm",
    "é",
  );
  const text = fc.array(word, { maxLength: 12 }).map((words) => words.join(""));
  const cuts = fc.array(fc.nat(80), { maxLength: 20 });
  fc.assert(fc.property(text, cuts, fc.boolean(), (text, cuts, isOpen) => {
    const places = [0, ...cuts.map((at) => Math.min(at, text.length)), text.length]
      .sort((a, b) => a - b);
    const pieces = places.slice(1).map((end, i) => text.slice(places[i], end));
    assert.deepEqual(partsOf(pieces, isOpen), partsOf([text], isOpen));
  }));
});

Deno.test("a chat template tells the markers of a model that reasons", () => {
  const of = (template: string) =>
    createChatTemplate(template, { bosToken: undefined, eosToken: undefined }).reasoning;
  assert.deepEqual(of("{{ content.split('</think>') }}"), markers);
  assert.deepEqual(of("{{ '<think>\\n' }}"), markers);
  assert.deepEqual(of("[THINK]"), { start: "[THINK]", end: "[/THINK]" });
  assert.equal(of("{{ messages }}"), undefined);
});
