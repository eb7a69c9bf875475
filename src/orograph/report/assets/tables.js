/* Elements, numbers, sortable tables and their downloads. */

function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/* An array as Python packed it: rows of the first axis are views of one buffer. */
function unpack(array) {
  const bytes = Uint8Array.from(atob(array.data), (letter) => letter.charCodeAt(0));
  const values = array.type === "f8" ? new Float64Array(bytes.buffer) : new Float32Array(bytes.buffer);
  const length = array.shape.slice(1).reduce((a, b) => a * b, 1);
  return { shape: array.shape.slice(1), row: (i) => values.subarray(i * length, (i + 1) * length) };
}

/* What Python's registry says of a quantity; a name that it does not have is shown in words. */
const label = (quantities, name) => (quantities[name] ? quantities[name].label : name.replaceAll("_", " "));
const headingOf = (quantities, name) => (quantities[name] ? quantities[name].heading : name.replaceAll("_", " "));
const unitOf = (quantities, name) => (quantities[name] && quantities[name].units !== "1" ? ` (${quantities[name].units})` : "");
const columnsOf = (report, name) => report.tables[name].map((quantity) => ({ key: quantity.split(".").pop(), label: headingOf(report.quantities, quantity), title: label(report.quantities, quantity) }));

const finite = (value) => typeof value === "number" && Number.isFinite(value);
const number = (value) => (value === "Infinity" ? Infinity : value === "-Infinity" ? -Infinity : value);

function format(value, digits = 4) {
  if (value === null || value === undefined || value === "" || Number.isNaN(value)) return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (Array.isArray(value)) return value.map((each) => format(each)).join(", ");
  if (typeof value === "object") return Object.entries(value).map(([name, item]) => `${name} ${format(item)}`).join(", ");
  if (typeof value !== "number") return String(value).replace(/^-?Infinity$/, (text) => (text[0] === "-" ? "−∞" : "∞"));
  if (value === Infinity || value === -Infinity) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  const text = Number.isInteger(value) && size < 1e6 ? String(value)
    : size !== 0 && (size < 1e-3 || size >= 1e6) ? value.toExponential(digits - 2)
    : Number(value.toPrecision(digits)).toString();
  return text.replace("-", "−");
}

function download(name, text, type = "text/csv") {
  const link = el("a", { download: name, href: URL.createObjectURL(new Blob([text], { type })) });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function csv(columns, rows) {
  const field = (value) => {
    if (value === null || value === undefined || Number.isNaN(value)) return "";
    const text = typeof value === "object" ? JSON.stringify(value) : String(value);
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [columns, ...rows].map((row) => row.map(field).join(",")).join("\n") + "\n";
}

/* columns: {key, label, title, digits}; rows: mappings, `bad` marks a failure. The file holds `all` columns, in full precision. */
function table(parent, { title, name, columns, rows, all = null, note = "" }) {
  const numeric = Object.fromEntries(columns.map(({ key }) => [key, rows.some((row) => finite(number(row[key])))]));
  const body = el("tbody");
  let order = rows.slice();
  const fill = () => body.replaceChildren(...order.map((row) => el("tr", { class: row.bad ? "bad" : null }, columns.map(({ key, digits }) =>
    el("td", { class: numeric[key] ? "number" : "text" }, format(row[key], digits))))));
  const heads = columns.map(({ key, label, title: hint }) => {
    const head = el("th", { scope: "col", "aria-sort": "none", class: numeric[key] ? "number" : null });
    head.append(el("button", { type: "button", title: hint || null, onclick: () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((each) => each.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const known = (value) => !(value === null || value === undefined || value === "" || Number.isNaN(value));
      order = rows.slice().sort((a, b) => {
        const [x, y] = [number(a[key]), number(b[key])];
        if (!known(x) || !known(y)) return known(y) - known(x);
        const sign = typeof x === "number" && typeof y === "number" ? x - y
          : format(x).localeCompare(format(y), undefined, { numeric: true });
        return up ? sign : -sign;
      });
      fill();
    } }, label));
    return head;
  });
  const keys = all || columns.map(({ key }) => key);
  const file = `${name}.csv`;
  const save = () => download(file, csv(keys, rows.map((row) => keys.map((key) => row[key]))));
  fill();
  const box = el("div", { class: "table" },
    el("div", { class: "tablehead" }, el("h3", {}, title),
      el("button", { type: "button", class: "csv", onclick: save, "aria-label": `download ${file}` }, `↓ ${file}`)),
    note ? el("p", { class: "note" }, note) : null,
    el("div", { class: "scroller", tabindex: "0", role: "region", "aria-label": title },
      el("table", {}, el("thead", {}, el("tr", {}, heads)), body)));
  parent.append(box);
  return box;
}

/* Work that is done when its place comes near the window. */
const waiting = new Map();
const nearby = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    const work = waiting.get(entry.target);
    waiting.delete(entry.target);
    nearby.unobserve(entry.target);
    if (work) work();
  }
}, { rootMargin: "250px" });
function whenNear(node, work) {
  waiting.set(node, work);
  nearby.observe(node);
}

/* A section of the page, listed in the navigation. */
function section(id, title, note = "") {
  const node = el("section", { id, "aria-labelledby": `${id}-title` }, el("h2", { id: `${id}-title` }, title),
    note ? el("p", { class: "note" }, note) : null);
  document.querySelector("main").append(node);
  document.querySelector("nav").append(el("a", { href: `#${id}` }, title));
  return node;
}

function facts(parent, pairs) {
  parent.append(el("div", { class: "facts" }, pairs.map(([label, value]) => el("div", { class: "fact" }, el("b", {}, value), el("span", {}, label)))));
}

function notices(parent, items) {
  parent.append(el("ul", { class: "notices" }, items.map(([kind, text]) => el("li", { class: kind }, text))));
}

function about(sections) {
  const node = section("about", "Settings and machine", "All that defines the run, and where it was made.");
  node.append(el("div", { class: "about" }, sections.map(({ name, facts: pairs }) => el("div", {}, el("h3", {}, name),
    el("dl", {}, pairs.flatMap(([label, value]) => [el("dt", {}, label), el("dd", {}, value)]))))));
}

function choice(label, options, chosen, change) {
  const select = el("select", { onchange: () => change(select.value) },
    options.map(([value, text]) => el("option", { value, selected: value === chosen }, text)));
  return el("label", {}, label, select);
}
