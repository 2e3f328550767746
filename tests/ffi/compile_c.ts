/**
 * C programs and libraries made by tests.
 *
 * @module
 */
const INCLUDE = new URL("../../csrc/", import.meta.url).pathname;

/** Compiles `source` with `flags` into `output`. */
export async function compileC(
  source: string,
  output: string,
  flags: string[] = [],
): Promise<void> {
  const path = `${output}.c`;
  await Deno.writeTextFile(path, source);
  const { success, stderr } = await new Deno.Command("cc", {
    args: ["-std=c11", "-Wall", "-Werror", `-I${INCLUDE}`, ...flags, "-o", output, path],
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
}

/** Compiles a C++ program with files of csrc/, runs it and returns the bytes it wrote. */
export async function runCpp(source: string, files: readonly string[]): Promise<Uint8Array> {
  const folder = await Deno.makeTempDir();
  try {
    const program = `${folder}/program`;
    await Deno.writeTextFile(`${program}.cpp`, source);
    const sources = [`${program}.cpp`, ...files.map((file) => INCLUDE + file)];
    const compiled = await new Deno.Command("c++", {
      args: [
        "-std=c++20",
        "-Wall",
        "-Werror",
        `-I${INCLUDE}`,
        "-pthread",
        "-o",
        program,
        ...sources,
      ],
    }).output();
    if (!compiled.success) throw new Error(new TextDecoder().decode(compiled.stderr));
    const { success, stdout } = await new Deno.Command(program).output();
    if (!success) throw new Error("The program failed");
    return stdout;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Compiles a program, runs it and returns what it printed. */
export async function runC(source: string): Promise<string> {
  const folder = await Deno.makeTempDir();
  try {
    const program = `${folder}/program`;
    await compileC(source, program);
    const { success, stdout } = await new Deno.Command(program).output();
    if (!success) throw new Error("The program failed");
    return new TextDecoder().decode(stdout);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
