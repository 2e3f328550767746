/**
 * `deno task bundle`: each HTTP function as one file in `dist/` that needs no `node_modules`. It finds
 * `build/libhearth.so` beside its folder, as the source does, or at `HEARTH_LIBRARY`.
 *
 *     deno serve -A --unstable-no-legacy-abort --host 127.0.0.1 dist/generate.js
 *
 * @module
 */
import { builtinModules } from "node:module";
import { build } from "esbuild";

const FOLDER = "functions";

/** Files with a default export are functions; the others are their parts. */
const functions = [...Deno.readDirSync(FOLDER)]
  .filter(({ name }) => name.endsWith(".ts"))
  .map(({ name }) => `${FOLDER}/${name}`)
  .filter((path) => /^export default /m.test(Deno.readTextFileSync(path)))
  .sort();

await build({
  entryPoints: functions,
  outdir: "dist",
  bundle: true,
  format: "esm",
  platform: "node",
  target: "esnext",
  logLevel: "info",
  plugins: [{
    // Deno knows `fs` as `node:fs` alone.
    name: "node-prefix",
    setup({ onResolve }) {
      onResolve({ filter: /^[a-z]/ }, ({ path }) => {
        return builtinModules.includes(path) ? { path: `node:${path}`, external: true } : undefined;
      });
    },
  }],
  // CommonJS packages inside (prom-client) still require node's own modules.
  banner: {
    js:
      'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);',
  },
});
