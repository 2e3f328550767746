import assert from "node:assert/strict";

/** bench/gpu reads csrc/hearth.h itself: that it still can is seen here, without a GPU. */
Deno.test("bench/gpu/hearth_abi.py speaks the ABI of this library", async () => {
  const { success, stdout, stderr } = await new Deno.Command("python3", {
    args: ["bench/gpu/tiny_check.py", "--device", "cpu"],
    cwd: new URL("../../", import.meta.url),
  }).output();
  const printed = new TextDecoder().decode(stdout);
  assert.ok(success, printed + new TextDecoder().decode(stderr));
  assert.match(printed, /4 checked, 0 failed/);
});
