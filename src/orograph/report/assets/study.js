/* The report of a study: configurations, what goes with what, and what lies between and around minima. */

function mean(values) {
  const known = values.filter(finite);
  return known.length ? known.reduce((a, b) => a + b, 0) / known.length : null;
}
function deviation(values) {
  const known = values.filter(finite);
  const middle = mean(known);
  return known.length > 1 ? Math.sqrt(known.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (known.length - 1)) : null;
}

function show(report) {
  const { quantities, paths: PATHS } = report;
  const word = (name) => label(quantities, name);
  const capital = (text) => (/^[a-z]{2}/.test(text) ? text[0].toUpperCase() + text.slice(1) : text);
  const unit = (name) => unitOf(quantities, name);
  const symbol = (name) => headingOf(quantities, name);
  const names = report.configurations.map((each) => each.name);
  const metrics = report.metrics;
  const done = metrics.filter((row) => row.status === "done");
  const metricNames = report.choices.filter((name) => done.some((row) => finite(row[name])));
  const settings = report.varied.length ? report.varied : ["configuration"];
  const looks = (name) => { const i = Math.max(0, names.indexOf(name)); return { color: colour(i), dash: DASHES[Math.floor(i / 7) % 5], symbol: SYMBOLS[i % 7] }; };
  const controls = (...items) => el("div", { class: "controls" }, items);
  const options = (list) => list.map((name) => [name, word(name)]);

  /* Overview */
  const top = section("overview", "Overview");
  const failures = failed();
  const sizes = [report.data.train_images, report.data.test_images].filter(finite).map((count) => count.toLocaleString("en"));
  const counted = [`training ${sizes.length > 1 ? "and test " : ""}${report.sample}s`, sizes.join(", ")];
  facts(top, [["data set", report.data.name.split("/").pop()], counted,
    ["configurations", String(names.length)], ["minima", `${done.length} of ${metrics.length}`], ["what varies", report.varied.map((name) => headingOf(quantities, name)).join(", ") || "nothing"]]);
  notices(top, [...(failures.length ? failures.map((text) => ["bad", text]) : [["good", "Nothing failed."]]), ...remarks()]);

  function failed() {
    const found = metrics.filter((row) => row.status === "failed").map((row) => `${row.configuration}, seed ${row.seed} failed: ${row.error || `the loss was not finite in epoch ${row.failed_epoch}`}.`);
    for (const entry of [...report.curves, ...report.surfaces, ...report.instability]) if (entry.status === "failed") found.push(`${entry.configuration}, ${entry.kind} ${entry.name} failed: ${entry.error}.`);
    const missing = new Map(); // one line for all that lack the same for the same reason
    for (const entry of [...metrics, ...report.curves]) for (const [what, text] of Object.entries(entry.failures || {})) {
      const [of, why] = [`${entry.configuration}, ${entry.kind || "minimum"}`, `${String(text).replace(/\.$/, "")}.`];
      const key = `${of} ${what} ${why.replace(/\d[\d.,]*(e[+-]?\d+)?/g, "")}`; // numbers may differ
      if (!missing.has(key)) missing.set(key, { of, what, why, names: [], same: true });
      if (missing.get(key).why !== why) missing.get(key).same = false;
      missing.get(key).names.push(entry.name || entry.seed);
    }
    for (const { of, what, why, names: each, same } of missing.values()) found.push(`${of} ${each.join(", ")}: ${what} was not measured${same ? "" : ", of the first"}: ${why}`);
    return found;
  }
  function remarks() {
    const found = [];
    const rough = done.filter((row) => row.measured && row.measured.images && row.measured.images < row.measured.of);
    if (rough.length) found.push(["warn", `${rough.length} minima were measured on a subset of the ${report.sample}s (${rough[0].measured.images} of ${rough[0].measured.of}, level ${rough[0].measured.level}).`]);
    if (done.some((row) => row.smooth === false)) found.push(["warn", "ReLU is not twice differentiable: second-order results leave out its kinks; the finite-radius companions do not."]);
    const saddles = done.filter((row) => finite(row.lambda_min) && row.lambda_min < -(row.lambda_min_residual || 0)).length;
    if (saddles) found.push(["warn", `${saddles} of ${done.length} end states have a negative eigenvalue: they are not minima of the loss.`]);
    for (const rate of report.learning_rates) found.push(["", `${rate.configuration}: learning rate ${format(rate.chosen)}, chosen among ${rate.candidates.map((each) => format(each)).join(", ")} on ${rate.held_out_images} ${report.sample}s held out from training.`]);
    for (const text of report.left_out) found.push(["", text]);
    if (report.correlations.note) found.push(["", report.correlations.note]);
    return found;
  }

  /* Metric against a setting */
  const against = section("metrics", "Metrics", "One marker a minimum, a line through the means over seeds.");
  const grid = el("div", { class: "figures" });
  against.append(grid);
  const numericSettings = settings.filter((name) => done.some((row) => finite(row[name])));
  const first = numericSettings[0] || settings[0];
  const panels = [report.score, "lambda_max", "flatness_measure", "trace"].filter((name) => metricNames.includes(name));
  panels.forEach((metric, i) => {
    const state = { metric, setting: first };
    const one = figure(grid, capital(word(metric)), "", () => metricFigure(state), { height: 380, eager: i === 0, controls: controls(
      choice("metric", options(metricNames), metric, (value) => { state.metric = value; one.update(); }),
      settings.length > 1 ? choice("against", options(settings), first, (value) => { state.setting = value; one.update(); }) : null) });
  });

  function metricFigure({ metric, setting }) {
    const numeric = done.some((row) => finite(row[setting]));
    const others = settings.filter((name) => name !== setting);
    const label = (row) => others.map((name) => `${headingOf(quantities, name)} ${format(row[name])}`).join(", ") || word(metric);
    const groups = new Map();
    done.forEach((row) => { const key = label(row); if (!groups.has(key)) groups.set(key, []); groups.get(key).push(row); });
    const data = [...groups.entries()].flatMap(([name, rows], i) => {
      const at = (row) => (numeric ? row[setting] : String(row[setting]));
      const places = [...new Set(rows.map(at))].sort((a, b) => (numeric ? a - b : 0));
      return [
        { type: "scatter", mode: "lines+markers", name, legendgroup: name, x: places, y: places.map((x) => mean(rows.filter((row) => at(row) === x).map((row) => row[metric]))),
          line: { color: colour(i), dash: numeric ? DASHES[i % 5] : "dot", width: numeric ? 2 : 1 }, marker: { symbol: "line-ew-open", size: 14, color: colour(i), line: { width: 2, color: colour(i) } }, hovertemplate: `mean %{y:.5~g}<extra>${name}</extra>` },
        { type: "scatter", mode: "markers", name, legendgroup: name, showlegend: false, x: rows.map(at), y: rows.map((row) => row[metric]), customdata: rows.map((row) => [row.seed, row.configuration]),
          marker: { color: colour(i), symbol: SYMBOLS[i % 7], size: 8, opacity: 0.75 }, hovertemplate: "%{customdata[1]}<br>seed %{customdata[0]}: %{y:.5~g}<extra></extra>" }];
    });
    const positive = done.every((row) => !finite(row[metric]) || row[metric] > 0);
    const values = done.map((row) => row[metric]).filter(finite);
    const wide = positive && values.length && Math.max(...values) > 30 * Math.min(...values);
    const steps = numeric ? [...new Set(done.map((row) => row[setting]))] : [];
    const spread = numeric && Math.min(...steps) > 0 && Math.max(...steps) >= 4 * Math.min(...steps);
    return { title: capital(word(metric)), data, layout: { hovermode: "closest", showlegend: groups.size > 1, yaxis: axis(word(metric) + unit(metric), { type: wide ? "log" : "linear", minor: { showgrid: false } }),
      xaxis: axis(word(setting), numeric ? { type: spread ? "log" : "linear", tickvals: steps, ticktext: steps.map((step) => format(step)) } : { type: "category" }) } };
  }

  /* Tables */
  const tables = section("configurations", "Configurations", "Means over seeds, ± their standard deviation; barriers are means over pairs. A click on a heading sorts; files hold every column.");
  const between = (name, key) => report.curves.filter((entry) => entry.configuration === name && entry.status === "done").map((entry) => entry[key]);
  const barriers = Object.keys(PATHS).map((name) => `${name}_barrier`);
  const means = [...new Set([...report.tables.configurations, ...metricNames.slice(0, 40)])].filter((name) => metricNames.includes(name));
  const summary = report.configurations.map((configuration) => {
    const rows = done.filter((row) => row.configuration === configuration.name);
    const all = metrics.filter((row) => row.configuration === configuration.name);
    return { ...configuration, minima: `${rows.length} of ${all.length}`, bad: rows.length < all.length,
      ...Object.fromEntries(means.flatMap((name) => [[name, mean(rows.map((row) => row[name]))], [`${name}_sd`, deviation(rows.map((row) => row[name]))]])),
      ...Object.fromEntries(barriers.map((name) => [name, mean(between(configuration.name, name))])) };
  });
  const shown = ["name", ...report.varied, "parameters", "minima", ...report.tables.configurations.flatMap((name) => (name === report.score ? [name, `${name}_sd`] : [name]))];
  const structure = { name: "configuration", [`${report.score}_sd`]: "± sd" };
  const heads = (keys, rows) => keys.filter((key) => rows.some((row) => row[key] !== null && row[key] !== undefined)).map((key) => ({ key, label: structure[key] || headingOf(quantities, key), title: word(key) }));
  table(tables, { title: "Configurations", name: "configurations", rows: summary, columns: heads(shown, summary), all: [...new Set(summary.flatMap((row) => Object.keys(row)))].filter((key) => key !== "bad") });
  const minima = metrics.map((row) => ({ ...row, bad: row.status !== "done" }));
  table(tables, { title: "Minima", name: "minima", rows: minima, all: [...new Set(metrics.flatMap((row) => Object.keys(row)))], columns: heads(report.tables.minima, minima) });

  /* By group */
  if (report.by_group.length) {
    const node = section("groups", "Groups", "One marker a minimum and group of samples.");
    const plots = el("div", { class: "figures" });
    const kinds = [...new Set(report.by_group.flatMap((row) => Object.keys(row)))].filter((key) => !["configuration", "seed", "group"].includes(key));
    const state = { name: kinds.find((name) => name.startsWith("group_")) || kinds[0] };
    node.append(plots);
    const one = figure(plots, capital(word(state.name)), "", () => ({
      title: capital(word(state.name)),
      data: names.map((name) => { const rows = report.by_group.filter((row) => row.configuration === name); const look = looks(name); return { type: "scatter", mode: "markers", name, x: rows.map((row) => row.group), y: rows.map((row) => row[state.name]), customdata: rows.map((row) => row.seed),
        marker: { size: 8, opacity: 0.75, color: look.color, symbol: look.symbol }, hovertemplate: `${name}, seed %{customdata}: %{y:.5~g}<extra></extra>` }; }),
      layout: { hovermode: "closest", showlegend: names.length > 1, xaxis: axis("", { type: "category" }), yaxis: axis(word(state.name) + unit(state.name)) } }),
    { height: 380, controls: controls(choice("metric", options(kinds), state.name, (value) => { state.name = value; one.update(); })) });
    table(node, { title: "Metrics by group", name: "groups", rows: report.by_group, columns: heads(["configuration", "seed", "group", ...kinds], report.by_group), all: ["configuration", "seed", "group", ...kinds] });
  }

  /* By layer */
  const layered = ["block_lambda_max", "block_trace", "block_effective_rank", "block_learning_coefficient", "block_quadratic_coefficient"].filter((name) => done.some((row) => row.block_names && Array.isArray(row[name])));
  if (layered.length) {
    const node = section("layers", "Layers", "One marker a minimum and module, whose parameters make a block of the Hessian.");
    const plots = el("div", { class: "figures" });
    node.append(plots);
    const state = { name: layered[0] };
    const one = figure(plots, capital(word(state.name)), "", () => ({
      title: capital(word(state.name)),
      data: names.map((name) => { const rows = done.filter((row) => row.configuration === name && row.block_names && Array.isArray(row[state.name])); const look = looks(name); return { type: "scatter", mode: "markers", name,
        x: rows.flatMap((row) => row.block_names.split(", ")), y: rows.flatMap((row) => row[state.name]), customdata: rows.flatMap((row) => row[state.name].map(() => row.seed)), ...errors(rows, `${state.name}_error`),
        marker: { size: 8, opacity: 0.75, color: look.color, symbol: look.symbol }, hovertemplate: `${name}, seed %{customdata}: %{y:.5~g}<extra></extra>` }; }),
      layout: { hovermode: "closest", showlegend: names.length > 1, xaxis: axis("", { type: "category" }), yaxis: axis(word(state.name) + unit(state.name)) } }),
    { height: 380, controls: controls(choice("quantity", options(layered), state.name, (value) => { state.name = value; one.update(); })) });
  }
  function errors(rows, name) {
    return rows.length && rows.every((row) => Array.isArray(row[name])) ? { error_y: { type: "data", array: rows.flatMap((row) => row[name]), thickness: 1, width: 2 } } : {};
  }

  /* Influence of classes */
  const influenced = done.filter((row) => Array.isArray(row.influence) && row.influence.every(Array.isArray) && row.influence.length === report.classes.length);
  if (influenced.length) {
    const node = section("influence", "Influence by class", influenceNote(report.grouping));
    const plots = el("div", { class: "figures" });
    const state = { place: "0" };
    node.append(plots);
    const called = (row) => `${row.configuration}, seed ${row.seed}`;
    const one = figure(plots, called(influenced[0]), "", () => {
      const row = influenced[Number(state.place)];
      return { title: called(row), ...influenceMap(row.influence, report.classes, row.influence_residual || [], row.influence_polishing || [], word, unit("influence")) };
    }, { height: 380, controls: influenced.length > 1 ? controls(choice("minimum", influenced.map((row, i) => [String(i), called(row)]), state.place, (value) => { state.place = value; one.update(); })) : null });
  }

  /* Training */
  if (report.histories.some((each) => (each.epoch || []).length > 1)) {
    const node = section("training", "Training", "One line a network.");
    const courses = el("div", { class: "figures" });
    node.append(courses);
    const quantities = Object.keys(report.histories.find((each) => each.epoch)).filter((key) => !["configuration", "seed", "epoch", "curvature"].includes(key));
    ["train_loss", report.score].filter((name) => quantities.includes(name)).forEach((name) => {
      const state = { name };
      const one = figure(courses, capital(word(name)), "", () => ({
        title: capital(word(state.name)),
        data: report.histories.filter((each) => each.epoch).map((each) => { const look = looks(each.configuration); return { type: "scatter", mode: "lines", x: each.epoch, y: each[state.name], name: each.configuration, legendgroup: each.configuration,
          showlegend: report.histories.find((other) => other.configuration === each.configuration) === each, line: { color: look.color, dash: look.dash, width: 1.7 }, hovertemplate: `${each.configuration}, seed ${each.seed}: %{y:.5~g}<extra></extra>` }; }),
        layout: { hovermode: "closest", xaxis: axis(word("epoch")), yaxis: axis(word(state.name) + unit(state.name), { type: /loss$|^lr$|norm$/.test(state.name) ? "log" : "linear", minor: { showgrid: false } }) } }),
      { height: 380, controls: controls(choice("quantity", options(quantities), name, (value) => { state.name = value; one.update(); })) });
    });
    const tracked = report.histories.filter((each) => each.curvature);
    if (tracked.length) figure(courses, "Edge of stability", `λ_max along training.${tracked.some((each) => each.curvature.flow_sharpening) ? " Dotted: from each measurement to what the central flow foresees at the next, gradient flow up to the edge of stability, which holds it." : ""}`, () => ({
      data: tracked.flatMap((each) => { const look = looks(each.configuration); return [
        { type: "scatter", mode: "lines+markers", x: each.curvature.epoch, y: each.curvature.lambda_max, name: `${each.configuration}, seed ${each.seed}`, line: { color: look.color, dash: look.dash } },
        ...foreseen(each.curvature, look.color)]; }),
      layout: { hovermode: "closest", xaxis: axis(word("epoch")), yaxis: axis(symbol("lambda_max")) } }), { height: 380 });
    const oscillating = tracked.filter((each) => (each.curvature.central_oscillation || []).some((value) => value > 0));
    if (oscillating.length) figure(courses, "Oscillation along v₁", "Markers: its square as it was seen; line: the mean square that would hold λ_max at the edge of stability.", () => ({
      data: oscillating.flatMap((each) => { const look = looks(each.configuration); const name = `${each.configuration}, seed ${each.seed}`; return [
        { type: "scatter", mode: "lines", x: each.curvature.epoch, y: each.curvature.central_oscillation.map((value) => value || null), name, legendgroup: name, line: { color: look.color, dash: look.dash }, hovertemplate: "σ² %{y:.4~g}" },
        { type: "scatter", mode: "markers", x: each.curvature.epoch, y: each.curvature.oscillation, name, legendgroup: name, showlegend: false, marker: { color: look.color, symbol: look.symbol }, hovertemplate: "x² %{y:.4~g}" }]; }),
      layout: { hovermode: "closest", xaxis: axis(word("epoch")), yaxis: axis("square of a distance in parameter space", { type: "log", exponentformat: "power", minor: { showgrid: false } }) } }), { height: 380 });
  }

  /* What the central flow foresees at each measurement for the next: λ_max by gradient flow, at most where it is stable. */
  function foreseen({ epoch, lambda_max: found, flow_sharpening: rise, stability, edge }, color) {
    if (!rise || !stability || !edge) return [];
    const steps = epoch.slice(1).map((next, i) => {
      const limit = Math.max(found[i], (edge[i] * found[i]) / stability[i]);
      return [epoch[i], next, found[i], Math.min(limit, found[i] + rise[i] * (next - epoch[i]))];
    });
    return [{ type: "scatter", mode: "lines", x: steps.flatMap(([from, to]) => [from, to, null]), y: steps.flatMap(([, , before, after]) => [before, after, null]), line: { color, dash: "dot", width: 1.3 }, showlegend: false, hoverinfo: "skip" }];
  }

  /* Spectra */
  const dense = report.spectra.filter((each) => each.arrays && each.arrays.density_grid);
  const pairs = report.spectra.filter((each) => each.arrays && each.arrays.eigenvalues);
  if (pairs.length) {
    const node = section("spectra", "Spectra");
    const plots = el("div", { class: "figures" });
    node.append(plots);
    figure(plots, "Largest eigenvalues", "One line a minimum.", () => {
      const scale = signedScale(pairs.flatMap((each) => each.arrays.eigenvalues), word("eigenvalue"));
      return { data: pairs.map((each, i) => { const look = looks(each.configuration); return { type: "scatter", mode: "lines+markers", x: each.arrays.eigenvalues.map((_, j) => j + 1), y: each.arrays.eigenvalues.map(scale.map), customdata: each.arrays.eigenvalues,
        name: each.configuration, legendgroup: each.configuration, showlegend: pairs.findIndex((other) => other.configuration === each.configuration) === i, line: { color: look.color, dash: look.dash, width: 1.2 }, marker: { size: 5, symbol: look.symbol }, hovertemplate: `${each.configuration}, seed ${each.seed}<br>λ%{x} = %{customdata:.5~g}<extra></extra>` }; }),
        layout: { hovermode: "closest", xaxis: axis("rank", Math.max(...pairs.map((each) => each.arrays.eigenvalues.length)) > 12 ? {} : { dtick: 1 }), yaxis: scale.axis } };
    }, { height: 380 });
    if (dense.length) {
      const state = { configuration: dense[0].configuration };
      const one = figure(plots, "Spectral density", "Of the whole Hessian, normalised to 1, one line a seed; logarithmic.", () => ({
        data: dense.filter((each) => each.configuration === state.configuration).map((each, i) => ({ type: "scatter", mode: "lines", x: each.arrays.density_grid, y: each.arrays.density_values.map((value) => Math.max(value, 1e-8)), name: `seed ${each.seed}`, line: { color: colour(i), dash: DASHES[i % 5], width: 1.5 } })),
        layout: { hovermode: "closest", xaxis: axis(word("density_grid")), yaxis: axis(word("density"), { type: "log", minor: { showgrid: false } }) } }),
      { height: 380, controls: controls(choice("configuration", [...new Set(dense.map((each) => each.configuration))].map((name) => [name, name]), state.configuration, (value) => { state.configuration = value; one.update(); })) });
    }
  }

  /* Between minima */
  const curves = report.curves.filter((entry) => entry.paths && Object.keys(entry.paths).length);
  if (curves.length) {
    const node = section("connectivity", "Between minima", "Along every path the mean over pairs of seeds, with a band from the least to the most.");
    const plots = el("div", { class: "figures" });
    node.append(plots);
    const kinds = Object.keys(PATHS).filter((name) => curves.some((entry) => entry.paths[name]));
    const along = ["train_loss", "test_loss", "train_accuracy", "test_accuracy"].filter((name) => curves.some((entry) => Object.values(entry.paths).some((path) => path[name])));
    ["train_loss", along.includes("test_accuracy") ? "test_accuracy" : "test_loss"].filter((name) => along.includes(name)).forEach((quantity) => {
      const state = { quantity, configuration: curves[0].configuration };
      const one = figure(plots, capital(word(quantity)), "", () => {
        const group = curves.filter((entry) => entry.configuration === state.configuration);
        const data = kinds.flatMap((kind, c) => {
          const found = group.map((entry) => entry.paths[kind]).filter(Boolean);
          if (!found.length) return [];
          const x = found[0].positions;
          const column = (j) => found.map((path) => (path[state.quantity] || [])[j]).filter(finite);
          const edge = (pick) => x.map((_, j) => (column(j).length ? pick(...column(j)) : null));
          const base = { type: "scatter", mode: "lines", x, legendgroup: kind };
          const band = found.length > 1 ? [{ ...base, y: edge(Math.min), line: { width: 0 }, hoverinfo: "skip", showlegend: false }, { ...base, y: edge(Math.max), line: { width: 0 }, fill: "tonexty", fillcolor: `${colour(c)}2b`, hoverinfo: "skip", showlegend: false }] : [];
          return [...band, { ...base, name: PATHS[kind], y: x.map((_, j) => mean(column(j))), line: { color: colour(c), dash: DASHES[c % 5], width: 2.2 }, hovertemplate: "%{y:.5~g}" }];
        });
        return { title: capital(word(state.quantity)), data, layout: { xaxis: axis(word("positions")), yaxis: axis(word(state.quantity) + unit(state.quantity)) } };
      }, { height: 400, controls: controls(
        choice("configuration", [...new Set(curves.map((entry) => entry.configuration))].map((name) => [name, name]), state.configuration, (value) => { state.configuration = value; one.update(); }),
        choice("quantity", options(along), quantity, (value) => { state.quantity = value; one.update(); })) });
    });
    figure(plots, "Barriers", "Of the training loss, one marker a pair.", () => ({
      data: kinds.map((kind, c) => ({ type: "box", boxpoints: "all", jitter: 0.4, pointpos: 0, name: PATHS[kind], x: curves.filter((entry) => finite(entry[`${kind}_barrier`])).map((entry) => entry.configuration),
        y: curves.map((entry) => entry[`${kind}_barrier`]).filter(finite), marker: { color: colour(c), symbol: SYMBOLS[c], size: 6 }, line: { width: 1 }, fillcolor: "rgba(0,0,0,0)" })),
      layout: { boxmode: "group", hovermode: "closest", xaxis: axis("", { type: "category" }), yaxis: axis(word("barriers.train_loss") + unit("barriers.train_loss")) } }), { height: 400 });
    const rows = report.curves.map((entry) => ({ pair: entry.name, ...Object.fromEntries(Object.entries(entry).filter(([, value]) => typeof value !== "object")), bad: entry.status !== "done" }));
    table(node, { title: "Pairs of minima", name: "pairs", rows, columns: heads(report.tables.pairs, rows), all: [...new Set(rows.flatMap((row) => Object.keys(row)))].filter((key) => key !== "bad" && key !== "file") });
  }

  /* Surfaces */
  const surfaces = report.surfaces.filter((entry) => entry.arrays && entry.arrays.x && entry.arrays.train_loss);
  if (surfaces.length) {
    const node = section("surfaces", "Surfaces", "The loss on planes through minima; distances are in parameter space. The button turns a plane into a surface that can be turned.");
    const plots = el("div", { class: "figures three" });
    node.append(plots);
    surfaces.forEach((entry) => {
      const state = { raised: false, quantity: "train_loss" };
      const title = titleOf(entry);
      const turn = el("button", { type: "button", "aria-pressed": "false", onclick: () => {
        state.raised = !state.raised;
        turn.setAttribute("aria-pressed", String(state.raised));
        turn.textContent = state.raised ? "flat" : "turn in 3-D";
        one.show();
        Plotly.purge(one.plot);
        one.update();
      } }, "turn in 3-D");
      const beside = finite(entry.smad_p_value) ? `, of random planes ${format(entry.smad_null_low)} … ${format(entry.smad_null_high)} (95 %)` : "";
      const lasting = finite(entry.surface_minima) ? `Minima that last longer than ${format(entry.persistence_threshold)}${unit("train_loss")}: ${entry.surface_minima}, ${entry.surface_minima_inside} of them inside. Largest persistence of another than the deepest: ${format(entry.largest_persistence)}; SMAD ${format(entry.smad)}${beside}.${passes(entry)}` : "";
      const one = figure(plots, title, lasting, () => surfaceFigure(entry, state), { height: 400, controls: controls(
        choice("", options(["train_loss", "test_loss", "train_accuracy", "test_accuracy"].filter((name) => entry.arrays[name])), "train_loss", (value) => { state.quantity = value; one.update(); }), turn) });
    });
  }
  function passes(entry) {
    const known = (entry.surface_barriers || []).map((value) => format(value));
    return known.length ? ` Lowest passes in the plane between its minima, above the higher of both: ${["1–2", "1–3", "2–3"].map((pair, i) => `${pair} ${known[i]}`).join(", ")}.` : "";
  }
  function surfaceFigure({ arrays, kind }, { raised, quantity }) {
    const z = arrays.y.map((_, j) => arrays.x.map((__, i) => arrays[quantity][i][j]));
    const known = z.flat().filter(finite);
    const logarithmic = !quantity.endsWith("accuracy") && Math.min(...known) > 0 && Math.max(...known) > 10 * Math.min(...known);
    const height = logarithmic ? z.map((row) => row.map((value) => (finite(value) ? Math.log10(value) : null))) : z;
    const name = logarithmic ? `log₁₀ ${word(quantity)}` : word(quantity) + unit(quantity);
    const scale = CIVIDIS.map((rgb, i) => [i / (CIVIDIS.length - 1), `rgb(${rgb.join(",")})`]);
    const shared = { x: arrays.x, y: arrays.y, z: height, colorscale: scale, colorbar: { title: { text: name, side: "right" }, thickness: 10, outlinewidth: 0 } };
    if (raised) {
      const side = (text) => ({ title: { text }, gridcolor: css("--line"), color: css("--text"), backgroundcolor: "rgba(0,0,0,0)" });
      return { data: [{ type: "surface", ...shared, hovertemplate: "%{z:.4~g}<extra></extra>", contours: { z: { show: true, usecolormap: true, project: { z: true } } } }],
        layout: { margin: { l: 0, r: 0, t: 0, b: 0 }, scene: { xaxis: side("first"), yaxis: side("second"), zaxis: side(name), camera: { eye: { x: 1.8, y: -1.8, z: 1.1 } } } } };
    }
    const marks = { type: "scatter", mode: "markers", x: arrays.marks.map((mark) => mark[0]), y: arrays.marks.map((mark) => mark[1]), marker: { symbol: "x", size: 10, color: "#ffffff", line: { color: "#000000", width: 1.5 } }, showlegend: false, hovertemplate: "minimum<extra></extra>" };
    const path = arrays.path ? [{ type: "scatter", mode: "lines", x: arrays.path.map((place) => place[0]), y: arrays.path.map((place) => place[1]), line: { color: "#ffffff", dash: "dash" }, showlegend: false, hoverinfo: "skip" }] : [];
    return { data: [{ type: "contour", ...shared, ncontours: 16, line: { width: 0.6 }, hovertemplate: "%{z:.4~g}<extra></extra>" }, ...path, marks],
      layout: { hovermode: "closest", xaxis: axis(kind === "plane" ? "from the first minimum to the second" : "first direction", { showgrid: false, zeroline: false }), yaxis: axis(kind === "plane" ? "towards the third" : "second direction", { scaleanchor: "x", constrain: "domain", showgrid: false, zeroline: false }) } };
  }

  /* Topology of surfaces */
  const shaped = surfaces.filter((entry) => entry.topology);
  if (shaped.length) {
    const node = section("topology", "Topology of surfaces", `Of the training loss on the grid that was computed; what lasts no longer than a hundredth of its range is left out.${shaped[0].topology.loops ? "" : " Loops need the package gudhi, which was not installed when this page was made."}`);
    shaped.sort((one, other) => other.surface_minima - one.surface_minima);
    const state = { entry: shaped[0] };
    const three = [];
    node.append(controls(choice("surface", shaped.map((entry, i) => [String(i), `${entry.kind} ${entry.name}, ${entry.configuration}`]), "0", (value) => { state.entry = shaped[Number(value)]; three.forEach((one) => one.update()); })));
    const plots = el("div", { class: "figures three" });
    node.append(plots);
    three.push(
      figure(plots, "Merge tree", "Each line is a minimum, from its height (a ring at the border of the grid, where the loss may fall further) up to the saddle (square) at which a deeper one is met.", () => treeFigure(state.entry.topology), { height: 360 }),
      figure(plots, "Barcode", "From the level at which a component or a loop of what lies below it appears to that at which it vanishes; an arrow stays.", () => barcodeFigure(state.entry.topology), { height: 360 }),
      figure(plots, "SMAD beside others", "The saddle-minimum average distance of this surface, of the coarser grids within it, and of planes through the same point in random directions. p is how often these have as much; with n of them it is 1/(n + 1) at least.", () => smadFigure(state.entry), { height: 360 }));
  }
  function titleOf(entry) { return `${entry.configuration}, ${entry.kind} ${entry.name}`; }
  function heightAxis(values) {
    const known = values.filter(finite);
    const [low, high] = [Math.min(...known), Math.max(...known)];
    const wide = low > 0 && high > 10 * low;
    const end = wide ? high * (high / low) ** 0.08 : high + 0.08 * (high - low || Math.abs(high) || 1);
    const title = word("train_loss") + unit("train_loss");
    return { end, axis: wide ? axis(title, { type: "log", minor: { showgrid: false }, dtick: "D2" }) : axis(title) };
  }
  const hidden = { showticklabels: false, showgrid: false, zeroline: false, ticks: "" };
  function treeFigure({ tree, minima }) {
    const { end, axis: heights } = heightAxis(tree.flatMap((each) => [each.low, each.high]));
    const top = (each) => (each.high === null ? end : each.high);
    const ended = tree.map((each, i) => [each, i]).filter(([each]) => each.into !== null);
    const line = { color: colour(0), width: 2 };
    const points = (name, list, marker) => ({ type: "scatter", mode: "markers", name, x: list.map(([, x]) => x), y: list.map(([, , y]) => y), marker: { size: 8, color: colour(0), ...marker }, hovertemplate: `${name} %{y:.5~g}<extra></extra>` });
    const lows = (border) => tree.map((each, i) => [each, i, each.low]).filter(([each]) => each.border === border);
    return { title: `Merge tree${minima > tree.length ? `, ${tree.length} of ${minima} minima` : ""}`,
      data: [
        { type: "scatter", mode: "lines", x: tree.flatMap((_, i) => [i, i, null]), y: tree.flatMap((each) => [each.low, top(each), null]), line, hoverinfo: "skip", showlegend: false },
        { type: "scatter", mode: "lines", x: ended.flatMap(([each, i]) => [i, each.into, null]), y: ended.flatMap(([each]) => [each.high, each.high, null]), line: { ...line, width: 1.4 }, hoverinfo: "skip", showlegend: false },
        points("minimum", lows(false), {}), points("at the border", lows(true), { symbol: "circle-open", line: { width: 2 } }),
        points("saddle", ended.map(([each]) => [each, each.into, each.high]), { symbol: "square", size: 7, color: colour(1) }),
        { ...points("stays", tree.map((each, i) => [each, i, end]).filter(([each]) => each.high === null), { symbol: "triangle-up", size: 10 }), showlegend: false, hoverinfo: "skip", hovertemplate: null }].filter((each) => each.x.length),
      layout: { hovermode: "closest", xaxis: axis("", { ...hidden, range: [-0.6, tree.length - 0.4] }), yaxis: heights } };
  }
  function barcodeFigure({ bars }) {
    const { end, axis: levels } = heightAxis(bars.flatMap((each) => each.bars.flat()));
    let row = 0;
    const data = bars.flatMap(({ kind, count, bars: pairs }, i) => {
      const rows = pairs.map(() => (row += 1));
      row += 1;
      const open = pairs.map((pair, j) => [pair, rows[j]]).filter(([pair]) => pair[1] === null);
      return [
        { type: "scatter", mode: "lines", name: `${kind}${count > pairs.length ? `, ${pairs.length} of ${count}` : ""}`, x: pairs.flatMap(([birth, death]) => [birth, death === null ? end : death, null]), y: rows.flatMap((each) => [each, each, null]), line: { color: colour(i), width: Math.min(6, 220 / (bars.length * 3 + pairs.length)) }, hovertemplate: "%{x:.5~g}<extra></extra>" },
        { type: "scatter", mode: "markers", x: open.map(() => end), y: open.map(([, each]) => each), marker: { symbol: "triangle-right", size: 10, color: colour(i) }, showlegend: false, hoverinfo: "skip" }];
    });
    return { data, layout: { hovermode: "closest", xaxis: levels, yaxis: axis("", { ...hidden, range: [row + 0.5, 0] }) } };
  }
  function smadFigure({ topology, smad, smad_p_value: p, arrays }) {
    const others = arrays.smad_null || [];
    const kinds = [["this grid", [smad]], ...Object.entries(topology.coarser).map(([stride, values]) => [`every ${stride === "2" ? "2nd" : "3rd"} point`, values]), ...(others.length ? [[`${others.length} random planes`, others]] : [])];
    const data = kinds.map(([name, values], i) => ({ type: "scatter", mode: "markers", name, x: values, y: values.map(() => name), marker: { size: i ? 8 : 12, opacity: i ? 0.7 : 1, color: colour(i), symbol: i === kinds.length - 1 && others.length ? "line-ns-open" : SYMBOLS[i], line: { width: 1.5, color: colour(i) } }, cliponaxis: false, hovertemplate: `${name}: %{x:.5~g}<extra></extra>` }));
    return { title: `SMAD beside others${finite(p) ? `, p = ${format(p, 2)}` : ""}`, data,
      layout: { hovermode: "closest", showlegend: false, xaxis: axis(`${symbol("smad")}${unit("smad")}`, { rangemode: "tozero" }), yaxis: axis("", { type: "category", autorange: "reversed" }) } };
  }

  /* Correlations */
  const relations = (report.correlations.table || []).filter((row) => row.spearman && finite(row.spearman.value));
  if (relations.length) {
    const node = section("correlations", "Correlations", report.correlations.note || "");
    const plots = el("div", { class: "figures" });
    node.append(plots);
    const state = { target: report.correlations.targets[0], coefficient: "spearman", metric: "lambda_max" };
    if (!metricNames.includes(state.metric)) state.metric = relations[0].metric;
    const one = figure(plots, "Coefficients", "Filled: p after Holm below 0.05. Bars: 95 % intervals, where there are enough independent values.", () => {
      const rows = relations.filter((row) => row.target === state.target).sort((a, b) => a[state.coefficient].value - b[state.coefficient].value);
      const value = (row) => row[state.coefficient];
      const sure = (row) => finite(value(row).adjusted) && value(row).adjusted < 0.05;
      const reach = (row, key) => (finite(value(row)[key]) ? Math.abs(value(row)[key] - value(row).value) : 0);
      return { data: [{ type: "scatter", mode: "markers", x: rows.map((row) => value(row).value), y: rows.map((row) => word(row.metric)), customdata: rows.map((row) => [row.count, value(row).adjusted === null ? "–" : format(value(row).adjusted)]),
        error_x: { type: "data", symmetric: false, array: rows.map((row) => reach(row, "high")), arrayminus: rows.map((row) => reach(row, "low")), color: css("--quiet"), thickness: 1.2, width: 3 },
        marker: { size: 9, color: rows.map((row) => colour(value(row).value < 0 ? 1 : 0)), symbol: rows.map((row) => `${value(row).value < 0 ? "square" : "circle"}${sure(row) ? "" : "-open"}`), line: { width: 2 } }, hovertemplate: "%{y}: %{x:.3f}<br>n = %{customdata[0]}, p %{customdata[1]}<extra></extra>" }],
        layout: { hovermode: "closest", xaxis: axis("coefficient", { range: [-1.05, 1.05], zeroline: true }), yaxis: axis("", { tickfont: { size: 10 }, dtick: 1 }) } };
    }, { height: 640, controls: controls(choice("with", options(report.correlations.targets), state.target, (value) => { state.target = value; one.update(); other.update(); }),
      choice("", [["spearman", "Spearman"], ["kendall", "Kendall"], ["pearson", "Pearson"]], "spearman", (value) => { state.coefficient = value; one.update(); })) });
    const other = figure(plots, "Minima", "One marker a minimum.", () => ({
      data: names.map((name) => { const rows = done.filter((row) => row.configuration === name); const look = looks(name); return { type: "scatter", mode: "markers", name, x: rows.map((row) => row[state.metric]), y: rows.map((row) => row[state.target]), customdata: rows.map((row) => row.seed),
        marker: { size: 9, color: look.color, symbol: look.symbol }, hovertemplate: `${name}, seed %{customdata}<br>%{x:.4~g}, %{y:.4~g}<extra></extra>` }; }),
      layout: { hovermode: "closest", xaxis: axis(word(state.metric) + unit(state.metric)), yaxis: axis(word(state.target) + unit(state.target)) } }),
    { height: 440, controls: controls(choice("metric", options(metricNames), state.metric, (value) => { state.metric = value; other.update(); })) });
    const flat = relations.map((row) => ({ metric: row.metric, target: row.target, n: row.count, independent: row.independent, kendall_within: row.kendall_within, granulated: row.granulated ? row.granulated.mean : null,
      ...Object.fromEntries(["spearman", "kendall", "pearson"].flatMap((kind) => [[kind, row[kind].value], [`${kind}_low`, row[kind].low], [`${kind}_high`, row[kind].high], [`${kind}_p`, row[kind].p_value], [`${kind}_adjusted`, row[kind].adjusted]])) }));
    table(node, { title: "All coefficients", name: "correlations", rows: flat, columns: heads(["metric", "target", "n", "independent", "spearman", "spearman_low", "spearman_high", "spearman_adjusted", "kendall", "pearson", "kendall_within", "granulated"], flat), all: Object.keys(flat[0]) });
  }
  about(report.about);
}
