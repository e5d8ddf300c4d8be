// The Markets view: every symbol, live.

import { allMarkets, attempt, serverNow } from "./api.js";
import { openChart } from "./chart.js";
import { change, compact, duration, whole } from "./format.js";
import { freshness, freshnessLook, standing, timed } from "./freshness.js";
import { Grid } from "./grid.js";

/** For how long a change of price is seen. */
const FLASH_MS = 900;

/** @type {Map<string, any>} */
const rows = new Map();
const counts = { stale: 0, marked: 0 };
let filter = "all";
let search = "";
let flashes = 0;
/** @type {Grid} */
let grid;
let chart;
let trades = { count: 0, at: 0 };

const element = (id) => /** @type {HTMLElement} */ (document.getElementById(id));
const number = (value) => (value === null || value === undefined ? -Infinity : value);
const tone = (value) => (value > 0 ? "up" : value < 0 ? "down" : "");

const severity = { error: 2, warn: 1 };
const COLUMNS = [
  { id: "symbol", label: "Symbol", text: (row) => row.symbol, order: (a, b) => (a.symbol < b.symbol ? -1 : a.symbol > b.symbol ? 1 : 0) },
  {
    id: "price",
    label: "Last price",
    text: (row) => row.last_price ?? "–",
    look: (row, now) => (now - row.flashedAt < FLASH_MS ? row.flash : ""),
    order: (a, b) => number(a.price) - number(b.price),
    fallsFirst: true,
  },
  {
    id: "day",
    label: "Day",
    hint: "Change since the first quote of the day (UTC) that is known",
    text: (row) => change(row.change_day),
    look: (row) => tone(row.change_day),
    order: (a, b) => number(a.change_day) - number(b.change_day),
    fallsFirst: true,
  },
  {
    id: "hour",
    label: "1 h",
    hint: "Change against the price an hour ago, or the first one read since",
    text: (row) => change(row.change_hour),
    look: (row) => tone(row.change_hour),
    order: (a, b) => number(a.change_hour) - number(b.change_hour),
    fallsFirst: true,
  },
  {
    id: "volume",
    label: "Volume",
    hint: "Volume read of the day, UTC",
    text: (row) => compact(row.volume),
    order: (a, b) => a.volume - b.volume,
    fallsFirst: true,
  },
  {
    id: "seen",
    label: "Last seen",
    hint: "How long ago the newest quote was traded",
    text: (row, now) => (row.seen === null ? "–" : duration(now - row.seen)),
    order: (a, b) => number(b.seen) - number(a.seen),
    fallsFirst: true,
  },
  {
    id: "fresh",
    label: "Freshness",
    hint: "What the gate has reported, and the time left until it will",
    text: freshness,
    look: freshnessLook,
    order: (a, b) => (severity[a.level] ?? 0) - (severity[b.level] ?? 0) || number(b.seen) - number(a.seen),
    fallsFirst: true,
  },
  {
    id: "marks",
    label: "Suspect",
    hint: "Rules that marked a quote of the last hour",
    text: (row) => row.marks.join(", "),
    look: (row) => (row.marks.length > 0 ? "warn" : ""),
    order: (a, b) => a.marks.length - b.marks.length,
    fallsFirst: true,
  },
];

const isStale = (row) => row.level !== null;
const isMarked = (row) => row.marks.length > 0;
const KEEPS = { all: () => true, stale: isStale, marked: isMarked };

function show() {
  const needle = search.toLowerCase();
  grid.setFilter((row) => KEEPS[filter](row) && (needle === "" || row.name.includes(needle)));
}

/** Takes a row in, unless a later state of it is known. @returns {boolean} whether order or filter may hang on it */
function take(row) {
  const known = rows.get(row.symbol);
  if (known && known.version >= row.version) return false;
  const price = row.last_price === null ? null : Number(row.last_price);
  const levelChanged = known?.level !== row.level || known?.is_removed !== row.is_removed;
  const markChanged = (known?.marks.length ?? 0) > 0 !== row.marks.length > 0;
  counts.stale += Number(isStale(row)) - Number(known ? isStale(known) : 0);
  counts.marked += Number(isMarked(row)) - Number(known ? isMarked(known) : 0);
  let { flash, flashedAt } = known ?? { flash: "", flashedAt: 0 };
  if (known && price !== null && known.price !== null && price !== known.price) {
    // Two names for the same look, so that a change after a change is seen.
    flashedAt = serverNow();
    flash = `${price > known.price ? "rose" : "fell"}-${(flashes += 1) % 2}`;
  }
  if (known && levelChanged) {
    element("announce").textContent = `${row.symbol} ${standing(row)}`;
  }
  const target = known ?? { name: row.symbol.toLowerCase() };
  Object.assign(target, timed(row), { price, volume: Number(row.volume), flash, flashedAt });
  if (!known) rows.set(row.symbol, target);
  return !known || levelChanged || markChanged;
}

/** A frame of changes. @param {{symbols: any[]}} frame */
export function marketsChanged(frame) {
  const before = rows.size;
  let orders = false;
  let drawn = false;
  for (const row of frame.symbols) {
    orders = take(row) || orders;
    drawn ||= row.symbol === chart?.symbol;
  }
  if (rows.size !== before) grid.setAll([...rows.values()]);
  else if (orders) grid.reorder();
  else grid.changed();
  showCounts();
  if (drawn) attempt(() => chart?.live(rows.get(chart.symbol)));
}

/** Everything anew: the server may be another, that counts from 0 and has not heard of all that was known. */
export async function loadMarkets() {
  for (const row of rows.values()) row.version = -1;
  marketsChanged({ symbols: await allMarkets() });
  const gone = [...rows.values()].filter((row) => row.version === -1);
  for (const row of gone) {
    counts.stale -= Number(isStale(row));
    counts.marked -= Number(isMarked(row));
    rows.delete(row.symbol);
  }
  if (gone.length > 0) grid.setAll([...rows.values()]);
  showCounts();
  followAddress();
}

function showCounts() {
  const set = (id, text) => {
    if (element(id).textContent !== text) element(id).textContent = text;
  };
  set("count-symbols", whole(rows.size));
  set("count-stale", whole(counts.stale));
  set("count-marked", whole(counts.marked));
}

/** What the server says of itself. */
export function marketsStatus(status) {
  const now = Date.now();
  if (trades.at > 0 && status.trades_read >= trades.count) {
    const rate = ((status.trades_read - trades.count) * 1000) / Math.max(1, now - trades.at);
    element("count-rate").textContent = whole(rate);
  }
  trades = { count: status.trades_read, at: now };
}

function close() {
  const symbol = chart?.symbol;
  chart?.close();
  chart = undefined;
  element("panel").hidden = true;
  element("markets").classList.remove("with-panel");
  if (location.hash.startsWith("#/markets/")) history.replaceState(null, "", "#/markets");
  if (symbol !== undefined) grid.focus(symbol);
}

function open(row) {
  if (chart?.symbol === row.symbol) return;
  chart?.close();
  element("panel").hidden = false;
  element("markets").classList.add("with-panel");
  history.replaceState(null, "", `#/markets/${encodeURIComponent(row.symbol)}`);
  chart = openChart(row, () => rows.get(row.symbol) ?? row);
  element("panel-close").focus();
}

/** Opens the chart that the address names. */
export function followAddress() {
  if (!location.hash.startsWith("#/markets/")) return;
  let symbol;
  try {
    symbol = decodeURIComponent(location.hash.slice("#/markets/".length));
  } catch {
    return;
  }
  const row = rows.get(symbol);
  if (row) open(row);
}

/** Builds the view. */
export function startMarkets() {
  grid = new Grid(element("grid"), {
    label: "Symbols",
    columns: COLUMNS,
    sort: { column: "symbol", falls: false },
    open,
  });
  grid.empty.textContent = "No symbol to show.";
  const box = /** @type {HTMLInputElement} */ (element("search"));
  box.addEventListener("input", () => {
    search = box.value;
    show();
  });
  for (const chip of document.querySelectorAll("[data-filter]")) {
    chip.addEventListener("click", () => {
      filter = /** @type {HTMLElement} */ (chip).dataset.filter ?? "all";
      for (const other of document.querySelectorAll("[data-filter]")) {
        other.setAttribute("aria-pressed", String(other === chip));
      }
      show();
    });
  }
  element("panel-close").addEventListener("click", close);
  document.addEventListener("keydown", (event) => {
    const typing = event.target instanceof HTMLInputElement;
    if (event.key === "Escape" && !element("panel").hidden) close();
    else if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !element("markets").hidden) {
      event.preventDefault();
      box.focus();
    } else if (event.key === "ArrowDown" && event.target === box) {
      event.preventDefault();
      if (grid.rows.length > 0) grid.focus(grid.rows[0].symbol);
    }
  });
}

/** Every symbol as it is now. */
export const symbolRows = () => [...rows.values()];
