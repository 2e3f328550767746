import assert from "node:assert/strict";
import fc from "fast-check";
import { StopMatcher, StopTexts } from "../../engine/stop.ts";

/** What came out of pieces pushed one after the other. */
function stream(pieces: readonly string[], stops: readonly string[], includeStop = false) {
  const matcher = new StopMatcher(new StopTexts(stops, { includeStop }));
  let text = "";
  for (const [index, piece] of pieces.entries()) {
    const result = matcher.push(piece);
    text += result.text;
    if (result.stop !== undefined) return { text, stop: result.stop, index };
  }
  return { text: text + matcher.flush(), stop: undefined, index: undefined };
}

/** The rule without streams: the first character at which a stop text ends, the longest of those. */
function cutWhole(text: string, stops: readonly string[]) {
  for (let end = 1; end <= text.length; end++) {
    const [stop] = stops
      .filter((stop) => text.slice(0, end).endsWith(stop))
      .sort((a, b) => b.length - a.length);
    if (stop !== undefined) return { text: text.slice(0, end - stop.length), stop, end };
  }
  return { text, stop: undefined, end: undefined };
}

const letters = fc.constantFrom("a", "b", "c");
const word = (minLength: number, maxLength: number) =>
  fc.array(letters, { minLength, maxLength }).map((list) => list.join(""));
const pieces = fc.array(word(0, 4), { maxLength: 12 });
const stops = fc.array(word(1, 5), { minLength: 1, maxLength: 4 });

Deno.test("StopMatcher gives the same for every split of a text", () => {
  fc.assert(fc.property(pieces, stops, (pieces, stops) => {
    const whole = cutWhole(pieces.join(""), stops);
    const streamed = stream(pieces, stops);
    assert.equal(streamed.text, whole.text);
    assert.equal(streamed.stop, whole.stop);
  }));
});

Deno.test("StopMatcher stops at the piece that completes the stop text", () => {
  fc.assert(fc.property(pieces, stops, (pieces, stops) => {
    const { end } = cutWhole(pieces.join(""), stops);
    if (end === undefined) return;
    let length = 0;
    const index = pieces.findIndex((piece) => (length += piece.length) >= end);
    assert.equal(stream(pieces, stops).index, index);
  }));
});

Deno.test("StopMatcher holds back only what may become a stop text", () => {
  fc.assert(fc.property(pieces, stops, (pieces, stops) => {
    const matcher = new StopMatcher(new StopTexts(stops, { includeStop: false }));
    let pushed = "";
    let out = "";
    for (const piece of pieces) {
      const { text, stop } = matcher.push(piece);
      if (stop !== undefined) return;
      pushed += piece;
      out += text;
      const held = pushed.slice(out.length);
      assert.ok(held === "" || stops.some((stop) => stop.startsWith(held)), held);
    }
  }));
});

Deno.test("StopMatcher keeps the stop text when asked to", () => {
  assert.equal(stream(["1, 2, ", "ST", "OP, 3"], ["STOP"], true).text, "1, 2, STOP");
  assert.equal(stream(["1, 2, ", "ST", "OP, 3"], ["STOP"]).text, "1, 2, ");
});

Deno.test("StopMatcher gives back what became no stop text", () => {
  assert.deepEqual(stream(["a ST", "OMP ST"], ["STOP"]), {
    text: "a STOMP ST",
    stop: undefined,
    index: undefined,
  });
});

Deno.test("StopMatcher prefers the stop text that is complete first", () => {
  assert.deepEqual(stream(["abc"], ["abc", "b"]), { text: "a", stop: "b", index: 0 });
  assert.deepEqual(stream(["abc"], ["bc", "abc"]), { text: "", stop: "abc", index: 0 });
});

Deno.test("StopMatcher takes a step a character, whatever the stop texts and what is held", () => {
  // The longest that are allowed, as many, and each held for as long as may be: then it was no stop.
  const a = (n: number) => "a".repeat(n);
  const stops = Array.from(
    { length: 16 },
    (_, i) => `${a(1000 - i)}b${a(i)}${"cdefghijklmnopqr"[i]}`,
  );
  const pieces = Array.from({ length: 2000 }, (_, i) => a(100) + (i % 10 === 9 ? "b" : ""));
  const started = performance.now();
  const { text, stop } = stream(pieces, stops);
  const ms = performance.now() - started;
  assert.deepEqual([text.length, stop], [200_200, undefined]);
  assert.ok(ms < 1000, `${ms} ms for 200,200 characters`);
  const fresh = stream([...pieces, `${a(1000)}b`, "c"], stops);
  assert.equal(fresh.stop, stops[0]);
});

Deno.test("StopMatcher passes everything on without stop texts", () => {
  assert.equal(stream(["a", "", "b"], []).text, "ab");
});

Deno.test("StopMatcher finds what begins where stop texts do not count, and ends where they do", () => {
  const early = fc.integer({ min: 0, max: 12 });
  fc.assert(fc.property(pieces, stops, early, (pieces, stops, early) => {
    const matcher = new StopMatcher(new StopTexts(stops, { includeStop: true }));
    const whole = pieces.join("");
    const from = pieces.slice(0, early).join("").length;
    const ends = stops.flatMap((stop) =>
      Array.from({ length: whole.length }, (_, i) => i + 1)
        .filter((end) => end > from && whole.slice(0, end).endsWith(stop))
    );
    let text = "", stopped = false;
    for (const [i, piece] of pieces.entries()) {
      const result = matcher.push(piece, i >= early);
      text += result.text;
      stopped = result.stop !== undefined;
      if (stopped) break;
    }
    assert.equal(stopped, ends.length > 0);
    assert.equal(stopped ? text : text + matcher.flush(), whole.slice(0, Math.min(...ends)));
  }));
});
