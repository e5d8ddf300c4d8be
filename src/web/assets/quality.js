// The Quality view: what did not pass, why, and who is silent.

import { ask, serverNow } from "./api.js";
import { figure, fill, h, svg, table } from "./dom.js";
import { clock, duration, moment, whole } from "./format.js";
import { countdown, freshnessLook, isNear, next, timed } from "./freshness.js";
import { symbolRows } from "./markets.js";

/** Minutes that the picture shows. */
const MINUTES = 60;
/** Rules with a colour of their own; the rest share one. */
const COLOURS = 7;
const REFRESH_MS = 1_000;
/** Silent symbols that are listed. */
const SILENT_MAX = 40;

const view = /** @type {HTMLElement} */ (document.getElementById("quality"));
let wanted = false;
let asking = false;
/** The rejection that is shown whole, and the rule that is asked for. */
let chosen = "";
let rule = "";
let rejections = [];
let quality;

const places = Object.fromEntries(
  ["figures", "picture", "rules", "list", "detail", "silent", "events"].map((name) => [name, h("div", { class: `q-${name}` })]),
);

function build() {
  const card = (title, ...inside) => h("section", { class: "card" }, h("h2", {}, title), ...inside);
  view.append(
    places.figures,
    h(
      "div",
      { class: "columns" },
      card("Broken rules and marks, last hour", places.picture),
      card("By rule, since the page began to read", places.rules),
    ),
    h("div", { class: "columns" }, card("Last rejected records", places.list), card("What was found, and what was expected", places.detail)),
    h("div", { class: "columns" }, card("Silent, and silent soon", places.silent), card("Events", places.events)),
  );
  setInterval(() => {
    if (!view.hidden && quality) showSilent();
    if (wanted && !view.hidden) void load();
  }, REFRESH_MS);
}

/** Something has changed. */
export function qualityChanged() {
  wanted = true;
}

/** The view is shown. */
export function showQuality() {
  if (!view.hasChildNodes()) build();
  void load();
}

async function load() {
  if (asking) return;
  asking = true;
  wanted = false;
  try {
    const query = rule ? `?limit=100&rule=${encodeURIComponent(rule)}` : "?limit=100";
    const [counted, found] = await Promise.all([ask("/v1/quality"), ask(`/v1/quality/rejections${query}`)]);
    quality = counted;
    rejections = found.rejections;
    show();
  } catch (error) {
    places.figures.replaceChildren(h("p", { class: "bad" }, `No answer: ${error.message}`));
  } finally {
    asking = false;
  }
}

function show() {
  const { rules, kinds } = quality;
  const names = Object.keys(rules).sort((a, b) => rules[b] - rules[a]);
  fill(places.figures, [kinds, quality.silent_feeds], () => [
    figure("rejected", whole(kinds.rejected ?? 0), kinds.rejected ? "bad" : ""),
    figure("not a trade", whole(kinds.not_a_trade ?? 0)),
    figure("unsendable", whole(kinds.unsendable ?? 0), kinds.unsendable ? "bad" : ""),
    figure("stale reported", whole(kinds.stale ?? 0)),
    figure("recovered", whole(kinds.recovered ?? 0)),
    figure("silent feeds", quality.silent_feeds.map((feed) => feed.class).join(", ") || "none", quality.silent_feeds.length ? "bad" : "up"),
  ]);
  const colour = (name) => Math.min(names.indexOf(name), COLOURS);
  showPicture(names, colour);
  fill(places.rules, [rules, rule], () => [ruleTable(names, colour)]);
  showList();
  fill(places.events, quality.events.slice(0, 30), () => [
    quality.events.length === 0
      ? h("p", { class: "dim" }, "None so far.")
      : table(
          "Events",
          ["Time", "Event", "Symbol", "Silent for"],
          quality.events.slice(0, 30).map((event) => [
            clock(event.time),
            h("span", { class: event.kind.endsWith("recovered") ? "up" : "bad" }, event.kind),
            event.symbol ?? `class ${event.class}`,
            event.silence_ms === undefined ? "" : duration(event.silence_ms),
          ]),
        ),
  ]);
  showSilent();
}

function showPicture(names, colour) {
  const now = Math.floor(serverNow() / 60_000) * 60;
  const minutes = new Map(quality.minutes.map((minute) => [minute.time, minute.rules]));
  const times = Array.from({ length: MINUTES }, (_, at) => now - (MINUTES - 1 - at) * 60);
  const sum = (of) => Object.values(of ?? {}).reduce((a, b) => a + b, 0);
  const most = Math.max(1, ...times.map((time) => sum(minutes.get(time))));
  fill(places.picture, [times, times.map((time) => minutes.get(time))], () => {
    const bars = times.flatMap((time, at) => {
      let top = 100;
      return names
        .filter((name) => minutes.get(time)?.[name])
        .map((name) => {
          const height = (minutes.get(time)[name] / most) * 96;
          top -= height;
          const title = `${new Date(time * 1000).toISOString().slice(11, 16)}Z ${name}: ${whole(minutes.get(time)[name])}`;
          const box = { x: at * 10 + 1, y: top.toFixed(2), width: 8, height: height.toFixed(2), class: `c${colour(name)}` };
          return svg("rect", box, svg("title", {}, title));
        });
    });
    const words = `At most ${whole(most)} in a minute; ${whole(times.reduce((all, time) => all + sum(minutes.get(time)), 0))} in the last hour`;
    return [
      svg("svg", { viewBox: `0 0 ${MINUTES * 10} 100`, preserveAspectRatio: "none", role: "img", "aria-label": words }, bars),
      h("div", { class: "axis" }, h("span", {}, "an hour ago"), h("span", {}, words), h("span", {}, "now")),
    ];
  });
}

function ruleTable(names, colour) {
  if (names.length === 0) return h("p", { class: "dim" }, "Nothing broken and nothing marked so far.");
  const most = Math.max(...names.map((name) => quality.rules[name]));
  return h(
    "ul",
    { class: "bars" },
    names.map((name) => {
      const bar = h("i", { class: `c${colour(name)}` });
      bar.style.width = `${(quality.rules[name] / most) * 100}%`;
      const choose = () => {
        rule = rule === name ? "" : name;
        void load();
      };
      return h(
        "li",
        {},
        h("button", { type: "button", "aria-pressed": String(rule === name), title: "Show only rejections by this rule", onclick: choose }, name),
        h("span", { class: "track" }, bar),
        h("span", { class: "count" }, whole(quality.rules[name])),
      );
    }),
  );
}

const place = (one) => `${one.partition}:${one.offset}`;

function showList() {
  if (!rejections.some((one) => place(one) === chosen)) chosen = rejections.length > 0 ? place(rejections[0]) : "";
  const focused = places.list.contains(document.activeElement);
  fill(places.list, [rejections.map(place), chosen, rule], () => [
    rule ? h("p", { class: "dim" }, `Only ${rule}; choose it again for all.`) : null,
    rejections.length === 0 ? h("p", { class: "dim" }, "None.") : null,
    ...rejections.map((one) => {
      const choose = () => {
        chosen = place(one);
        showList();
      };
      return h(
        "button",
        { type: "button", class: "item", "aria-current": place(one) === chosen ? "true" : undefined, onclick: choose },
        h("span", { class: "dim" }, clock(one.time)),
        h("b", {}, one.symbol || "(no key)"),
        h("span", { class: "tags" }, one.rules.map((broken) => h("span", { class: "tag" }, broken.rule))),
      );
    }),
  ].filter(Boolean));
  if (focused) /** @type {HTMLElement | null} */ (places.list.querySelector("[aria-current]"))?.focus();
  const one = rejections.find((other) => place(other) === chosen);
  fill(places.detail, one ?? null, () => (one ? detail(one) : [h("p", { class: "dim" }, "Choose a record.")]));
}

function detail(one) {
  const source = one.source ? `${one.source.topic} ${one.source.partition}:${one.source.offset}` : "unknown";
  return [
    h("p", { class: "dim" }, `${moment(one.time)} · bad_data ${place(one)} · from ${source} · ${whole(one.value_bytes)} bytes`),
    table(
      "Evidence",
      ["Rule", "Field", "Found", "Expected"],
      one.rules.map((broken) => [
        broken.rule,
        h("code", {}, broken.field),
        h("code", { class: "bad" }, broken.found),
        h("code", { class: "up" }, broken.expected),
      ]),
    ),
    h("pre", { tabindex: "0", "aria-label": "The record's value" }, one.value ?? "no value"),
  ];
}

/** Silent symbols, and those that come to their next level soon, by the time that is left. */
function showSilent() {
  const now = serverNow();
  const at = (row) => next(row)?.at ?? Infinity;
  // Those that come to another level first, by when.
  const stale = quality.stale
    .map(timed)
    .sort((a, b) => (at(a) === at(b) ? 0 : at(a) - at(b)))
    .slice(0, SILENT_MAX);
  const more = quality.stale_count - stale.length;
  const soon = symbolRows()
    .filter((row) => row.level === null && row.seen !== null && isNear(row, now))
    .sort((a, b) => at(a) - at(b))
    .slice(0, 10);
  const said = (row) => (row.level === "error" ? "stale" : row.level === "warn" ? ["quiet", countdown(row, now)].filter(Boolean).join(", ") : countdown(row, now));
  const look = (row) => ({ class: row.level === null ? "warn" : freshnessLook(row, now) });
  const rows = [...stale, ...soon].map((row) => [
    row.symbol,
    h("span", look(row), said(row)),
    row.seen === null ? "" : duration(now - row.seen),
    moment(row.last_seen),
  ]);
  places.silent.replaceChildren(
    rows.length === 0 ? h("p", { class: "dim" }, "Every symbol is heard of.") : table("Silent symbols", ["Symbol", "State", "Silent for", "Last seen"], rows),
    more > 0 ? h("p", { class: "dim" }, `${whole(more)} more are silent: Markets, “stale”, has all.`) : "",
  );
}
