/* The report of a track: curvature against what is stable, losses and norms along the steps of a training. */

function show(report) {
  const { quantities, rows, names } = report;
  const word = (name) => label(quantities, name);
  const symbol = (name) => headingOf(quantities, name);
  const known = rows.filter((row) => row.status === "done");
  const there = (list) => list.filter((name) => known.some((row) => finite(row[name])));
  const last = known[known.length - 1] || {};

  /* Overview */
  const top = section("overview", "Overview");
  facts(top, [["measurements", String(rows.length)], ["steps", rows.length ? `${rows[0].step} to ${rows[rows.length - 1].step}` : "none"],
    ...there(["train_loss", "lambda_max", "stability", "critical_sharpness", "gradient_norm"]).map((name) => [`last ${symbol(name)}`, format(last[name])])]);
  const failed = rows.filter((row) => row.status === "failed");
  if (last.left_out) notices(top, [["", last.left_out]]);
  notices(top, failed.length ? failed.map((row) => ["bad", `Step ${row.step} was not measured: ${row.error}`]) : [["good", "Nothing failed."]]);

  /* Courses */
  const node = section("courses", "Along the training", "One marker a measurement.");
  const plots = el("div", { class: "figures" });
  node.append(plots);
  const course = (title, note, list, edges = [], log = false) => {
    const shown = there(list);
    if (!shown.length) return;
    const positive = log && known.every((row) => shown.every((name) => !finite(row[name]) || row[name] > 0));
    const line = (name, i, extra) => ({ type: "scatter", mode: "lines+markers", x: known.map((row) => row.step), y: known.map((row) => row[name]), name: symbol(name),
      line: { color: colour(i), dash: DASHES[i % 5], width: 1.7 }, marker: { size: 5, symbol: SYMBOLS[i % 7] }, ...extra });
    figure(plots, title, note, () => ({
      data: [...shown.map((name, i) => line(name, i, {})), ...edges.filter((each) => shown.includes(each.of)).map((each) => ({ type: "scatter", mode: "lines", x: known.map((row) => row.step), y: known.map(each.at), name: each.name, line: { color: css("--quiet"), dash: "dash", width: 1.2 } }))],
      layout: { xaxis: axis(word("step")), yaxis: axis(shown.length === 1 ? symbol(shown[0]) + unitOf(quantities, shown[0]) : "", { type: positive ? "log" : "linear", minor: { showgrid: false } }) } }), { height: 360 });
  };
  const preconditioned = there(["preconditioned_stability"]).length > 0;
  course("Stability", preconditioned ? "Preconditioned sharpness relative to its edge, which is 1." : "λ_max times half of the learning rate; dashed is what is stable.",
    preconditioned ? ["preconditioned_stability"] : ["stability"],
    preconditioned ? [{ of: "preconditioned_stability", name: "edge", at: () => 1 }] : [{ of: "stability", name: "edge", at: (row) => row.edge }]);
  course("Curvature", `The largest eigenvalue, and the critical sharpness of each update in units of its learning rate.${there(["finite_lambda_max"]).length ? " The loss has kinks, which curvature at a finite radius sees." : ""}`, ["lambda_max", "critical_sharpness", "finite_lambda_max"], [], true);
  course("Loss", "", ["train_loss", "batch_loss"], [], true);
  course("Trace of the Hessian", "", ["trace"]);
  course("Gradient norm", "", ["gradient_norm"], [], true);
  course("Critical multiple of the update", "That from which on the update raises the loss.", ["critical_steps"], [], true);
  course("Learning rates", "That of the optimiser, and that from which on the update raises the loss.", ["lr", "critical_lr"], [], true);

  /* Table */
  const tables = section("tables", "Every measurement");
  const keys = ["step", ...names.filter((name) => !name.endsWith("_error"))];
  table(tables, { title: "Measurements", name: "track", rows: rows.map((row) => ({ ...row, bad: row.status !== "done" })), all: ["step", "status", ...names],
    columns: keys.map((key) => ({ key, label: headingOf(quantities, key), title: word(key) })) });
  about(report.about);
}
