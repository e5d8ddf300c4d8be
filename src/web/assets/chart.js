// The chart of one symbol: its past, and what comes, as candles or a line, with volume, and silence drawn as such.

import { ask, serverNow } from "./api.js";
import { h } from "./dom.js";
import { change, compact, duration, moment } from "./format.js";
import { freshness, freshnessLook } from "./freshness.js";
import {
  CandlestickSeries,
  ColorType,
  createChart,
  HistogramSeries,
  LineSeries,
  LineStyle,
} from "./vendor/lightweight-charts.js";

/** What was drawn live is put right by the server so often: between two frames there may be more than one quote. */
const REFRESH_MS = 15_000;
/** So many steps without a quote are drawn as a gap. */
const GAP_STEPS = 3;
/** Empty steps that are drawn at most. */
const EMPTY_MAX = 5_000;

const element = (id) => /** @type {HTMLElement} */ (document.getElementById(id));
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

let range = "1h";
let kind = "candles";
/** @type {Panel | undefined} */
let panel;

/**
 * Opens the panel; at most one is open.
 * @param {any} row
 * @param {() => any} now the row as it is now
 */
export function openChart(row, now) {
  panel = new Panel(row, now);
  return panel;
}

for (const button of element("ranges").querySelectorAll("button")) {
  button.addEventListener("click", () => {
    range = button.dataset.range ?? range;
    panel?.load();
  });
}
for (const button of element("kinds").querySelectorAll("button")) {
  button.addEventListener("click", () => {
    kind = button.dataset.kind ?? kind;
    panel?.draw();
  });
}

function press(group, name, value) {
  for (const button of element(group).querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button.dataset[name] === value));
  }
}

class Panel {
  constructor(row, now) {
    this.symbol = row.symbol;
    this.now = now;
    this.history = undefined;
    this.asked = 0;
    /** @type {import("./vendor/lightweight-charts.js").IChartApi | undefined} */
    this.chart = undefined;
    element("panel-symbol").textContent = row.symbol;
    this.live(row);
    this.load();
    this.refreshing = setInterval(() => this.load(true), REFRESH_MS);
    this.ageing = setInterval(() => this.facts(), 1_000);
    this.themed = () => this.draw();
    document.addEventListener("themechange", this.themed);
  }

  close() {
    clearInterval(this.refreshing);
    clearInterval(this.ageing);
    document.removeEventListener("themechange", this.themed);
    this.asked = -1;
    this.chart?.remove();
    this.chart = this.price = this.volume = this.silence = undefined;
    if (panel === this) panel = undefined;
  }

  /** Asks for the past, and draws it; quietly where it only puts right what is drawn. */
  async load(quietly = false) {
    press("ranges", "range", range);
    const path = `/v1/markets/${encodeURIComponent(this.symbol)}`;
    const query = `range=${range}`;
    element("panel-csv").setAttribute("href", `${path}/history.csv?${query}`);
    const question = (this.asked += 1);
    try {
      const history = await ask(`${path}/history?${query}`);
      if (question !== this.asked) return;
      const same = quietly && this.history?.step_s === history.step_s;
      this.history = history;
      if (same) this.fill();
      else this.draw();
    } catch (error) {
      if (question === this.asked) element("panel-note").textContent = `No chart: ${error.message}`;
    }
  }

  /** Draws everything anew. */
  draw() {
    press("kinds", "kind", kind);
    if (!this.history) return;
    this.chart?.remove();
    const chart = createChart(element("chart"), {
      autoSize: true,
      layout: {
        background: { type: ColorType.Solid, color: "transparent" },
        textColor: color("--dim"),
        fontFamily: getComputedStyle(document.body).fontFamily,
        // The link at the foot of the page stands for it: the logo would need a style in the page.
        attributionLogo: false,
      },
      grid: { vertLines: { color: color("--line") }, horzLines: { color: color("--line") } },
      rightPriceScale: { borderColor: color("--line"), scaleMargins: { top: 0.08, bottom: 0.26 } },
      timeScale: { borderColor: color("--line"), timeVisible: true, maxBarSpacing: 22, rightOffset: 2, secondsVisible: this.history.step_s < 60 },
      crosshair: { vertLine: { labelBackgroundColor: color("--accent") }, horzLine: { labelBackgroundColor: color("--accent") } },
    });
    this.chart = chart;
    this.silence = chart.addSeries(HistogramSeries, {
      priceScaleId: "silence",
      lastValueVisible: false,
      priceLineVisible: false,
      autoscaleInfoProvider: () => ({ priceRange: { minValue: 0, maxValue: 1 } }),
    });
    chart.priceScale("silence").applyOptions({ scaleMargins: { top: 0, bottom: 0 } });
    this.volume = chart.addSeries(HistogramSeries, {
      priceScaleId: "volume",
      priceFormat: { type: "volume" },
      lastValueVisible: false,
      priceLineVisible: false,
    });
    chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.8, bottom: 0 } });
    const places = decimals(this.now().last_price);
    /** @type {import("./vendor/lightweight-charts.js").PriceFormat} */
    const priceFormat = { type: "price", precision: places, minMove: 1 / 10 ** places };
    this.price =
      kind === "line"
        ? chart.addSeries(LineSeries, { color: color("--accent"), lineWidth: 2, priceFormat })
        : chart.addSeries(CandlestickSeries, {
            upColor: color("--up"),
            downColor: color("--down"),
            wickUpColor: color("--up"),
            wickDownColor: color("--down"),
            borderVisible: false,
            priceFormat,
          });
    this.price.applyOptions({ priceLineStyle: LineStyle.Dotted });
    chart.subscribeCrosshairMove((move) => this.tell(move.time === undefined ? undefined : this.at(move.time)));
    this.fill();
    chart.timeScale().fitContent();
  }

  /** Puts the bars into what is drawn. */
  fill() {
    if (!this.price || !this.volume || !this.silence) return;
    const { bars, step_s: step } = this.history;
    this.bars = new Map(bars.map((bar) => [bar.time, bar]));
    this.last = bars.at(-1);
    const prices = [];
    const volumes = [];
    const silences = [];
    const reported = this.history.silences.map((one) => ({
      from: Date.parse(one.from) / 1000,
      to: one.to ? Date.parse(one.to) / 1000 : Infinity,
    }));
    const isReported = (time) => reported.some((one) => time > one.from && time < one.to);
    let empty = [];
    // Empty steps belong to this series alone: a live quote may fall into one, and a series only grows at its end.
    const endGap = () => {
      const isGap = empty.length >= GAP_STEPS;
      for (const time of empty) {
        if (isReported(time)) silences.push({ time, value: 1, color: color("--silent") });
        else if (isGap) silences.push({ time, value: 1, color: color("--gap") });
        else silences.push({ time });
      }
      empty = [];
    };
    const end = Math.floor(serverNow() / 1000 / step) * step;
    const first = bars[0]?.time ?? end;
    const fills = (end - first) / step <= EMPTY_MAX;
    let time = first;
    for (const bar of bars) {
      for (; fills && time < bar.time; time += step) empty.push(time);
      endGap();
      prices.push(this.drawn(bar));
      volumes.push(this.drawnVolume(bar));
      time = bar.time + step;
    }
    for (; fills && time < end; time += step) empty.push(time);
    this.emptyTo = empty.at(-1);
    endGap();
    this.price.setData(prices);
    this.volume.setData(volumes);
    this.silence.setData(silences);
    this.tell(undefined);
    const parts = [this.history.note, `steps of ${duration(step * 1000)}`, "times in UTC", silenceWords(this.history.silences)];
    const note = parts.filter(Boolean).join(" · ");
    element("panel-note").textContent = bars.length > 0 ? note : `No quotes in this range. ${note}`;
    element("chart").setAttribute("aria-label", this.words());
  }

  drawn(bar) {
    const [open, high, low, close] = [bar.open, bar.high, bar.low, bar.close].map(Number);
    return kind === "line" ? { time: bar.time, value: close } : { time: bar.time, open, high, low, close };
  }

  drawnVolume(bar) {
    const rose = Number(bar.close) >= Number(bar.open);
    return { time: bar.time, value: Number(bar.volume), color: rose ? color("--up-soft") : color("--down-soft") };
  }

  at(time) {
    return this.bars?.get(time);
  }

  /** A change of the symbol. */
  live(row) {
    if (row.symbol !== this.symbol) return;
    element("panel-price").textContent = row.last_price ?? "–";
    const shown = element("panel-change");
    shown.textContent = row.change_hour === null ? "" : `${change(row.change_hour)} in 1 h`;
    shown.className = row.change_hour > 0 ? "up" : row.change_hour < 0 ? "down" : "";
    this.facts();
    if (!this.price || !this.volume || !this.history || row.price === null || row.seen === null) return;
    const step = this.history.step_s;
    const time = Math.floor(row.seen / 1000 / step) * step;
    if (this.last && time < this.last.time) return;
    const added = Math.max(0, row.volume - (this.volumeSeen ?? row.volume));
    this.volumeSeen = row.volume;
    if (!this.last || time > this.last.time) {
      const price = row.last_price;
      this.last = { time, open: price, high: price, low: price, close: price, volume: added, quotes: 1 };
      this.history.bars.push(this.last);
      this.bars?.set(time, this.last);
      // What was drawn as empty is so no more.
      if (this.emptyTo !== undefined && time <= this.emptyTo) {
        this.fill();
        return;
      }
    } else {
      const last = this.last;
      last.close = row.last_price;
      last.high = greater(last.high, row.last_price);
      last.low = lesser(last.low, row.last_price);
      last.volume = Number(last.volume) + added;
    }
    this.price.update(this.drawn(this.last));
    this.volume.update(this.drawnVolume(this.last));
    this.tell(undefined);
  }

  /** What the table has no room for beside the chart, or on a small screen. */
  facts() {
    const row = this.now();
    const now = serverNow();
    const facts = [
      ["Last seen", row.seen === null ? "–" : duration(now - row.seen), ""],
      ["Freshness", freshness(row, now), freshnessLook(row, now)],
      ["Day", change(row.change_day) || "–", row.change_day > 0 ? "up" : row.change_day < 0 ? "down" : ""],
      ["Volume", compact(row.volume), ""],
      ["Suspect", row.marks.join(", ") || "–", row.marks.length > 0 ? "warn" : ""],
    ];
    element("panel-facts").replaceChildren(
      ...facts.map(([name, text, look]) => h("div", {}, h("dt", {}, name), h("dd", { class: look }, text))),
    );
  }

  /** The numbers of a bar, or of the last one; of prices every digit. */
  tell(bar) {
    const one = bar ?? this.last;
    if (!one) return;
    const { open, high, low, close } = one;
    const time = moment(new Date(one.time * 1000).toISOString());
    element("legend").textContent = `${time}   O ${open}  H ${high}  L ${low}  C ${close}  V ${compact(Number(one.volume))}`;
  }

  /** The chart for those who don't see it. */
  words() {
    const bars = this.history.bars;
    if (bars.length === 0) return `${this.symbol}: no quotes in this range`;
    const low = bars.map((bar) => bar.low).reduce(lesser);
    const high = bars.map((bar) => bar.high).reduce(greater);
    return `${this.symbol}, range ${range}: from ${bars[0].open} to ${bars.at(-1).close}, lowest ${low}, highest ${high}`;
  }
}

/** Of two prices with all their digits the greater one, as floats tell. @param {string} a @param {string} b */
const greater = (a, b) => (Number(b) > Number(a) ? b : a);

/** The lesser one. @param {string} a @param {string} b */
const lesser = (a, b) => (Number(b) < Number(a) ? b : a);

/** Places behind the point of an exact price; a chart shows eight at most. */
function decimals(price) {
  const places = price?.split(".")[1]?.length ?? 2;
  return Math.min(8, Math.max(2, places));
}

function silenceWords(silences) {
  if (silences.length === 0) return "";
  const last = silences.at(-1);
  return last.to ? `last silence ${moment(last.from)} to ${moment(last.to)}` : `silent since ${moment(last.from)}`;
}
