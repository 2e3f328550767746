import assert from "node:assert/strict";
import { cudaDevices, testOnCuda } from "../test_device.ts";

/** What `device_contexts.ts` prints: which devices have a context of its process. */
async function contexts(...args: string[]): Promise<boolean[]> {
  const program = new URL("./device_contexts.ts", import.meta.url).pathname;
  const { code, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", program, ...args],
    stderr: "inherit",
  }).output();
  assert.equal(code, 0);
  return JSON.parse(new TextDecoder().decode(stdout));
}

/** MiB in use of each device, by whatever process. */
async function usedMemory(): Promise<number[]> {
  const { stdout } = await new Deno.Command("nvidia-smi", {
    args: ["--query-gpu=memory.used", "--format=csv,noheader,nounits"],
  }).output();
  return new TextDecoder().decode(stdout).trim().split("\n").map(Number);
}

testOnCuda("listDevices() makes no context on any device", async () => {
  assert.deepEqual(await contexts(), cudaDevices.map(() => false));
});

testOnCuda("an engine makes a context on its own device alone", async () => {
  assert.deepEqual(await contexts("open"), cudaDevices.map(({ index }) => index === 0));
});

testOnCuda("an engine leaves the memory of a second device alone", async () => {
  const running = new AbortController();
  const before = await usedMemory();
  let most = before[1]!;
  const watched = (async () => {
    while (!running.signal.aborted) most = Math.max(most, (await usedMemory())[1]!);
  })();
  await contexts("open");
  running.abort();
  await watched;
  assert.ok(most - before[1]! < 64, `${most} MiB in use of device 1, ${before[1]} before`);
}, 2);
