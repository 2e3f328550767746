import assert from "node:assert/strict";

Deno.test("interfaces and README say what the tables of options and fields say", async () => {
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-read", "--allow-run", "scripts/generate_docs.ts", "--check"],
    env: { NO_COLOR: "1" },
  }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
});
