// Elements. Whatever is put into one is text.

/**
 * An element with attributes and children; what is undefined, null or false is left out.
 * @param {string} tag @param {Record<string, any>} attributes @param {...any} children
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

/** The same in SVG. @param {string} tag @param {Record<string, any>} attributes @param {...any} children */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children.flat());
  return element;
}

/** What was last put into a place, so that the same is not put there again. @type {WeakMap<Element, string>} */
const shown = new WeakMap();

/**
 * Makes the children of a place anew, unless they would come out the same.
 * @param {Element} place @param {unknown} from all that the children are made of @param {() => any[]} make
 */
export function fill(place, from, make) {
  const key = JSON.stringify(from);
  if (shown.get(place) === key) return;
  shown.set(place, key);
  place.replaceChildren(...make());
}

/** A figure with its name. @param {string} name @param {string} value @param {string} [look] */
export function figure(name, value, look = "") {
  return h("div", { class: "card figure" }, h("span", { class: "name" }, name), h("strong", { class: look }, value));
}

/** A table. @param {string} caption @param {string[]} heads @param {any[][]} rows cells, as texts or elements */
export function table(caption, heads, rows) {
  return h(
    "table",
    {},
    h("caption", { class: "unseen" }, caption),
    h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))),
    h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map((cell) => h("td", {}, cell))))),
  );
}
