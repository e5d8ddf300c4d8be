// How a symbol stands: what the gate has said of its silence, and what its clock will say next.

import { duration } from "./format.js";

/** Over a night or a weekend, half the way says nothing. */
const NEAR_MS = 2 * 3_600_000;

/** The next level that the silence comes to, and when; undefined where it is held to none any more. */
export function next(row) {
  if (row.is_removed || row.level === "error") return undefined;
  if (row.level === null && row.warnAt !== null) return { word: "quiet", at: row.warnAt };
  return row.errorAt === null ? undefined : { word: "stale", at: row.errorAt };
}

/** Whether the next level is near, and half the way there has passed. It is when people want to see it come. */
export function isNear(row, now) {
  const due = next(row);
  if (!due) return false;
  const from = row.level === "warn" ? row.warnAt : row.seen;
  return due.at - now < Math.min(NEAR_MS, (due.at - (from ?? now)) / 2);
}

/** The time that is left until the next level. */
export function countdown(row, now) {
  const due = next(row);
  if (!due) return "";
  return due.at > now ? `${due.word} in ${duration(due.at - now)}` : "due";
}

/** How it stands, in words. */
export function freshness(row, now) {
  if (row.is_removed) return "removed";
  if (row.seen === null) return row.level ? "stale" : "not heard of";
  const silent = duration(now - row.seen);
  if (row.level === "error") return `stale · ${silent}`;
  if (row.level === "warn") return `quiet · ${isNear(row, now) ? countdown(row, now) : silent}`;
  if (row.errorAt === null && row.warnAt === null) return "not watched";
  return isNear(row, now) ? countdown(row, now) : "live";
}

/** How it looks. */
export function freshnessLook(row, now) {
  if (row.level) return row.level === "error" ? "bad" : "warn";
  if (row.seen === null || row.is_removed || (row.errorAt === null && row.warnAt === null)) return "dim";
  return isNear(row, now) ? "warn" : "good";
}

/** How it stands since just now, for those who don't see the table. */
export function standing(row) {
  if (row.is_removed) return "is not watched any more";
  if (row.level === null) return "is heard of again";
  return row.level === "error" ? "is stale" : "is quiet";
}

/** A row as the API tells it, with times as numbers. */
export function timed(row) {
  const ms = (time) => (time === null ? null : Date.parse(time));
  return { ...row, seen: ms(row.last_seen), warnAt: ms(row.warn_at), errorAt: ms(row.error_at) };
}
