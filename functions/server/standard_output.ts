/**
 * The one writer of standard output, and the one of standard error. `console.log` writes at once: when
 * whoever reads the pipe stops reading, the whole process waits for him. Here lines queue up to a bound
 * and are written beside the event loop; lines beyond it are dropped, counted, and told of once somebody
 * reads again.
 *
 * `Deno.stdout.write()` alone waits in a thread for pipes, files and terminals alike: in Deno 2.9.6
 * `node:process` and `node:fs` hold the event loop up as `console.log` does.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { format } from "node:util";

/** Of lines that wait, per stream. */
const MAX_BYTES = 1 << 20;
/** A reader who is slower does not keep the process from ending. */
const FLUSH_MS = 1000;

const utf8 = new TextEncoder();

/** All but ends of lines and tabs. */
// deno-lint-ignore no-control-regex
const CONTROL = /[\x00-\x08\x0b-\x1f\x7f-\x9f]/g;

function escaped(character: string): string {
  return `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`;
}

/** Where bytes go; like Deno's it may take a part of them. */
export interface ByteSink {
  write(bytes: Uint8Array): Promise<number>;
}

/** See the module's comment. Lines come out whole and in order. */
export class LineWriter {
  readonly #sink: ByteSink;
  readonly #name: string;
  readonly #maxBytes: number;
  #waiting: Uint8Array[] = [];
  /** Of the lines that wait and of those that are being written. */
  #numBytes = 0;
  /** Not told of yet. Until then no line is taken, so that the gap is one. */
  #numUntold = 0;
  #writing: Promise<void> | undefined;
  /** Lines that never came out, since the beginning. */
  numDropped = 0;

  /** @param name what the lines that were dropped are told by */
  constructor(sink: ByteSink, name: string, maxBytes: number = MAX_BYTES) {
    this.#sink = sink;
    this.#name = name;
    this.#maxBytes = maxBytes;
  }

  /** Writes a text and a line's end, soon; a terminal obeys nothing of it. */
  line(text: string): void {
    const bytes = utf8.encode(`${text.replace(CONTROL, escaped)}\n`);
    if (this.#numUntold > 0 || this.#numBytes + bytes.length > this.#maxBytes) {
      this.numDropped++;
      this.#numUntold++;
    } else this.#push(bytes);
    this.#writing ??= this.#write();
  }

  /** Resolves when all is written, or after a moment in which it could not be. */
  async flushed(ms: number = FLUSH_MS): Promise<void> {
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    await Promise.race([this.#writing, late]);
    clearTimeout(timer);
  }

  #push(bytes: Uint8Array): void {
    this.#waiting.push(bytes);
    this.#numBytes += bytes.length;
  }

  /** All that waits is one batch; what comes meanwhile is the next. */
  async #write(): Promise<void> {
    while (this.#waiting.length > 0 || this.#numUntold > 0) {
      if (this.#numUntold > 0) {
        const told = `lines dropped because ${this.#name} was not read: ${this.#numUntold}\n`;
        this.#push(utf8.encode(told));
        this.#numUntold = 0;
      }
      const lines = this.#waiting;
      this.#waiting = [];
      const batch = Buffer.concat(lines);
      try {
        for (let at = 0; at < batch.length;) at += await this.#sink.write(batch.subarray(at));
      } catch {
        this.numDropped += lines.length; // the reader is gone, and nobody is left to be told
      }
      this.#numBytes -= batch.length;
    }
    this.#writing = undefined;
  }
}

export const standardOutput: LineWriter = new LineWriter(Deno.stdout, "standard output");
export const standardError: LineWriter = new LineWriter(Deno.stderr, "standard error");

/** What others print (the engine, packages) goes the same way from now on. */
export function ownConsole(): void {
  const to = (writer: LineWriter) => (...parts: unknown[]) => writer.line(format(...parts));
  const [out, error] = [to(standardOutput), to(standardError)];
  Object.assign(console, { log: out, info: out, debug: out, warn: error, error });
}

/** A promise that is rejected and that nobody waits for is a line, where Deno would end the process. */
export function outliveRejections(): void {
  addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    standardError.line(`Cannot go on with what nobody waits for: ${Deno.inspect(event.reason)}`);
  });
}

/** Ends the process once what it had to say is out. */
export async function exit(code: number): Promise<never> {
  await Promise.all([standardOutput.flushed(), standardError.flushed()]);
  Deno.exit(code);
}
