/* The report of a connection: what lies between two minima, along every curve. */

function show(report) {
  const { quantities, paths, ways, rows } = report;
  const names = Object.keys(ways);
  const style = (name) => ({ color: colour(names.indexOf(name)), dash: DASHES[names.indexOf(name) % 5], width: 2 });

  /* Overview */
  const top = section("overview", "Overview");
  const lowest = rows.slice().sort((one, other) => one.train_loss - other.train_loss)[0];
  facts(top, [["from", report.a], ["to", report.b], ["distance", format(report.distance)], ["cosine", format(report.cosine)], ["curves", String(names.length)],
    ...(lowest ? [["lowest barrier", `${format(lowest.train_loss)}, ${lowest.path_name}`]] : [])]);
  const lost = rows.filter((row) => row.lost || row.found);
  notices(top, [
    ...Object.entries(report.missing).map(([way, why]) => ["bad", `${way}: ${why}`]),
    ...lost.map((row) => ["good", `${row.path_name}: ${[["lost", row.lost], ["found", row.found]].filter(([, text]) => text).map(([word, text]) => `${word} ${text}`).join("; ")}.`]),
    ...(names.length && report.by_class && !lost.length ? [["good", "No class is lost or found on any curve."]] : []),
    ...(report.by_class ? [] : [["good", "The outputs are no scores of classes: there are no accuracies."]])]);
  if (!names.length) {
    about(report.about);
    return;
  }

  /* Along the curves */
  const node = section("along", "Along the curves", "t goes from 0, the first minimum, to 1, the second; after matching that is its copy with the units in another order.");
  const plots = el("div", { class: "figures" });
  node.append(plots);
  report.along.forEach((quantity, i) => figure(plots, label(quantities, quantity), "", () => ({
    data: names.filter((name) => paths[name][quantity]).map((name) => ({ type: "scatter", mode: "lines", name: ways[name], x: paths[name].positions, y: paths[name][quantity],
      line: style(name), hovertemplate: "%{y:.5~g}" })),
    layout: { xaxis: axis(label(quantities, "positions")), yaxis: axis(headingOf(quantities, quantity) + unitOf(quantities, quantity).replace(" (%)", "")) } }), { height: 360, eager: i === 0 }));
  figure(plots, label(quantities, "barriers.train_loss"), "Largest excess over the straight interpolation of both ends, at the positions looked at.", () => ({
    data: [{ type: "bar", orientation: "h", y: rows.map((row) => row.path_name), x: rows.map((row) => row.train_loss), marker: { color: rows.map((row) => colour(names.indexOf(row.name))) }, hovertemplate: "%{x:.5~g}<extra></extra>" }],
    layout: { hovermode: "closest", xaxis: axis(`${label(quantities, "barriers.train_loss")}${unitOf(quantities, "barriers.train_loss")}`), yaxis: { ...axis(""), autorange: "reversed" } } }), { height: 330 });

  /* Classes */
  if (report.by_class) {
    const classes = section("classes", "Classes", "A class is lost where fewer than half of its samples are classified correctly.");
    const shown = names.filter((name) => paths[name][report.by_class]);
    let chosen = shown[0];
    const box = el("div", { class: "figures" });
    const one = figure(box, label(quantities, report.by_class), "", () => ({
      title: `${label(quantities, report.by_class)}: ${ways[chosen]}`,
      data: report.classes.map((name, c) => ({ type: "scatter", mode: "lines", name: String(name), x: paths[chosen].positions, y: paths[chosen][report.by_class].map((row) => row[c]),
        line: { color: colour(c), dash: DASHES[Math.floor(c / 7) % 5], width: 1.8 }, hovertemplate: "%{y:.4~g}" })),
      layout: { showlegend: report.classes.length <= 30, xaxis: axis(label(quantities, "positions")), yaxis: axis(headingOf(quantities, report.by_class), { range: [-3, 103] }),
        shapes: [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: 50, y1: 50, line: { color: css("--line"), width: 1 } }] } }),
    { height: 420, controls: choice("curve", shown.map((name) => [name, ways[name]]), chosen, (name) => { chosen = name; one.update(); }) });
    classes.append(box);
  }

  /* Table */
  const tables = section("tables", "Curves");
  const columns = columnsOf(report, "connections").filter(({ key }) => rows.some((row) => row[key] !== undefined && row[key] !== ""));
  table(tables, { title: "Curves", name: "curves", rows, columns });
  about(report.about);
}
