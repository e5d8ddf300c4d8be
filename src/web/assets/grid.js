// A table of thousands of rows of which only those in view are elements. It changes at most once a frame, whatever
// comes in between. To the keyboard and to screen readers it is an ARIA grid.

import { serverNow } from "./api.js";

/**
 * @typedef {object} Column
 * @property {string} id its name, also in class names
 * @property {string} label its head
 * @property {string} [hint] what it is, in more words
 * @property {(row: any, now: number) => string} text what a cell says
 * @property {(row: any, now: number) => string} [look] class names of a cell
 * @property {(a: any, b: any) => number} order which of two rows comes first
 * @property {boolean} [fallsFirst] whether the greatest come first when it is first sorted by
 */

/** Rows above and below what is in view that are kept ready. */
const SPARE_ROWS = 4;
/** An order that hangs on what changes is made anew so often. */
const ORDER_MS = 1_000;

export class Grid {
  /**
   * @param {HTMLElement} root
   * @param {{label: string, columns: Column[], sort: {column: string, falls: boolean}, open: (row: any) => void}} options
   */
  constructor(root, options) {
    this.root = root;
    this.columns = options.columns;
    this.sort = options.sort;
    this.open = options.open;
    /** @type {any[]} */
    this.all = [];
    /** @type {any[]} */
    this.rows = [];
    this.keep = (_row) => true;
    /** @type {{element: HTMLElement, cells: HTMLElement[], row: any}[]} */
    this.pool = [];
    this.active = { symbol: "", column: 0 };
    this.frame = 0;
    this.orderedAt = 0;
    this.mustOrder = true;
    /** @type {Map<string, number>} */
    this.places = new Map();
    this.view = document.createElement("div");
    this.body = document.createElement("div");
    this.empty = document.createElement("p");
    /** @type {HTMLElement[]} */
    this.heads = [];
    this.#build(options.label);
    new ResizeObserver(() => this.changed()).observe(this.view);
    setInterval(() => this.changed(), 1_000);
  }

  /** All rows; each is changed in place. @param {any[]} rows */
  setAll(rows) {
    this.all = rows;
    this.reorder();
  }

  /** Only rows that this holds for are shown. @param {(row: any) => boolean} keep */
  setFilter(keep) {
    this.keep = keep;
    this.reorder();
  }

  /** Order and filter hold no more. */
  reorder() {
    this.mustOrder = true;
    this.changed();
  }

  /** Something that may be in view has changed. */
  changed() {
    if (this.frame === 0) this.frame = requestAnimationFrame(() => this.#render());
  }

  /** The keyboard goes to this row. @param {string} symbol */
  focus(symbol) {
    this.active.symbol = symbol;
    this.#reveal();
    this.view.focus({ preventScroll: true });
    this.changed();
  }

  #build(label) {
    this.view.className = "grid-view";
    this.view.tabIndex = 0;
    this.view.setAttribute("role", "grid");
    this.view.setAttribute("aria-label", label);
    this.view.setAttribute("aria-colcount", String(this.columns.length));
    const head = document.createElement("div");
    head.className = "grid-head grid-row";
    head.setAttribute("role", "row");
    head.setAttribute("aria-rowindex", "1");
    this.heads = this.columns.map((column, at) => {
      const cell = document.createElement("div");
      cell.className = `cell col-${column.id}`;
      cell.setAttribute("role", "columnheader");
      cell.setAttribute("aria-colindex", String(at + 1));
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = column.label;
      if (column.hint) button.title = column.hint;
      button.addEventListener("click", () => this.#sortBy(column));
      cell.append(button);
      head.append(cell);
      return cell;
    });
    this.body.className = "grid-body";
    this.body.setAttribute("role", "rowgroup");
    this.empty.className = "empty";
    this.view.append(head, this.body, this.empty);
    this.root.append(this.view);
    this.view.addEventListener("scroll", () => this.changed(), { passive: true });
    this.view.addEventListener("keydown", (event) => this.#key(event));
    this.view.addEventListener("focus", () => this.changed());
    // A finger has no double click that the browser would not take for a zoom.
    let isFinger = false;
    this.body.addEventListener("pointerdown", (event) => {
      isFinger = event.pointerType === "touch";
    });
    this.body.addEventListener("click", (event) => this.#point(event, isFinger));
    this.body.addEventListener("dblclick", (event) => this.#point(event, true));
    this.#showSort();
  }

  #sortBy(column) {
    const again = this.sort.column === column.id;
    this.sort = { column: column.id, falls: again ? !this.sort.falls : Boolean(column.fallsFirst) };
    this.#showSort();
    this.reorder();
  }

  #showSort() {
    this.columns.forEach((column, at) => {
      const is = column.id === this.sort.column;
      const word = is ? (this.sort.falls ? "descending" : "ascending") : "none";
      this.heads[at].setAttribute("aria-sort", word);
    });
  }

  #order() {
    const column = this.columns.find((one) => one.id === this.sort.column) ?? this.columns[0];
    const sign = this.sort.falls ? -1 : 1;
    const byName = (a, b) => (a.symbol < b.symbol ? -1 : a.symbol > b.symbol ? 1 : 0);
    this.rows = this.all.filter(this.keep).sort((a, b) => sign * column.order(a, b) || byName(a, b));
    this.orderedAt = performance.now();
    this.mustOrder = false;
    this.places = new Map(this.rows.map((row, at) => [row.symbol, at]));
    this.view.setAttribute("aria-rowcount", String(this.rows.length + 1));
  }

  #rowHeight() {
    return this.pool[0]?.element.offsetHeight || 36;
  }

  #render() {
    this.frame = 0;
    const now = serverNow();
    if (this.mustOrder || (this.sort.column !== "symbol" && performance.now() - this.orderedAt > ORDER_MS)) this.#order();
    // Everything that is measured first, so that nothing is laid out twice.
    const height = this.#rowHeight();
    const top = this.view.scrollTop;
    const room = this.view.clientHeight;
    const first = Math.max(0, Math.floor(top / height) - SPARE_ROWS);
    const last = Math.min(this.rows.length, Math.ceil((top + room) / height) + SPARE_ROWS);
    this.#size(last - first);
    setStyle(this.body, "height", `${this.rows.length * height}px`);
    const has = document.activeElement === this.view;
    let shown = "";
    for (let index = first; index < last; index += 1) {
      // A row keeps its element for as long as it is in view, so that a step of scrolling changes few of them.
      const place = this.pool[index % this.pool.length];
      const row = this.rows[index];
      setStyle(place.element, "transform", `translateY(${index * height}px)`);
      setAttribute(place.element, "aria-rowindex", String(index + 2));
      const isActive = row.symbol === this.active.symbol;
      setAttribute(place.element, "aria-selected", String(isActive));
      place.row = row;
      this.columns.forEach((column, number) => {
        const cell = place.cells[number];
        const text = column.text(row, now);
        if (cell.textContent !== text) cell.textContent = text;
        const look = `cell col-${column.id} ${column.look?.(row, now) ?? ""}`;
        if (cell.className !== look) cell.className = look;
        const isHere = has && isActive && number === this.active.column;
        setAttribute(cell, "data-active", isHere ? "true" : null);
        if (isHere) shown = cell.id;
      });
    }
    setAttribute(this.view, "aria-activedescendant", shown || null);
    this.empty.hidden = this.rows.length > 0;
  }

  /** As many row elements as there are rows in view. */
  #size(count) {
    while (this.pool.length < count) {
      const element = document.createElement("div");
      element.className = "grid-row";
      element.setAttribute("role", "row");
      const number = this.pool.length;
      const cells = this.columns.map((column, at) => {
        const cell = document.createElement("div");
        cell.className = `cell col-${column.id}`;
        cell.id = `${this.root.id}-${number}-${at}`;
        cell.setAttribute("role", at === 0 ? "rowheader" : "gridcell");
        cell.setAttribute("aria-colindex", String(at + 1));
        element.append(cell);
        return cell;
      });
      this.body.append(element);
      this.pool.push({ element, cells, row: null });
    }
    while (this.pool.length > count) this.pool.pop()?.element.remove();
  }

  #point(event, opens) {
    const cell = event.target instanceof Element ? event.target.closest(".cell") : null;
    const place = this.pool.find((one) => cell && one.element.contains(cell));
    if (!place?.row) return;
    this.active = { symbol: place.row.symbol, column: Math.max(0, place.cells.indexOf(cell)) };
    this.changed();
    if (opens) this.open(place.row);
  }

  #key(event) {
    if (event.target !== this.view || event.ctrlKey || event.metaKey || event.altKey || this.rows.length === 0) return;
    const at = this.places.get(this.active.symbol) ?? -1;
    const page = Math.max(1, Math.floor((this.view.clientHeight - 40) / this.#rowHeight()) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page };
    if (event.key === "Enter" && at >= 0) {
      this.open(this.rows[at]);
    } else if (event.key in steps || event.key === "Home" || event.key === "End") {
      const ends = { Home: 0, End: this.rows.length - 1 };
      const to = ends[event.key] ?? Math.max(at, event.key === "ArrowDown" ? -1 : 0) + steps[event.key];
      this.active.symbol = this.rows[Math.min(this.rows.length - 1, Math.max(0, to))].symbol;
      this.#reveal();
    } else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      const to = this.active.column + (event.key === "ArrowRight" ? 1 : -1);
      this.active.column = Math.min(this.columns.length - 1, Math.max(0, to));
    } else {
      return;
    }
    event.preventDefault();
    this.changed();
  }

  #reveal() {
    const at = this.places.get(this.active.symbol);
    if (at === undefined) return;
    const height = this.#rowHeight();
    const head = this.heads[0].offsetHeight;
    const top = at * height;
    if (top < this.view.scrollTop) this.view.scrollTop = top;
    const bottom = top + height + head - this.view.clientHeight;
    if (bottom > this.view.scrollTop) this.view.scrollTop = bottom;
  }
}

/** Sets what is another. */
function setStyle(element, name, value) {
  if (element.style[name] !== value) element.style[name] = value;
}

function setAttribute(element, name, value) {
  if (element.getAttribute(name) === value) return;
  if (value === null) element.removeAttribute(name);
  else element.setAttribute(name, value);
}
