/**
 * What stands before every function: who calls, from where, with how much, and how it is counted.
 *
 * @module
 */
import assert from "node:assert/strict";
import {
  ownConsole,
  standardError,
  standardOutput,
} from "../../functions/server/standard_output.ts";
import { fakeHarness, linesTo } from "./harness.ts";

const body = { tokens: [1], max_tokens: 1 };

Deno.test("a key is read out of three headers, and asked for where there is none", async () => {
  await using harness = fakeHarness({}, { apiKeys: ["one", "two"] });
  const good: Record<string, string>[] = [
    { authorization: "Bearer one" },
    { authorization: "bearer  two" },
    { "x-api-key": "one" },
    { "api-key": "two" },
    { authorization: "Basic x", "x-api-key": "two" },
  ];
  for (const headers of good) {
    const response = await harness.post("/generate", body, { headers });
    assert.equal(response.status, 200, JSON.stringify(headers));
    await response.text();
  }
  const missing = "Cannot authenticate: send the API key as `Authorization: Bearer KEY`, " +
    "`x-api-key: KEY` or `api-key: KEY`";
  const unknown = "Cannot authenticate: the API key is not known";
  const bad: [Record<string, string>, string, string][] = [
    [{}, "missing_api_key", missing],
    [{ authorization: "one" }, "missing_api_key", missing],
    [{ authorization: "Bearer one two" }, "missing_api_key", missing],
    [{ authorization: "Bearer three", "x-api-key": "one" }, "invalid_api_key", unknown],
    [{ "api-key": "" }, "invalid_api_key", unknown],
  ];
  for (const [headers, code, message] of bad) {
    const response = await harness.post("/generate", body, { headers });
    const { error } = await response.json();
    assert.deepEqual([response.status, error], [
      401,
      { message, type: "authentication_error", param: null, code },
    ]);
    assert.equal(response.headers.get("www-authenticate"), "Bearer");
  }
});

Deno.test("a key's requests are counted while they are open", async () => {
  await using harness = fakeHarness({ tokenMs: 1 }, { apiKeys: ["a", "b"], maxRequestsPerKey: 2 });
  const stream = (key: string) =>
    harness.post("/generate", { ...body, max_tokens: 400, stream: true }, {
      headers: { "x-api-key": key },
    });
  const first = await stream("a"), second = await stream("a");
  const third = await stream("a");
  const { error } = await third.json();
  assert.deepEqual([third.status, third.headers.get("retry-after"), error], [429, "1", {
    message: "Cannot answer: a key may have 2 requests open at a time",
    type: "rate_limit_error",
    param: null,
    code: "too_many_requests",
  }]);
  const other = await stream("b");
  assert.equal(other.status, 200, "another key has its own");
  await first.body!.cancel();
  await new Promise((resolve) => setTimeout(resolve));
  const fourth = await stream("a");
  assert.equal(fourth.status, 200, "one of them has left");
  const fifth = await stream("a");
  assert.equal(fifth.status, 429, "and the other is open still");
  await fifth.body!.cancel();
  for (const { body } of [second, fourth, other]) await body!.cancel();
});

Deno.test("a host, a body and a type that are not allowed are named", async () => {
  await using harness = fakeHarness({}, { allowedHosts: ["a", "B"], bodyLimitBytes: 40 });
  const ask = async (text: string, headers: Record<string, string> = {}) => {
    const response = await harness.post("/generate", text, { headers: { host: "a", ...headers } });
    const { error } = await response.json();
    return [response.status, error?.code, error?.message];
  };
  const fits = '{"tokens":[1],"max_tokens":1}'.padEnd(40);
  assert.equal((await ask(fits))[0], 200);
  assert.deepEqual(await ask(`${fits} `), [
    413,
    "body_too_large",
    "Cannot read request: the body must have at most 40 bytes",
  ]);
  assert.deepEqual(await ask(fits, { host: "c" }), [
    403,
    "host_not_allowed",
    "Cannot answer: Host must be one of a, B, or be named by --allowed-host",
  ]);
  for (const type of ["application/json; charset=utf-8", "APPLICATION/problem+json"]) {
    assert.equal((await ask(fits, { "content-type": type }))[0], 200, type);
  }
  for (const type of ["text/json", "application/jsonl", "x-application/json", ""]) {
    assert.deepEqual(await ask(fits, { "content-type": type }), [
      415,
      "unsupported_media_type",
      "Cannot read request: content-type must be application/json",
    ]);
  }
  assert.deepEqual(await ask("{"), [
    400,
    "invalid_json",
    "Cannot read request: the body is not valid JSON",
  ]);
});

Deno.test("answers are counted by route, method and status; odd methods are others", async () => {
  await using harness = fakeHarness();
  const methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"];
  for (const method of methods) {
    await (await harness.app.request("/health", { method })).text();
  }
  await (await harness.get("/v1/models/some/model")).text();
  await (await harness.get("/v1/models/other")).text();
  await (await harness.get("/health")).text();
  await new Promise((resolve) => setTimeout(resolve));
  const counted = [...harness.instance.answered.values()].map(({ labels, count }) =>
    `${labels.method} ${labels.route} ${labels.status} ${count}`
  );
  assert.deepEqual(counted.filter((line) => line.includes(" /")), [
    "GET /health 200 2",
    "HEAD /health 200 1",
    "GET /v1/models/:org/:name 404 1",
    "GET /v1/models/:model 404 1",
  ]);
  const others = counted.filter((line) => !line.includes(" /")).map((line) => line.split(" ")[0]);
  assert.deepEqual(others, ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"]);
});

Deno.test("ownConsole() sends what others print to the writers of both streams", async () => {
  const { log, info, debug, warn, error } = console;
  try {
    const out: string[] = [];
    const wrong = await linesTo(standardError, async () => {
      out.push(
        ...await linesTo(standardOutput, () => {
          ownConsole();
          console.log("a %d", 1, { b: 2 });
          console.info("c");
          console.debug("d");
          console.warn("e");
          console.error("f");
          return Promise.resolve();
        }),
      );
    });
    assert.deepEqual([out, wrong], [["a 1 { b: 2 }", "c", "d"], ["e", "f"]]);
  } finally {
    Object.assign(console, { log, info, debug, warn, error });
  }
});
