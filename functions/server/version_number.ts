/**
 * The version, as `deno.json` has it.
 *
 * @module
 */
import config from "../../deno.json" with { type: "json" };

export const VERSION: string = config.version;
