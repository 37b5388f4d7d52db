// Numbers, money and times as a person reads them. Nothing here asks a clock.

const WHOLE = new Intl.NumberFormat("en");
const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** What stands where a value is not known: never a zero. */
export const UNKNOWN = "unknown";

/** An amount in USD: two places, or as many as a small one needs (the ledger keeps six). @param {number | null | undefined} value */
export function usd(value) {
  if (!isNumber(value)) return UNKNOWN;
  const size = Math.abs(value);
  const places = size === 0 || size >= 1 ? 2 : size >= 0.01 ? 4 : 6;
  const text = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: places }).format(size);
  return `${value < 0 ? "−" : ""}$${text}`;
}

/** A count. @param {number | null | undefined} value */
export const count = (value) => (isNumber(value) ? WHOLE.format(value) : UNKNOWN);

/** So many of something. @param {number | null | undefined} value @param {string} noun */
export const counted = (value, noun) => (value === 1 ? `1 ${noun}` : `${count(value)} ${noun}s`);

/** A large count in a few characters: 128K. @param {number | null | undefined} value */
export const compact = (value) => (isNumber(value) ? COMPACT.format(value) : UNKNOWN);

/** A share between 0 and 1; 99.96 % is not rounded up to all. @param {number | null | undefined} value */
export function percent(value) {
  if (!isNumber(value)) return "–";
  const shown = Math.floor(value * 1000) / 10;
  return `${shown} %`;
}

/** @param {number | null | undefined} milliseconds */
export function duration(milliseconds) {
  if (!isNumber(milliseconds)) return "–";
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  const seconds = milliseconds / 1000;
  if (seconds < MINUTE) return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
  return `${Math.floor(seconds / MINUTE)} min ${Math.round(seconds % MINUTE)} s`;
}

/** How long ago, in words; a time to come is told as such. @param {number | null | undefined} at @param {number} now seconds */
export function ago(at, now) {
  if (!isNumber(at)) return "never";
  const past = now - at;
  if (past < 0) return `in ${span(-past)}`;
  return past < 45 ? "just now" : `${span(past)} ago`;
}

/** @param {number} seconds */
function span(seconds) {
  if (seconds < HOUR) return `${Math.max(1, Math.round(seconds / MINUTE))} min`;
  if (seconds < 2 * DAY) return `${Math.round(seconds / HOUR)} h`;
  return `${Math.round(seconds / DAY)} days`;
}

/** A moment in the reader's own zone, to the second. @param {number | null | undefined} at seconds since 1970 */
export function moment(at) {
  if (!isNumber(at)) return UNKNOWN;
  const time = new Date(at * 1000);
  const two = (value) => String(value).padStart(2, "0");
  const day = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
  return `${day} ${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
}

/** A secret as it may be shown on a screen that others see. @param {string} key */
export const masked = (key) => `${key.slice(0, 14)}…`;

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
