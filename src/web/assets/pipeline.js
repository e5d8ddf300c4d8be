// The Pipeline view: instances, what they own, how far behind they are.

import { ask } from "./api.js";
import { figure, fill, h, table } from "./dom.js";
import { bytes, compact, moment, seconds, whole } from "./format.js";

const view = /** @type {HTMLElement} */ (document.getElementById("pipeline"));
const ROLES = ["ingest", "process", "sink"];
const COLOURS = 7;
let asking = false;
let again = false;

const places = Object.fromEntries(["figures", "flow", "instances", "partitions", "details"].map((name) => [name, h("div", { class: `p-${name}` })]));

function build() {
  const card = (title, ...inside) => h("section", { class: "card" }, h("h2", {}, title), ...inside);
  view.append(
    places.figures,
    places.flow,
    card("Instances", places.instances),
    card("Partitions of staging, by owner", places.partitions),
    places.details,
  );
}

/** Something has changed. */
export function pipelineChanged() {
  if (!view.hidden && view.hasChildNodes()) void load();
}

/** The view is shown. */
export function showPipeline() {
  if (!view.hasChildNodes()) build();
  void load();
}

async function load() {
  again = asking;
  if (asking) return;
  asking = true;
  try {
    show(await ask("/v1/pipeline"));
  } catch (error) {
    places.figures.replaceChildren(h("p", { class: "bad" }, `No answer: ${error.message}`));
  } finally {
    asking = false;
    if (again) setTimeout(() => void load(), 500);
  }
}

const sum = (instances, name) => {
  const all = instances.map((one) => one.numbers[name]).filter((one) => one !== undefined);
  return all.length === 0 ? undefined : all.reduce((a, b) => a + b, 0);
};
const most = (instances, name) => {
  const all = instances.map((one) => one.numbers[name]).filter((one) => one !== undefined);
  return all.length === 0 ? undefined : Math.max(...all);
};
const shown = (number, how = whole) => (number === undefined ? "–" : how(number));

function show({ instances, partitions }) {
  const gates = instances.filter((one) => one.role === "process");
  const up = instances.filter((one) => one.is_up).length;
  const lag = sum(gates, "lag_records");
  const unowned = partitions.filter((one) => one.owner === null).length;
  const figures = [
    ["records/s", shown(sum(gates, "records_per_second"))],
    ["rounds/s", shown(sum(gates, "rounds_per_second"), (n) => n.toFixed(1))],
    ["append to commit, p50", seconds(most(gates, "latency_p50_seconds"))],
    ["p99", seconds(most(gates, "latency_p99_seconds"))],
    ["lag", shown(lag), lag > 10_000 ? "warn" : ""],
    ["instances up", `${up} of ${instances.length}`, up < instances.length ? "bad" : "up"],
    ["partitions without owner", whole(unowned), unowned > 0 ? "bad" : ""],
  ];
  fill(places.figures, figures, () => figures.map(([name, value, look]) => figure(name, value, look)));
  showFlow(instances);
  showInstances(instances);
  showPartitions(partitions, gates);
  showDetails(instances);
}

/** ok, warn, bad or none: how the instances of a role are. */
function state(instances) {
  if (instances.length === 0) return "none";
  if (instances.every((one) => !one.is_up)) return "bad";
  return instances.every((one) => one.is_ready) ? "ok" : "warn";
}

const topic = (name) => h("span", { class: "topic" }, name);
const arrow = () => h("span", { class: "arrow", "aria-hidden": "true" }, "→");

function showFlow(instances) {
  const of = (role) => instances.filter((one) => one.role === role);
  const words = { ok: "ready", warn: "a part waits", bad: "down", none: "not watched" };
  const steps = ROLES.map((role) => {
    const mine = of(role);
    const how = state(mine);
    const rates = { ingest: sum(mine, "ingest_trades_per_second"), process: sum(mine, "records_per_second"), sink: sum(mine, "sink_rows_per_second") };
    return { role, how, words: words[how], count: mine.filter((one) => one.is_up).length, rate: rates[role] };
  });
  fill(places.flow, steps.map((step) => ({ ...step, rate: shown(step.rate) })), () =>
    [
      topic("feed"),
      ...steps.flatMap((step, at) => [
        arrow(),
        h(
          "div",
          { class: `card step ${step.how}` },
          h("b", {}, step.role),
          h("span", { class: "dim" }, step.how === "none" ? step.words : `${step.count} up · ${step.words}`),
          step.rate === undefined ? null : h("span", {}, `${whole(step.rate)}/s`),
        ),
        arrow(),
        topic(["staging", "stock_data", "Cassandra"][at]),
      ]),
    ],
  );
}

function showInstances(instances) {
  const order = (one) => [...ROLES, "serve", "unknown"].indexOf(one.role);
  const rows = [...instances].sort((a, b) => order(a) - order(b) || (a.name < b.name ? -1 : 1));
  const n = (one, name, how) => shown(one.numbers[name], how);
  fill(places.instances, rows, () => [
    table(
      "Instances",
      ["State", "Role", "Name", "Address", "Partitions", "Records/s", "p50", "p99", "Lag", "Replica lag", "Memory"],
      rows.map((one) => {
        const rate = one.numbers.records_per_second ?? one.numbers.sink_rows_per_second ?? one.numbers.ingest_trades_per_second;
        const lag = one.numbers.lag_records ?? one.numbers.sink_lag_records;
        const said = !one.is_up
          ? h("span", { class: "state bad", title: one.error ?? "" }, `down: ${one.error}`)
          : one.waits_for
            ? h("span", { class: "state warn", title: one.waits_for }, `waits: ${one.waits_for}`)
            : h("span", { class: "state up" }, "ready");
        return [
          said,
          one.role,
          one.name === one.address ? "" : one.name,
          h("code", {}, one.address),
          one.role === "process" && one.is_up ? whole(one.partitions.length) : "",
          shown(rate),
          one.numbers.latency_p50_seconds === undefined ? "" : seconds(one.numbers.latency_p50_seconds),
          one.numbers.latency_p99_seconds === undefined ? "" : seconds(one.numbers.latency_p99_seconds),
          shown(lag),
          one.role === "process" ? n(one, "replica_lag_records") : "",
          one.is_up ? n(one, "memory_bytes", bytes) : `last answer ${moment(one.answered_at)}`,
        ];
      }),
    ),
  ]);
}

function showPartitions(partitions, gates) {
  const owners = gates.map((one) => one.name).sort();
  const colour = (owner) => (owner === null ? "none" : `c${Math.min(owners.indexOf(owner), COLOURS)}`);
  const cells = partitions.map((one) => ({ ...one, oldest_copy_ms: undefined }));
  fill(places.partitions, cells, () => [
    h(
      "ul",
      { class: "map" },
      cells.map((one) => {
        const title = [
          `partition ${one.partition}`,
          one.owner ? `owner ${one.owner}, worker ${one.worker}, ${one.phase}` : "no owner",
          one.transactional_id,
          one.lag === null ? null : `lag ${whole(one.lag)}`,
          `next ${one.next_offset ?? "–"}, end ${one.end_offset ?? "–"}`,
          `${one.copies} ${one.copies === 1 ? "copy" : "copies"} of its state`,
        ];
        const lag = one.lag === null ? "" : compact(one.lag);
        const phase = one.phase === "running" ? "" : one.phase;
        // Colour and title are not for everybody: the same as a text.
        const words = title.filter(Boolean);
        return h(
          "li",
          { class: colour(one.owner), title: words.join("\n"), "data-owner": one.owner ?? "" },
          h("b", { "aria-hidden": "true" }, String(one.partition)),
          h("span", { "aria-hidden": "true" }, phase || `lag ${lag}`),
          h("span", { class: "unseen" }, words.join(", ")),
        );
      }),
    ),
    h("p", { class: "key" }, owners.map((owner) => h("span", {}, h("i", { class: colour(owner) }), owner)), h("span", {}, h("i", { class: "none" }), "no owner")),
  ]);
}

function showDetails(instances) {
  const lines = (role, names) =>
    instances
      .filter((one) => one.role === role && one.is_up)
      .map((one) =>
        h("section", { class: "card" }, h("h2", {}, `${role} ${one.name}`), h("dl", { class: "facts" }, names.map(([name, number, how]) => h("div", {}, h("dt", {}, name), h("dd", {}, shown(one.numbers[number], how)))))),
      );
  const yes = (number) => (number ? "yes" : "no");
  fill(places.details, instances.map((one) => [one.role, one.name, one.is_up, one.numbers]), () => [
    ...lines("process", [
      ["restoring partitions", "restoring_partitions"],
      ["rows left to restore", "restore_remaining_rows"],
      ["rows restored", "restored_rows"],
      ["replica partitions", "replica_partitions"],
      ["rebalances", "rebalances"],
      ["rounds aborted", "rounds_failed"],
      ["owners fenced", "fenced"],
      ["symbols", "symbols"],
      ["store", "store_bytes", bytes],
    ]),
    ...lines("sink", [
      ["rows/s", "sink_rows_per_second"],
      ["writes under way", "sink_in_flight_writes"],
      ["write, p99", "sink_write_p99_seconds", seconds],
      ["dead letters", "sink_refused"],
      ["held back", "sink_held", yes],
      ["lag", "sink_lag_records"],
    ]),
    ...lines("ingest", [
      ["trades/s", "ingest_trades_per_second"],
      ["connected", "ingest_connected", yes],
      ["under way", "ingest_in_flight_records"],
    ]),
  ]);
}
