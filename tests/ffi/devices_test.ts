import assert from "node:assert/strict";
import { buildInfo, listDevices } from "../../mod.ts";

Deno.test("listDevices() has the CPU with its cores and memory", () => {
  const cpu = listDevices().find(({ kind }) => kind === "cpu");
  assert.ok(cpu);
  assert.equal(cpu.index, 0);
  assert.match(cpu.capability, /^(generic|avx2|avx512|amx)$/);
  assert.ok(cpu.numCores >= 1 && cpu.numCores <= 4096, `${cpu.numCores} cores`);
  assert.ok(cpu.memoryBytes > 2 ** 28 && cpu.freeBytes <= cpu.memoryBytes);
  assert.ok(cpu.name.length > 0);
});

Deno.test("listDevices() numbers the CUDA devices there are", () => {
  const devices = listDevices().filter(({ kind }) => kind === "cuda");
  devices.forEach(({ index, capability, freeBytes, memoryBytes, numCores }, i) => {
    assert.equal(index, i);
    assert.match(capability, /^\d+\.\d$/);
    assert.ok(numCores > 0 && freeBytes > 0 && freeBytes <= memoryBytes);
  });
});

Deno.test("buildInfo() is one line that ends in what it is compiled for", () => {
  assert.match(buildInfo(), /^\S.*, cpu generic[a-z0-9 ]*(, cuda( (sm|compute)_\d+a?)+)?$/);
});
