/**
 * `deno task bundle`: each HTTP function as one file in `dist/` that needs no `node_modules`. It finds
 * `build/libhearth.so` beside its folder, as the source does, or at `HEARTH_LIBRARY`.
 *
 *     deno serve -A --unstable-no-legacy-abort --host 127.0.0.1 dist/generate.js
 *
 * @module
 */
import { builtinModules } from "node:module";
import { parse } from "node:path";
import { build } from "esbuild";

const FOLDER = "functions";
/** A worker of the engine reads the bundle too, and must come upon this before it has an engine. */
const WORKER = "./engine/tokenizer_worker.ts";

/** Files with a default export are functions; the others are their parts. */
const functions = [...Deno.readDirSync(FOLDER)]
  .filter(({ name }) => name.endsWith(".ts"))
  .map(({ name }) => `./${FOLDER}/${name}`)
  .filter((path) => /^export default /m.test(Deno.readTextFileSync(path)))
  .sort();

await build({
  entryPoints: functions.map((path) => ({ in: `with-worker:${path}`, out: parse(path).name })),
  outdir: "dist",
  bundle: true,
  format: "esm",
  platform: "node",
  target: "esnext",
  logLevel: "info",
  plugins: [{
    name: "with-worker",
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /^with-worker:/ }, ({ path }) => {
        return { path: path.slice(path.indexOf(":") + 1), namespace: "with-worker" };
      });
      onLoad({ filter: /./, namespace: "with-worker" }, ({ path }) => {
        const contents = `import "${WORKER}"; export { default } from "${path}";`;
        return { contents, resolveDir: Deno.cwd() };
      });
    },
  }, {
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
