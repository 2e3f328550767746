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
