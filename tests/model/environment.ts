/**
 * What the environment says of models, for the length of a test.
 *
 * @module
 */

/** Every variable that model/ reads. */
const NAMES = [
  "HOME",
  "XDG_CACHE_HOME",
  "HF_ENDPOINT",
  "HF_HOME",
  "HF_HUB_CACHE",
  "HF_HUB_OFFLINE",
  "HF_TOKEN",
  "HF_TOKEN_PATH",
] as const;

/** Variables that are set; all others are not. */
export type Environment = Readonly<Partial<Record<typeof NAMES[number], string>>>;

/** These variables, and none of the others, until its scope is left. */
export function withEnvironment(environment: Environment): Disposable {
  const set = (values: Readonly<Record<string, string | undefined>>) => {
    for (const name of NAMES) {
      const value = values[name];
      if (value === undefined) Deno.env.delete(name);
      else Deno.env.set(name, value);
    }
  };
  const before = Object.fromEntries(NAMES.map((name) => [name, Deno.env.get(name)]));
  set(environment);
  return { [Symbol.dispose]: () => set(before) };
}
