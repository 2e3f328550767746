/**
 * Unicode's NFC in time that grows with the text.
 *
 * `String.prototype.normalize` orders combining marks by insertion: 80,000 of them behind one letter,
 * 160 kB, hold the thread for 7 s. Nobody writes more than 30, says Unicode's Stream-Safe Text Format
 * (UAX #15), so that longer runs are composed in parts of 30.
 *
 * @module
 */

const LONG_RUN = /\p{M}{31}/u;
const WITH_SHORT_RUN = /\P{M}*\p{M}{0,30}/gu;
/** Below, nothing composes and nothing is composed. */
const INERT = /^[\0-\u02ff]*$/;

/** A text in NFC; a run of more than 30 marks is composed in parts. */
export function nfc(text: string): string {
  if (INERT.test(text)) return text;
  return LONG_RUN.test(text)
    ? text.replace(WITH_SHORT_RUN, (part) => part.normalize("NFC"))
    : text.normalize("NFC");
}
