/**
 * Files, or parts of them, that a program writes and `deno task lint` compares.
 *
 * @module
 */

/** Text as `deno fmt` leaves it. */
export async function format(text: string, extension: "ts" | "md"): Promise<string> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["fmt", "--quiet", "--ext", extension, "-"],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(text));
  await writer.close();
  const { success, stdout } = await child.output();
  if (!success) throw new Error("Cannot format what was generated");
  return new TextDecoder().decode(stdout);
}

/**
 * Writes files; with `--check` it only says whether they are up to date, and exits 1 where not.
 *
 * @param files the text of each, by its path in the tree
 * @param source what they are made of
 * @param task that writes them
 */
export async function writeGenerated(
  files: ReadonlyMap<string, string>,
  { source, task }: { readonly source: string; readonly task: string },
): Promise<void> {
  const check = Deno.args.includes("--check");
  const stale: string[] = [];
  for (const [path, text] of files) {
    const file = new URL(`../${path}`, import.meta.url);
    if (!check) await Deno.writeTextFile(file, text);
    else if (await Deno.readTextFile(file) !== text) stale.push(path);
  }
  if (stale.length > 0) {
    console.error(
      `Not what ${source} say: ${stale.join(", ")}; write them by \`deno task ${task}\``,
    );
    Deno.exit(1);
  }
  if (check) console.log(`What is made of ${source} is up to date`);
}
