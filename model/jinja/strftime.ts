/**
 * Python's `datetime.strftime` of the local time, in the C locale whatever the machine's is.
 *
 * @module
 */
import { fail, type Run } from "./run.ts";

const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS = [
  "January",
  "February",
  "March",
  "April",
  "May",
  "June",
  "July",
  "August",
  "September",
  "October",
  "November",
  "December",
];

/** A number with what glibc fills it up with, or a text. */
type Part = string | readonly [value: number, width: number, fill: "0" | " "];

const DAY_MS = 86_400_000;

/** Days since the year's first. */
function dayOfYear(date: Date): number {
  const midnight = (month: number, day: number) => Date.UTC(date.getFullYear(), month, day);
  return Math.round((midnight(date.getMonth(), date.getDate()) - midnight(0, 1)) / DAY_MS);
}

/** Week of the year, in which weeks begin on a day of the week. */
function weekOfYear(date: Date, firstDay: number): number {
  return Math.floor((dayOfYear(date) + 7 - (date.getDay() - firstDay + 7) % 7) / 7);
}

/** ISO 8601's week, and the year that it belongs to. */
function isoWeek(date: Date): { week: number; year: number } {
  const thursday = new Date(date.getFullYear(), date.getMonth(), date.getDate());
  thursday.setDate(thursday.getDate() + 3 - (date.getDay() + 6) % 7);
  return { week: Math.floor(dayOfYear(thursday) / 7) + 1, year: thursday.getFullYear() };
}

const COMPOSED: Readonly<Record<string, string>> = {
  D: "%m/%d/%y",
  F: "%Y-%m-%d",
  R: "%H:%M",
  T: "%H:%M:%S",
  X: "%H:%M:%S",
  c: "%a %b %e %H:%M:%S %Y",
  h: "%b",
  r: "%I:%M:%S %p",
  x: "%m/%d/%y",
};

function partOf(code: string, date: Date): Part | undefined {
  const hour12 = date.getHours() % 12 === 0 ? 12 : date.getHours() % 12;
  const year = date.getFullYear();
  switch (code) {
    case "a":
      return DAYS[date.getDay()]!.slice(0, 3);
    case "A":
      return DAYS[date.getDay()]!;
    case "b":
      return MONTHS[date.getMonth()]!.slice(0, 3);
    case "B":
      return MONTHS[date.getMonth()]!;
    case "C":
      return [Math.floor(year / 100), 2, "0"];
    case "d":
      return [date.getDate(), 2, "0"];
    case "e":
      return [date.getDate(), 2, " "];
    case "f":
      return String(date.getMilliseconds() * 1000).padStart(6, "0");
    case "g":
      return [isoWeek(date).year % 100, 2, "0"];
    case "G":
      return [isoWeek(date).year, 1, "0"];
    case "H":
      return [date.getHours(), 2, "0"];
    case "I":
      return [hour12, 2, "0"];
    case "j":
      return [dayOfYear(date) + 1, 3, "0"];
    case "k":
      return [date.getHours(), 2, " "];
    case "l":
      return [hour12, 2, " "];
    case "m":
      return [date.getMonth() + 1, 2, "0"];
    case "M":
      return [date.getMinutes(), 2, "0"];
    case "n":
      return "\n";
    case "p":
      return date.getHours() < 12 ? "AM" : "PM";
    case "P":
      return date.getHours() < 12 ? "am" : "pm";
    case "s":
      return [Math.floor(date.getTime() / 1000), 1, "0"];
    case "S":
      return [date.getSeconds(), 2, "0"];
    case "t":
      return "\t";
    case "u":
      return [(date.getDay() + 6) % 7 + 1, 1, "0"];
    case "U":
      return [weekOfYear(date, 0), 2, "0"];
    case "V":
      return [isoWeek(date).week, 2, "0"];
    case "w":
      return [date.getDay(), 1, "0"];
    case "W":
      return [weekOfYear(date, 1), 2, "0"];
    case "y":
      return [year % 100, 2, "0"];
    case "Y":
      return [year, 1, "0"];
    case "z":
    case "Z":
      return ""; // the time knows no zone, as `datetime.now()` does not
    case "%":
      return "%";
    default:
      return undefined;
  }
}

/** The flags of glibc: no filling, with spaces, with zeros, in capitals. */
const FIELD = /%([-_0^]?)([a-zA-Z%])/g;

/** glibc's other flags, widths and alternatives. */
const UNSUPPORTED = /%(?:%|[-_0^]?([EO#+:1-9]|[-_0^]{2}))/g;

/** The date as the format asks. */
export function strftime(run: Run, format: string, date: Date): string {
  run.read(format);
  run.make(format.length * 10); // no field is longer than "%c" makes it
  for (const [all, isOther] of format.matchAll(UNSUPPORTED)) {
    if (isOther) fail(`in strftime_now ${all} is not supported`);
  }
  return format.replace(FIELD, (all, flag: string, code: string) => {
    const composed = COMPOSED[code];
    if (composed !== undefined) return withFlag(strftime(run, composed, date), flag);
    const part = partOf(code, date) ?? all; // what it does not know, glibc leaves
    if (typeof part === "string") return part === all || code === "P" ? part : withFlag(part, flag);
    const [value, width, fill] = part;
    if (flag === "-") return String(value);
    return String(value).padStart(width, flag === "_" ? " " : flag === "0" ? "0" : fill);
  });
}

function withFlag(text: string, flag: string): string {
  return flag === "^" ? text.toUpperCase() : text;
}
