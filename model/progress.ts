/**
 * Progress of long work, as lines on stderr.
 *
 * @module
 */

/** Something has come so far. `total` 0: not known. */
export interface Progress {
  /** Name of the file. */
  readonly what: string;
  /** Bytes so far. */
  readonly received: number;
  /** Bytes in all; 0 where that is not known. */
  readonly total: number;
}

/** Called often; cheap when nothing is to be said. */
export type OnProgress = (progress: Progress) => void;

/**
 * Writes progress to stderr: one line that is rewritten on a terminal, a line every tenth
 * elsewhere.
 *
 * @param stream where to write; given by tests
 */
export function progressPrinter(
  stream: { writeSync(bytes: Uint8Array): number; isTerminal(): boolean } = Deno.stderr,
): OnProgress {
  const utf8 = new TextEncoder();
  let said = "";
  return ({ what, received, total }) => {
    const share = total === 0 ? 0 : received / total;
    const step = stream.isTerminal() ? Math.floor(100 * share) : 10 * Math.floor(10 * share);
    const line = total === 0 ? `  ${what}` : `  ${what}: ${step} % of ${megabytes(total)}`;
    if (line === said) return;
    said = line;
    const done = received >= total;
    stream.writeSync(
      utf8.encode(stream.isTerminal() ? `\r${line}${done ? "\n" : ""}` : `${line}\n`),
    );
  };
}

function megabytes(bytes: number): string {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${Math.round(bytes / 1e6)} MB`;
}
