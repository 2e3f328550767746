/**
 * How `deno task serve` starts a server: its flags and variables are a part of what is tested and measured.
 *
 * @module
 */

/** What stands before and behind `deno run` in a checkout's serve task. */
export function serveTask(folder = "."): {
  readonly flags: readonly string[];
  readonly env: Readonly<Record<string, string>>;
} {
  const { tasks } = JSON.parse(Deno.readTextFileSync(`${folder}/deno.json`));
  const command: string = tasks.serve.command;
  const flags = command.matchAll(/"?(--(?:allow|no-prompt|v8-flags)[^\s"]*)"?/g);
  const variables = command.matchAll(/\b([A-Z_]+)=(\S+) /g);
  return {
    flags: [...flags].map((match) => match[1]!),
    env: Object.fromEntries([...variables].map(([, name, value]) => [name!, value!])),
  };
}
