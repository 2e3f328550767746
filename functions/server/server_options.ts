/**
 * The options of a server beside its engine's.
 *
 * @module
 */
import { entry } from "../../ffi/field.ts";

/** Of the process. */
export const PROCESS_OPTIONS = {
  model: entry(
    { kind: "text", value: "PATH_OR_ID", shown: "SmolLM2-135M-Instruct, fetched once" },
    "GGUF file, folder with safetensors, or Hub id",
  ),
  host: entry({ kind: "text", value: "HOST", default: "127.0.0.1" }, "Address to listen on"),
  port: entry(
    { kind: "integer", min: 0, max: 65535, default: 8000 },
    "Port to listen on; 0 takes a free one",
  ),
  drainTimeout: entry(
    { kind: "seconds", min: 0, max: 86400, default: 30 },
    "How long running requests may go on after SIGTERM",
  ),
  help: entry({ kind: "action", default: false }, "Show this and leave"),
  version: entry({ kind: "action", default: false }, "Show the version and leave"),
};

/** Of an instance: how it treats its callers. */
export const INSTANCE_OPTIONS = {
  servedModelNames: entry({
    kind: "texts",
    value: "NAME",
    default: [],
    shown: "the model's own",
    flag: "served-model-name",
  }, "Name in requests and answers, the first in these; may be repeated"),
  generationConfig: entry(
    { kind: "choice", choices: ["auto", "vllm"], default: "auto" },
    "auto: the model's own sampling where a request says nothing; vllm: temperature 1 and no more",
  ),
  apiKeys: entry(
    {
      kind: "texts",
      value: "KEY",
      each: {
        pattern: /^[\x21-\x7e]+$/,
        rule: "a key must be printable ASCII without spaces",
        secret: true,
      },
      default: [],
      shown: "none is asked for",
      flag: "api-key",
    },
    "Key that callers must send, but to /health, /ready and /docs; may be repeated. Safer as HEARTH_API_KEY",
  ),
  keyWeights: entry(
    {
      kind: "texts",
      value: "KEY=N",
      each: {
        pattern: /^[\x21-\x7e]+=([1-9]\d{0,2}|1000)$/,
        rule: "it must be a key, = and an integer from 1 to 1000",
        secret: true,
      },
      default: [],
      shown: "1 each",
      flag: "key-weight",
    },
    "Where several keys have requests that wait, this one gets N times the tokens of one without; may be repeated",
  ),
  allowNegativePriority: entry(
    { kind: "switch", default: false },
    "Requests may have a priority below 0, before all others of their key",
  ),
  maxRequestsPerKey: entry(
    { kind: "integer", min: 0, default: 0, shown: "no bound" },
    "Requests that one key may have open at a time; then 429",
  ),
  allowedHosts: entry({
    kind: "texts",
    value: "NAME",
    each: {
      pattern: /^([^\s:/]+|\[[0-9a-f:.]+\])$/i,
      rule: "a name must stand alone, without a port",
    },
    default: [],
    shown: "any; on loopback without a key, loopback's alone",
    flag: "allowed-host",
  }, "Name that Host may have, beside loopback's and `host`; may be repeated"),
  sharePrefixesAcrossKeys: entry(
    { kind: "switch", default: false },
    "Callers with different keys share warm KV blocks; answer times then tell who asked what",
  ),
  corsOrigins: entry({
    kind: "texts",
    value: "ORIGIN",
    each: {
      // As browsers write it; another would never be the same.
      pattern: /^(?!http:.*:80$|https:.*:443$)(\*|null|[a-z][a-z0-9+.-]*:\/\/[^\sA-Z/?#@]+)$/,
      rule:
        "an origin is scheme://host in small letters, with a port that is not the scheme's own " +
        "and nothing behind, or *",
    },
    default: [],
    shown: "none",
    flag: "cors-origin",
  }, "Origin that browsers may call from, or *; may be repeated"),
  bodyLimitBytes: entry({
    kind: "bytes",
    min: 1024,
    shown: "8MiB, or 64KiB and 8 bytes a token of `maxModelLen` where that is more",
    flag: "body-limit",
  }, "Largest request body; then 413"),
  bodyLimitSumBytes: entry({
    kind: "bytes",
    min: 1024,
    default: 256 << 20,
    shown: "256MiB",
    flag: "body-limit-sum",
  }, "Request bodies under way, all together; then 429"),
  accessLog: entry({
    kind: "choice",
    choices: ["text", "json", "off"],
    default: "text",
    flag: "log-format",
  }, "Access log on standard output, a line a request"),
  logProbes: entry(
    { kind: "switch", default: false },
    "Requests of /health and /ready that find all well are in the access log too",
  ),
};
