/**
 * The options of a server beside its engine's.
 *
 * @module
 */
import type { Fields } from "../../ffi/field.ts";

/** Of the process. */
export const PROCESS_OPTIONS = {
  model: {
    kind: "text",
    value: "PATH_OR_ID",
    doc: "GGUF file, folder with safetensors, or Hub id",
    shown: "SmolLM2-135M-Instruct, fetched once",
  },
  host: { kind: "text", value: "HOST", doc: "Address to listen on", default: "127.0.0.1" },
  port: {
    kind: "integer",
    min: 0,
    max: 65535,
    doc: "Port to listen on; 0 takes a free one",
    default: 8000,
  },
  drainTimeout: {
    kind: "seconds",
    min: 0,
    max: 86400,
    doc: "How long running requests may go on after SIGTERM",
    default: 30,
  },
  help: { kind: "action", doc: "Show this and leave", default: false },
  version: { kind: "action", doc: "Show the version and leave", default: false },
} as const satisfies Fields;

/** Of an instance: how it treats its callers. */
export const INSTANCE_OPTIONS = {
  servedModelNames: {
    kind: "texts",
    value: "NAME",
    doc: "Name in requests and answers, the first in these; may be repeated",
    default: [],
    shown: "the model's own",
    flag: "served-model-name",
  },
  generationConfig: {
    kind: "choice",
    choices: ["auto", "vllm"],
    doc:
      "auto: the model's own sampling where a request says nothing; vllm: temperature 1 and no more",
    default: "auto",
  },
  apiKeys: {
    kind: "texts",
    value: "KEY",
    each: {
      pattern: /^[\x21-\x7e]+$/,
      rule: "a key must be printable ASCII without spaces",
      secret: true,
    },
    doc:
      "Key that callers must send, but to /health and /ready; may be repeated. Safer as HEARTH_API_KEY",
    default: [],
    shown: "none is asked for",
    flag: "api-key",
  },
  allowedHosts: {
    kind: "texts",
    value: "NAME",
    each: {
      pattern: /^([^\s:/]+|\[[0-9a-f:.]+\])$/i,
      rule: "a name must stand alone, without a port",
    },
    doc: "Name that Host may have, beside loopback's and `host`; may be repeated",
    default: [],
    shown: "any; on loopback without a key, loopback's alone",
    flag: "allowed-host",
  },
  sharePrefixesAcrossKeys: {
    kind: "switch",
    doc: "Callers with different keys share warm KV blocks; answer times then tell who asked what",
    default: false,
  },
  corsOrigins: {
    kind: "texts",
    value: "ORIGIN",
    doc: "Origin that browsers may call from, or *; may be repeated",
    default: [],
    shown: "none",
    flag: "cors-origin",
  },
  bodyLimitBytes: {
    kind: "bytes",
    min: 1024,
    doc: "Largest request body",
    default: 8 << 20,
    shown: "8MiB",
    flag: "body-limit",
  },
  accessLog: {
    kind: "choice",
    choices: ["text", "json", "off"],
    doc: "Access log on standard output, a line a request",
    default: "text",
    flag: "log-format",
  },
  logProbes: {
    kind: "switch",
    doc: "Requests of /health and /ready that find all well are in the access log too",
    default: false,
  },
} as const satisfies Fields;
