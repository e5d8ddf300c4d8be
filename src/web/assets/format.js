// How numbers and times are written.

const grouped = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });

/** A whole number with commas. @param {number} number */
export const whole = (number) => grouped.format(number);

/** A few digits: 1.2K, 3.4M. @param {number} number */
export const compact = (number) => (Math.abs(number) < 1000 ? String(Math.round(number * 100) / 100) : short.format(number));

/** A change in percent with its sign, for eyes. @param {number | null} percent */
export const change = (percent) =>
  percent === null || percent === undefined ? "" : `${percent > 0 ? "+" : percent < 0 ? "−" : ""}${Math.abs(percent).toFixed(2)} %`;

/** A duration in its two greatest units. @param {number} ms */
export function duration(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} m ${String(seconds % 60).padStart(2, "0")} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${String(minutes % 60).padStart(2, "0")} m`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** Seconds as milliseconds or seconds. @param {number | undefined} seconds */
export const seconds = (seconds) =>
  seconds === undefined ? "–" : seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(1)} s`;

/** Bytes in binary units. @param {number} bytes */
export function bytes(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (bytes >= 1024 && at < units.length - 1) {
    bytes /= 1024;
    at += 1;
  }
  return `${at === 0 ? bytes : bytes.toFixed(1)} ${units[at]}`;
}

/** A moment as date and time in UTC. @param {string | null} time */
export const moment = (time) => (time ? time.replace("T", " ").replace(/\.\d+Z$/, "Z") : "–");

/** The time of day of a moment, in UTC. @param {string} time */
export const clock = (time) => time.slice(11, 19);
