/**
 * Python's packages in pinned versions, installed once into a folder of this checkout.
 *
 * @module
 */

/** @param requirements a file that names all that is installed, each in one version */
export async function installPython(venv: string, requirements: string): Promise<void> {
  const installed = `${venv}/requirements.txt`;
  const wanted = await Deno.readTextFile(requirements);
  if (await Deno.readTextFile(installed).catch(() => "") === wanted) return;
  console.log(`install ${requirements} into ${venv}`);
  await mustRun("python3", "-m", "venv", "--clear", venv);
  const quiet = ["--quiet", "--disable-pip-version-check", "--no-deps"];
  await mustRun(`${venv}/bin/python`, "-m", "pip", "install", ...quiet, "-r", requirements);
  await Deno.writeTextFile(installed, wanted);
}

/** @throws {Error} when the program fails */
export async function mustRun(program: string, ...args: string[]): Promise<void> {
  const { success } = await new Deno.Command(program, { args }).spawn().status;
  if (!success) throw new Error(`Cannot run ${program} ${args.join(" ")}`);
}
