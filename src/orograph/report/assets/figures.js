/* Figures: drawn when they come near, redrawn with the theme, hovered and zoomed together where they share the axis of λ. */

const figures = [];
const dark = () => document.documentElement.dataset.theme === "dark";
/* Okabe and Ito's colours; in the dark theme lighter ones of the same hues. Dashes and markers tell series apart as well. */
const LIGHT = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8A6A00", "#56B4E9", "#333333"];
const DARK = ["#6BB8EE", "#FF9A4D", "#3ED1A4", "#EFA6CB", "#F0D24C", "#A9C8FF", "#E8E8E8"];
const colours = () => (dark() ? DARK : LIGHT);
const colour = (i) => colours()[i % 7];
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash"];
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "x", "cross", "star"];
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const CIVIDIS = [[0, 32, 76], [0, 52, 110], [57, 72, 107], [87, 92, 109], [112, 113, 115], [138, 134, 120], [166, 157, 117], [196, 182, 108], [228, 207, 91], [255, 234, 70]];
function ramp(t) {
  const place = (dark() ? 0.25 + 0.75 * (1 - t) : 0.86 * t) * (CIVIDIS.length - 1);
  const low = Math.min(Math.floor(place), CIVIDIS.length - 2);
  const mix = CIVIDIS[low].map((value, i) => Math.round(value + (place - low) * (CIVIDIS[low + 1][i] - value)));
  return `rgb(${mix.join(",")})`;
}

/* From what lowers to what raises, through nothing. */
const diverging = () => (dark() ? [[0, "#ff9a4d"], [0.5, "#22262c"], [1, "#6bb8ee"]] : [[0, "#b35806"], [0.5, "#f7f7f7"], [1, "#0a5fa5"]]);

function axis(title, extra = {}) {
  return { title: { text: title, font: { size: 12 }, standoff: 6 }, gridcolor: css("--grid"), linecolor: css("--line"), zerolinecolor: css("--line"),
    automargin: true, tickfont: { size: 11 }, exponentformat: "power", ...(extra.type === "log" ? { tickformat: "~g" } : {}), ...extra };
}

/* Over several decades only powers of ten have room for their labels. */
const decades = (span) => (span > 2 ? { dtick: Math.ceil(span / 6) } : {});

/* And of values over more than a decade 1, 2 and 5; on less than that all of these may be outside. */
const ticksOver = (span) => (span > 3 ? { ...decades(span), tickformat: "" } : span > 1 ? { dtick: "D2" } : {});

function logarithmic(data, title) {
  const known = data.flatMap((trace) => Array.from(trace.y)).filter((value) => finite(value) && value > 0).map(Math.log10);
  const [low, high] = known.reduce(([least, most], value) => [Math.min(least, value), Math.max(most, value)], [Infinity, -Infinity]);
  const span = known.length ? high - low : 0;
  return axis(title, { type: "log", minor: { showgrid: false }, ...ticksOver(span) });
}

/* The axis of a ladder that is logarithmic but for its beginning: decades, and what stands in the place of 0. */
function stretchedAxis(ladder, place) {
  const [first, last] = [ladder.find((value) => value > 0), ladder[ladder.length - 1]];
  const powers = [];
  for (let power = Math.ceil(Math.log10(first)); power <= Math.log10(last) + 1e-9; power += 1) powers.push(10 ** power);
  const shown = ladder[0] === 0 ? [0, ...powers] : powers;
  const between = powers.flatMap((value) => [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 2, 3, 4, 5, 6, 7, 8, 9].map((factor) => factor * value)).filter((value) => value >= first && value <= last);
  return { type: "log", tickmode: "array", tickvals: shown.map(place), ticktext: shown.map((value) => format(value)), minor: { showgrid: false, tickmode: "array", tickvals: between, ticks: "outside", ticklen: 3, tickcolor: css("--line") } };
}

/* Zoomed into less than a decade or so such an axis has ticks as any. */
function ticksWithin(zoom, whole) {
  const range = zoom["xaxis.range"];
  return { "xaxis.tickmode": range && range[1] - range[0] < 1.2 ? "auto" : whole.tickmode };
}

function layout(extra) {
  return { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: css("--text"), family: "system-ui, DejaVu Sans, sans-serif", size: 12 },
    margin: { l: 48, r: 12, t: 10, b: 40 }, hovermode: "x unified", dragmode: "zoom", legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, font: { size: 11 } },
    hoverlabel: { bgcolor: css("--panel"), bordercolor: css("--line"), font: { color: css("--text"), size: 12 } },
    modebar: { bgcolor: css("--panel"), color: css("--quiet"), activecolor: css("--text") }, ...extra };
}

/* The buttons of a figure are for a mouse: where nothing hovers Plotly would leave them standing over it. */
const buttons = () => (window.innerWidth > 600 && window.matchMedia("(hover: hover)").matches ? "hover" : false);

/* Names may come from elsewhere: what Plotly would make a link of is shown as it is written. */
function unlinked(value) {
  if (typeof value === "string") return value.replace(/<(?=[\s/]*a\b)/gi, "&lt;");
  if (Array.isArray(value)) return value.length && value.every((each) => typeof each === "number") ? value : value.map(unlinked);
  if (value && Object.getPrototypeOf(value) === Object.prototype) return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, unlinked(each)]));
  return value;
}

const CONFIG = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["sendChartToCloud", "sendDataToCloud", "select2d", "lasso2d", "autoScale2d"], toImageButtonOptions: { format: "svg" } };

/* draw() gives {data, layout} and a title if it changes; options: height, controls (elements), linked (shares λ), eager (drawn at once). */
function figure(parent, title, note, draw, options = {}) {
  const heading = el("h3", {}, title);
  const plot = el("div", { class: "plot", style: `height:${options.height || 330}px` });
  const node = el("figure", { role: "group", "aria-label": title }, el("div", { class: "head" }, heading, options.controls || null), plot,
    note ? el("figcaption", {}, note) : null);
  parent.append(node);
  const one = { plot, node, linked: options.linked || false, drawn: false, cursor: options.cursor };
  one.update = () => {
    if (!one.drawn || typeof Plotly === "undefined") return;
    const { data, layout: own, title: now } = draw();
    if (now) heading.textContent = now;
    if (one.linked && one.cursor) own.shapes = [...(own.shapes || []), ...one.cursor()];
    Plotly.react(plot, unlinked(data), layout(unlinked(own)), { ...CONFIG, displayModeBar: buttons() });
  };
  one.show = () => {
    if (one.drawn) return;
    one.drawn = true;
    waiting.delete(plot);
    if (typeof Plotly !== "undefined") one.begin(); // else when the page stands
  };
  one.begin = () => {
    if (typeof Plotly === "undefined") {
      if (options.eager) sketch(plot, draw());
      return;
    }
    plot.replaceChildren();
    one.update();
    if (one.linked) link(one, options.onpick, options.ticks);
  };
  figures.push(one);
  if (options.eager) one.show();
  else whenNear(plot, one.show);
  return one;
}

/* Until plotly.js, which takes a second to load, is there: the curves of a figure and its axes as plain SVG. */
function sketch(plot, { data, layout: own }) {
  const curves = data.filter((trace) => trace.type === "scatter" && (trace.mode || "").includes("lines") && trace.x.every(finite));
  const points = curves.flatMap((trace) => trace.x.map((x, i) => [x, trace.y[i]]).filter(([, y]) => finite(y)));
  if (!points.length || own.yaxis.type === "log") return;
  const [width, height] = [plot.clientWidth || 600, plot.clientHeight || 330];
  const span = (k) => points.reduce(([low, high], point) => [Math.min(low, point[k]), Math.max(high, point[k])], [Infinity, -Infinity]);
  const place = ([low, high], from, to) => (value) => from + ((to - from) * (value - low)) / (high - low || 1);
  const [along, back] = own.xaxis.type === "log" ? [Math.log10, (value) => 10 ** value] : [(value) => value, (value) => value];
  const [across, up] = [own.xaxis.range || span(0).map(along), span(1)];
  const level = place(across, 52, width - 12);
  const x = (value) => level(along(value));
  const y = place(up, height - 40, 34);
  const svg = (tag, attributes, text = "") => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    Object.entries(attributes).forEach(([name, value]) => node.setAttribute(name, value));
    node.textContent = text;
    return node;
  };
  const root = svg("svg", { width, height, class: "sketch", role: "img", "font-size": 11, fill: css("--quiet") });
  for (let i = 0; i <= 4; i += 1) {
    const [a, b] = [across, up].map(([low, high]) => low + (i / 4) * (high - low));
    root.append(svg("line", { x1: 52, x2: width - 12, y1: y(b), y2: y(b), stroke: css("--grid") }),
      svg("text", { x: 46, y: y(b) + 4, "text-anchor": "end" }, format(Number(b.toPrecision(3)))),
      svg("text", { x: level(a), y: height - 22, "text-anchor": "middle" }, format(Number(back(a).toPrecision(2)))));
  }
  for (const trace of curves) {
    const path = trace.x.map((at, i) => [at, trace.y[i]]).filter(([, value]) => finite(value)).map(([at, value]) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`);
    root.append(svg("polyline", { points: path.join(" "), fill: "none", stroke: trace.line.color, "stroke-width": 2, "stroke-dasharray": trace.line.dash === "dash" ? "7 5" : "none" }));
  }
  plot.replaceChildren(root);
}

/* plotly.js lies in the page as text and is run once the page has been painted. */
function loadPlotly() {
  const source = document.getElementById("plotly");
  const script = document.createElement("script");
  script.textContent = source.textContent;
  source.remove();
  document.head.append(script);
  figures.filter((one) => one.drawn).forEach((one) => one.begin());
  document.documentElement.dataset.ready = "true";
}

const redraw = () => figures.forEach((one) => one.update());

let linking = false;
function together(work) {
  if (linking) return;
  linking = true;
  try { work(); } finally { linking = false; }
}

function link(one, onpick, ticks) {
  const others = () => figures.filter((other) => other !== one && other.linked && other.drawn);
  let pending = null;
  one.plot.on("plotly_hover", (event) => {
    if (linking || !event.points.length) return;
    const x = event.points[0].x;
    if (pending !== null) cancelAnimationFrame(pending);
    pending = requestAnimationFrame(() => { pending = null; together(() => others().forEach((other) => hover(other.plot, x))); });
  });
  one.plot.on("plotly_unhover", () => {
    if (pending !== null) cancelAnimationFrame(pending);
    pending = null;
    together(() => others().forEach((other) => Plotly.Fx.unhover(other.plot)));
  });
  one.plot.on("plotly_click", (event) => onpick && event.points.length && onpick(event.points[0].x));
  one.plot.on("plotly_relayout", (event) => {
    const zoom = event["xaxis.autorange"] ? { "xaxis.autorange": true }
      : "xaxis.range[0]" in event ? { "xaxis.range": [event["xaxis.range[0]"], event["xaxis.range[1]"]] } : null;
    if (!zoom) return;
    const whole = ticks ? { ...zoom, ...ticks(zoom) } : zoom;
    together(() => (ticks ? [one, ...others()] : others()).forEach((other) => Plotly.relayout(other.plot, whole)));
  });
}

/* The points of a figure at one λ; of many curves the first of each group. */
function hover(plot, x) {
  const found = [];
  plot.data.forEach((trace, curveNumber) => {
    if (trace.hoverinfo === "skip" || trace.visible === "legendonly" || (trace.meta && trace.meta.quiet)) return;
    const pointNumber = Array.from(trace.x).indexOf(x);
    if (pointNumber >= 0 && finite(trace.y[pointNumber])) found.push({ curveNumber, pointNumber });
  });
  if (found.length) Plotly.Fx.hover(plot, found);
}

/* A scale that is logarithmic on both sides of zero, where there are values of both signs. */
function signedScale(values, title) {
  const known = values.filter(finite);
  const largest = known.reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1;
  const least = known.reduce((low, value) => Math.min(low, value), Infinity);
  if (least > 0) return { map: (value) => value, axis: axis(title, { type: "log", minor: { showgrid: false }, ...ticksOver(Math.log10(largest / least)) }) };
  const unit = largest * 1e-3;
  const map = (value) => Math.asinh(value / unit);
  const powers = [-2, -1, 0].map((power) => 10 ** (Math.floor(Math.log10(largest)) + power));
  const ticks = [...powers.map((value) => -value).reverse(), 0, ...powers].filter((value) => value >= 0 || value >= 1.3 * least);
  return { map, axis: axis(title, { tickvals: ticks.map(map), ticktext: ticks.map((tick) => format(tick)), zeroline: true }) };
}

function setTheme(choice) {
  const system = window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  document.documentElement.dataset.theme = choice === "auto" ? system : choice;
  const button = document.getElementById("theme");
  button.textContent = { auto: "◐ auto", light: "☀ light", dark: "☾ dark" }[choice];
  button.setAttribute("aria-label", `Theme: ${choice}; press to change`);
  button.dataset.choice = choice;
  redraw();
}

/* How the test loss of each class, a column, answers where the training samples of a class, a row, weigh more. */
const influenceNote = (grouping) => `Change of the test loss of a ${grouping}, a column, where the training samples of a ${grouping}, a row, weigh more: for each relative weight, to first order. Orange falls, blue rises. A cell also tells the residual of its solve, and what polishing the point would change.`;
function influenceMap(z, classes, residuals, polishing, word, inUnit) {
  const unit = inUnit.replace(/[()]/g, "");
  const most = Math.max(...z.flat().filter(finite).map(Math.abs)) || 1;
  const long = Math.max(...classes.map((name) => name.length)) > 6;
  return { data: [{ type: "heatmap", x: classes, y: classes, z, zmin: -most, zmax: most, xgap: 1, ygap: 1, colorscale: diverging(),
    customdata: z.map(() => classes.map((_, c) => [residuals[c], polishing[c]])), colorbar: { title: { text: unit.trim() }, thickness: 10, outlinewidth: 0 },
    hovertemplate: `%{y} on %{x}: %{z:.3~g}${unit}<br>residual %{customdata[0]:.1e}<br>polishing %{customdata[1]:.3~g}${unit}<extra></extra>` }],
    layout: { xaxis: axis(`test loss of ${word("class")}`, { type: "category", showgrid: false, tickangle: long ? -60 : 0 }),
      yaxis: axis(word("training_class"), { type: "category", autorange: "reversed", showgrid: false }), hovermode: "closest" } };
}
