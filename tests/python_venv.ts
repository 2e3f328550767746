/**
 * Python with packages of its own, for tests against what others wrote.
 *
 * @module
 */

/** Installs what a requirements file pins into a virtual environment, once. */
export async function installPython(requirements: string, venv: string): Promise<void> {
  const installed = `${venv}/requirements.txt`;
  const wanted = await Deno.readTextFile(requirements);
  if (await Deno.readTextFile(installed).catch(() => "") === wanted) return;
  console.log(`install ${requirements} into ${venv}`);
  await mustRun("python3", "-m", "venv", "--clear", venv);
  const quiet = ["--quiet", "--disable-pip-version-check"];
  await mustRun(`${venv}/bin/python`, "-m", "pip", "install", ...quiet, "-r", requirements);
  await Deno.writeTextFile(installed, wanted);
}

/** Runs a program to its end, its output shown; its failure is ours. */
export async function mustRun(program: string, ...args: string[]): Promise<void> {
  const { success } = await new Deno.Command(program, { args }).spawn().status;
  if (!success) throw new Error(`Cannot run ${program} ${args.join(" ")}`);
}

/** What a program prints that is given `input`; its failure is ours. */
export async function outputOf(
  program: string,
  args: string[],
  input = "",
  env: Record<string, string> = {},
): Promise<string> {
  const options = { args, env, stdin: "piped", stdout: "piped" } as const;
  const process = new Deno.Command(program, options).spawn();
  const writer = process.stdin.getWriter();
  // Not awaited first: it may print before it has read all.
  const sent = writer.write(new TextEncoder().encode(input)).then(() => writer.close());
  const { success, stdout } = await process.output();
  await sent;
  if (!success) throw new Error(`Cannot run ${program} ${args.join(" ")}`);
  return new TextDecoder().decode(stdout);
}
