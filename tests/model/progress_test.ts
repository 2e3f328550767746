import assert from "node:assert/strict";
import { progressPrinter } from "../../model/progress.ts";

/** What a printer writes for a run of 250 MB in 1000 steps. */
function written(terminal: boolean): string {
  const pieces: Uint8Array[] = [];
  const print = progressPrinter({
    writeSync: (bytes) => pieces.push(bytes.slice()),
    isTerminal: () => terminal,
  });
  for (let i = 0; i <= 1000; i++) print({ what: "w", received: i * 250_000, total: 250_000_000 });
  return pieces.map((piece) => new TextDecoder().decode(piece)).join("");
}

Deno.test("progressPrinter() writes a line every tenth into a log", () => {
  const lines = written(false).trimEnd().split("\n");
  assert.equal(lines.length, 11);
  assert.deepEqual([lines[0], lines[10]], ["  w: 0 % of 250 MB", "  w: 100 % of 250 MB"]);
});

Deno.test("progressPrinter() rewrites one line on a terminal", () => {
  const text = written(true);
  assert.equal(text.split("\n").length, 2);
  assert.equal(text.split("\r").length, 102);
  assert.ok(text.endsWith("\r  w: 100 % of 250 MB\n"));
});

Deno.test("progressPrinter() writes sizes in their units, and none that is not known", () => {
  const lines = (terminal: boolean, ...progress: { received: number; total: number }[]) => {
    let text = "";
    const print = progressPrinter({
      writeSync: (bytes) => (text += new TextDecoder().decode(bytes)).length,
      isTerminal: () => terminal,
    });
    for (const each of progress) print({ what: "w", ...each });
    return text;
  };
  assert.equal(lines(false, { received: 0, total: 0 }, { received: 5, total: 0 }), "  w\n");
  assert.equal(lines(true, { received: 5, total: 0 }), "\r  w\n");
  assert.equal(lines(false, { received: 1, total: 1001 }), "  w: 0 % of 2 kB\n");
  assert.equal(lines(false, { received: 1, total: 999_999 }), "  w: 0 % of 1000 kB\n");
  assert.equal(lines(false, { received: 1, total: 1_000_000 }), "  w: 0 % of 1 MB\n");
  assert.equal(lines(false, { received: 6, total: 8_500_001 }), "  w: 0 % of 9 MB\n");
  assert.equal(lines(false, { received: 19, total: 100 }), "  w: 10 % of 1 kB\n");
  assert.equal(lines(true, { received: 199, total: 1000 }), "\r  w: 19 % of 1 kB");
});
