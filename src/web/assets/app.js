// The page: which view is shown, how the parts are, light or dark.

import { attempt, listen } from "./api.js";
import { followAddress, loadMarkets, marketsChanged, marketsStatus, startMarkets } from "./markets.js";
import { pipelineChanged, showPipeline } from "./pipeline.js";
import { qualityChanged, showQuality } from "./quality.js";

const VIEWS = ["markets", "quality", "pipeline"];
const element = (id) => /** @type {HTMLElement} */ (document.getElementById(id));
let isLive = false;

function route() {
  const wanted = location.hash.split("/")[1] ?? "";
  const view = VIEWS.includes(wanted) ? wanted : "markets";
  for (const name of VIEWS) element(name).hidden = name !== view;
  for (const link of document.querySelectorAll("[data-view]")) {
    if (/** @type {HTMLElement} */ (link).dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${view[0].toUpperCase()}${view.slice(1)} · tickgate`;
  if (view === "markets") followAddress();
  else if (view === "quality") showQuality();
  else showPipeline();
}

function showLink(state, words) {
  const link = element("link");
  link.dataset.state = state;
  const text = /** @type {HTMLElement} */ (link.lastElementChild);
  if (text.textContent !== words) text.textContent = words;
}

function showStatus(status) {
  const parts = [];
  if (status.waits_for) parts.push(...status.waits_for.split("\n"));
  for (const one of status.instances_down) {
    const role = one.role === "unknown" ? "an instance" : one.role;
    parts.push(`${role} at ${one.address} does not answer: ${one.error}`);
  }
  const notice = element("notice");
  notice.hidden = parts.length === 0;
  const words = parts.join("\n");
  if (notice.textContent !== words) notice.textContent = words;
  if (isLive) showLink(parts.length === 0 ? "live" : "warn", parts.length === 0 ? "live" : "a part is down");
  const since = status.read_since ? `read from ${status.read_since.slice(0, 16).replace("T", " ")}Z on` : "the newest records read";
  element("about").textContent = `tickgate ${status.version} · group ${status.settings.group} · ${since} · charts from ${status.settings.history}`;
  if (status.records_left_out > 0) element("about").textContent += ` · no room for ${status.records_left_out} records of more symbols`;
}

function startTheme() {
  const root = document.documentElement;
  const known = localStorage.getItem("theme");
  if (known) root.dataset.theme = known;
  element("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    localStorage.setItem("theme", root.dataset.theme);
    document.dispatchEvent(new Event("themechange"));
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.dispatchEvent(new Event("themechange")));
}

startTheme();
startMarkets();
addEventListener("hashchange", route);
route();
listen({
  opened: () => void loadMarkets().catch((error) => showLink("lost", error.message)),
  state: (state) => {
    isLive = state === "live";
    showLink(isLive ? "live" : "lost", isLive ? "live" : "connection lost");
  },
  status: (status) => {
    attempt(() => marketsStatus(status));
    attempt(() => showStatus(status));
  },
  markets: marketsChanged,
  quality: qualityChanged,
  pipeline: pipelineChanged,
});
