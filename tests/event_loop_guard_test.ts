import assert from "node:assert/strict";
import { join } from "node:path";
import { LONGEST_TURN_MS, TurnWatch } from "./event_loop_guard.ts";
import { ScratchFolder } from "./model/files.ts";
import { threadTimes } from "./own_time.ts";

const wait = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
const block = (ms: number) => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

/** Keeps the thread busy until it has run for so long. */
function compute(ms: number): void {
  for (const end = threadTimes().ranMs + ms; threadTimes().ranMs < end;);
}

async function longestTurnIn(request: () => unknown): Promise<number> {
  const watch = new TurnWatch();
  const close = watch.open();
  await request();
  close();
  return watch.longestMs;
}

Deno.test("TurnWatch sees 60 ms of computing, at a request's beginning, middle and end", async () => {
  for (const [before, after] of [[0, 20], [20, 20], [20, 0]] as const) {
    const longest = await longestTurnIn(async () => {
      if (before > 0) await wait(before);
      compute(60);
      if (after > 0) await wait(after);
    });
    assert.ok(longest > LONGEST_TURN_MS, `${longest} ms`);
  }
});

Deno.test("TurnWatch sees a call that blocks, unless the machine is too busy to tell", async () => {
  for (let tries = 0; await longestTurnIn(() => block(60)) <= LONGEST_TURN_MS; tries++) {
    assert.ok(tries < 100, "never");
  }
});

Deno.test("TurnWatch takes no waiting, no short turns and nothing beside a request for a turn", async () => {
  const watch = new TurnWatch();
  compute(60);
  const close = watch.open();
  await wait(60);
  for (let i = 0; i < 4; i++) {
    compute(20);
    await wait(0);
  }
  close();
  compute(60);
  await wait(10);
  assert.ok(watch.longestMs < LONGEST_TURN_MS, `${watch.longestMs} ms`);
});

Deno.test("guarded_suites.ts fails the tests of its folders that hold a request up, no others", async () => {
  using folder = new ScratchFolder();
  const root = new URL("..", import.meta.url);
  const suite = `
    import { Instance } from "${new URL("functions/server/instance.ts", root)}";
    import { allowLongTurns } from "${new URL("tests/event_loop_guard.ts", root)}";
    function compute() {
      for (const end = performance.now() + 500; performance.now() < end;);
    }
    function request(work) {
      const end = new Instance().begin();
      work();
      end();
    }
    Deno.test("beside a request", () => (compute(), request(() => {}), compute()));
    Deno.test("in a request", () => request(compute));
    Deno.test("with a reason", () => (allowLongTurns("it is a test"), request(compute)));
    Deno.test("after a reason", () => request(compute));`;
  const suites = ["tests/http/a_test.js", "tests/model/a_test.js"];
  const paths = suites.map((name) => folder.write(name, suite));
  const config = new URL("deno.json", root).pathname;
  const preload = `--preload=${join(root.pathname, "tests/guarded_suites.ts")}`;
  const [guarded, free] = await Promise.all(paths.map(async (path) => {
    const args = ["test", "-A", "--no-check", "--config", config, preload, path];
    const { stdout } = await new Deno.Command(Deno.execPath(), { args, env: { NO_COLOR: "1" } })
      .output();
    return new TextDecoder().decode(stdout);
  }));
  assert.match(guarded!, /beside a request \.\.\. ok/);
  assert.match(guarded!, /in a request \.\.\. FAILED/);
  assert.match(guarded!, /with a reason \.\.\. ok/);
  assert.match(guarded!, /after a reason \.\.\. FAILED/);
  assert.match(guarded!, /A turn of the event loop lasted \d+ ms while a request was open/);
  assert.match(free!, /4 passed \| 0 failed/);
});
