import assert from "node:assert/strict";
import { serveTask } from "../../scripts/serve_task.ts";
import { outputOf } from "../python_venv.ts";

/** A loop that never waits, beside a connection on which something comes now and then. */
const PROGRAM = `
import { connect, createServer } from "node:net";
import { setImmediate } from "node:timers";

const missed: number[] = [];
let numTurns = 0, asked = 0;
const server = createServer((socket) => {
  socket.on("data", () => {
    missed.push(numTurns - asked);
    if (missed.length < 20) return setTimeout(ask, 1);
    console.log(JSON.stringify(missed));
    Deno.exit();
  });
}).listen(0, "127.0.0.1");
await new Promise((resolve) => server.on("listening", resolve));
const client = connect(server.address().port, "127.0.0.1");
await new Promise((resolve) => client.on("connect", resolve));
setTimeout(ask, 1);
turn();

function ask() {
  asked = numTurns;
  client.write("x");
}

function turn() {
  numTurns++;
  setImmediate(turn);
}
`;

Deno.test("a server whose event loop has always something to do hears of a request within two turns", async () => {
  const { env } = serveTask();
  assert.ok(await longestWait(env) <= 2);
  // The test itself: Deno's own default.
  assert.ok(await longestWait({ ...env, DENO_TOKIO_EVENT_INTERVAL: "61" }) > 20);
});

/** In turns of the event loop. */
async function longestWait(env: Record<string, string>): Promise<number> {
  const args = ["run", "--no-check", "--allow-net=127.0.0.1", "--ext=ts", "-"];
  return Math.max(...JSON.parse(await outputOf(Deno.execPath(), args, PROGRAM, env)));
}
