import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { download, type DownloadRequest, sizeOf } from "../../model/download.ts";
import { ModelError } from "../../model/spec.ts";
import { ScratchFolder } from "./files.ts";
import { HubServer, type Mishap } from "./hub_server.ts";

const CONTENT = crypto.getRandomValues(new Uint8Array(60_000));
const DIGEST = {
  kind: "sha256",
  hex: createHash("sha256").update(CONTENT).digest("hex"),
} as const;

/** Downloads `CONTENT` from a server with the given mishaps. */
async function run(
  mishaps: Mishap[],
  changes: Partial<DownloadRequest> = {},
  before: (target: string) => void = () => {},
) {
  using folder = new ScratchFolder();
  await using server = new HubServer({ "w.bin": CONTENT });
  server.mishaps.push(...mishaps);
  const target = `${folder.path}/deep/w.bin`;
  Deno.mkdirSync(`${folder.path}/deep`);
  before(target);
  const progress: number[] = [];
  const error = await download({
    url: `${server.url}/org/name/resolve/${server.commit}/w.bin`,
    target,
    bytes: CONTENT.length,
    digest: DIGEST,
    progress: (received) => progress.push(received),
    retryDelaysMs: [1, 1],
    ...changes,
  }).then(() => undefined, (thrown) => thrown);
  const files = [...Deno.readDirSync(`${folder.path}/deep`)].map(({ name }) => name).sort();
  const partial = sizeOf(`${target}.incomplete`);
  const content = error ? undefined : Deno.readFileSync(target);
  return { error, files, partial, content, progress, transfers: server.transfers };
}

Deno.test("download() fetches a file, reports progress and leaves nothing else", async () => {
  const { error, content, files, progress, transfers } = await run([]);
  assert.equal(error, undefined);
  assert.deepEqual(content, CONTENT);
  assert.deepEqual(files, ["w.bin"]);
  assert.equal(progress.at(-1), CONTENT.length);
  assert.deepEqual(transfers, ["w.bin whole"]);
});

Deno.test("download() goes on where each cut connection ended", async () => {
  const { error, content, transfers, progress } = await run([
    { cutAfter: 10_000 },
    { cutAfter: 20_000 },
    { cutAfter: 1 },
    { cutAfter: 5_000 },
  ]);
  assert.equal(error, undefined);
  assert.deepEqual(content, CONTENT);
  // Bytes on the way when a connection breaks may be lost: the cuts bound where it goes on.
  const starts = transfers.map((line) => Number(/=(\d+)-/.exec(line)?.[1] ?? 0));
  assert.equal(starts.length, 5);
  for (const [i, most] of [0, 10_000, 30_000, 30_001, 35_001].entries()) {
    assert.ok((starts[i] as number) <= most && (starts[i] as number) >= (starts[i - 1] ?? 0));
  }
  assert.ok((starts[4] as number) > 0);
  assert.ok(progress.every((received, i) => i === 0 || received >= (progress[i - 1] as number)));
});

Deno.test("download() goes on after a body that stands still", async () => {
  const { error, transfers } = await run([{ stallAfter: 7_000 }], { stallTimeoutMs: 100 });
  assert.equal(error, undefined);
  assert.deepEqual(transfers, ["w.bin whole", "w.bin bytes=7000-"]);
});

Deno.test("download() resumes what an earlier process left", async () => {
  const { error, transfers } = await run([], {}, (target) => {
    Deno.writeFileSync(`${target}.incomplete`, CONTENT.subarray(0, 40_000));
  });
  assert.equal(error, undefined);
  assert.deepEqual(transfers, ["w.bin bytes=40000-"]);
});

Deno.test("download() only checks a partial file that is whole", async () => {
  const { error, transfers } = await run([], {}, (target) => {
    Deno.writeFileSync(`${target}.incomplete`, CONTENT);
  });
  assert.equal(error, undefined);
  assert.deepEqual(transfers, []);
});

Deno.test("download() starts over when what was left is of another file", async () => {
  const { error, content, transfers } = await run([], {}, (target) => {
    Deno.writeFileSync(`${target}.incomplete`, new Uint8Array(40_000));
  });
  assert.equal(error, undefined);
  assert.deepEqual(content, CONTENT);
  assert.deepEqual(transfers, ["w.bin bytes=40000-", "w.bin whole"]);
});

Deno.test("download() does not fetch what is there", async () => {
  const { error, transfers } = await run([], {}, (target) => {
    Deno.writeFileSync(target, CONTENT);
  });
  assert.equal(error, undefined);
  assert.deepEqual(transfers, []);
});

Deno.test("download() copes with a server that overlooks Range", async () => {
  const { error, content } = await run([{ cutAfter: 30_000 }, { ignoreRange: true }]);
  assert.equal(error, undefined);
  assert.deepEqual(content, CONTENT);
});

Deno.test("download() copes with a server that goes on elsewhere", async () => {
  const { error, content, transfers } = await run([{ cutAfter: 30_000 }, { shiftRange: 5 }]);
  assert.equal(error, undefined);
  assert.deepEqual(content, CONTENT);
  assert.match(transfers.join(), /^w.bin whole,w.bin bytes=\d+-,w.bin whole$/);
});

Deno.test("download() starts over after 416", async () => {
  const { error, content, transfers } = await run([{ cutAfter: 30_000 }, { status: 416 }]);
  assert.equal(error, undefined);
  assert.deepEqual(content, CONTENT);
  assert.deepEqual(transfers.at(-1), "w.bin whole");
});

Deno.test("download() tries again after 503 and 429, and gives up in the end", async () => {
  assert.equal((await run([{ status: 503 }, { status: 429 }])).error, undefined);
  const { error, transfers, files } = await run(Array(3).fill({ status: 503 }));
  assert.ok(error instanceof ModelError);
  assert.match(error.message, /Cannot download .*: status 503/);
  assert.equal(transfers.length, 3); // one and two retries
  assert.deepEqual(files, []);
});

Deno.test("download() that is cut for good keeps the part for the next time", async () => {
  const { error, files, partial } = await run([
    { cutAfter: 10_000 },
    { status: 500 },
    { status: 500 },
    { status: 500 },
  ]);
  assert.ok(error instanceof ModelError);
  assert.deepEqual(files, ["w.bin.incomplete"]);
  assert.ok(partial > 0 && partial <= 10_000);
});

Deno.test("download() never publishes wrong bytes", async () => {
  const { error, files } = await run([{ wrongBytes: true }]);
  assert.ok(error instanceof ModelError);
  assert.match(error.message, /the bytes received are not those promised \(sha256 [0-9a-f]{64}\)/);
  assert.deepEqual(files, []);
});

Deno.test("download() refuses a file longer than promised", async () => {
  const { error, files } = await run([], { bytes: 1000 });
  assert.ok(error instanceof ModelError);
  assert.match(error.message, /longer than the 1000 bytes promised/);
  assert.deepEqual(files, []);
});

for (const status of [401, 403, 404, 418]) {
  Deno.test(`download() does not try again after ${status}`, async () => {
    const { error, transfers } = await run([{ status }]);
    assert.ok(error instanceof ModelError);
    assert.match(error.message, new RegExp(`status ${status}`));
    assert.equal(transfers.length, 1);
  });
}

Deno.test("download() says when nobody answers", async () => {
  const { error } = await run([], { url: "http://127.0.0.1:9/none" });
  assert.ok(error instanceof ModelError);
  assert.match(error.message, /Cannot download http:\/\/127.0.0.1:9\/none/);
});

Deno.test("download() says how far it came, and for how long nothing did", async () => {
  const cut = await run([{ cutAfter: 0 }], { retryDelaysMs: [] });
  assert.match(cut.error.message, /^Cannot download http.*: cut after 0 of 60000 bytes: \S/);
  const stalled = await run([{ stallAfter: 0 }], { retryDelaysMs: [], stallTimeoutMs: 20 });
  assert.match(stalled.error.message, /: cut after 0 of 60000 bytes: no bytes for 0.02 s$/);
  using silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = silent.addr as Deno.NetAddr;
  const unanswered = await run([], {
    url: `http://127.0.0.1:${port}/`,
    retryDelaysMs: [],
    connectTimeoutMs: 30,
  });
  assert.equal(
    unanswered.error.message,
    `Cannot download http://127.0.0.1:${port}/: no answer for 0.03 s`,
  );
});

Deno.test("download() says what was promised of a file that is shorter, longer or another", async () => {
  const shorter = await run([], { bytes: CONTENT.length + 1, retryDelaysMs: [] });
  assert.match(shorter.error.message, /: cut after 60000 of 60001 bytes$/);
  assert.deepEqual(shorter.files, ["w.bin.incomplete"]);
  const longer = await run([], { bytes: CONTENT.length - 1 });
  assert.match(longer.error.message, /: it is longer than the 59999 bytes promised$/);
  assert.deepEqual(longer.files, []);
  const other = await run([], { digest: { kind: "git", hex: "0123" } });
  assert.match(other.error.message, /: the bytes received are not those promised \(git 0123\)$/);
  assert.deepEqual([other.files, other.transfers.length], [[], 1]);
  const same = createHash("sha1").update("blob 60000\0").update(CONTENT).digest("hex");
  assert.equal((await run([], { digest: { kind: "git", hex: same } })).error, undefined);
});

Deno.test("download() says what a refusal of the server means", async () => {
  const access = "access is denied (status STATUS): ask for access on the model's page, then set " +
    "HF_TOKEN";
  const meanings: Readonly<Record<number, string>> = {
    401: access,
    403: access,
    404: "there is no such model, revision or file (status 404)",
    418: "status STATUS",
  };
  for (const [status, meaning] of Object.entries(meanings)) {
    const { error } = await run([{ status: Number(status) }]);
    assert.ok(error.message.endsWith(`: ${meaning.replace("STATUS", status)}`), error.message);
  }
  const shifted = await run([{ cutAfter: 30_000 }, { shiftRange: 5 }], { retryDelaysMs: [] });
  assert.match(shifted.error?.message ?? "", /cut after|refused to go on at byte/);
  const kept = await run([{ status: 416 }], { retryDelaysMs: [] }, (target) => {
    Deno.writeFileSync(`${target}.incomplete`, CONTENT.subarray(0, 7));
  });
  assert.match(kept.error.message, /: the server refused to go on at byte 7 \(status 416\)$/);
});

Deno.test("download() ends with the caller's signal and keeps the part", async () => {
  const controller = new AbortController();
  const { error, partial } = await run([{ stallAfter: 9_000 }], {
    signal: controller.signal,
    progress: () => controller.abort(),
  });
  assert.equal(error.name, "AbortError");
  assert.ok(partial > 0 && partial <= 9_000);
});

Deno.test("two downloads of one file do not write into each other", async () => {
  using folder = new ScratchFolder();
  await using server = new HubServer({ "w.bin": CONTENT });
  server.mishaps.push({ cutAfter: 10_000 });
  const request: DownloadRequest = {
    url: `${server.url}/org/name/resolve/${server.commit}/w.bin`,
    target: `${folder.path}/w.bin`,
    bytes: CONTENT.length,
    digest: DIGEST,
    retryDelaysMs: [1],
  };
  await Promise.all([download(request), download(request), download(request)]);
  assert.deepEqual(Deno.readFileSync(request.target), CONTENT);
  assert.equal(server.transfers.length, 2); // the first one's two attempts
});
