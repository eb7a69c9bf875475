/* The report of a sweep: everything against λ, one point at a time, and what an analysis found. */

const PATTERN = { up: "solid", down: "dash" };

function show(report) {
  const chains = report.chains.map((chain) => ({ ...chain, id: `${chain.seed}${chain.direction === "down" ? "-down" : ""}`,
    name: `seed ${chain.seed}, ${chain.direction}`, arrays: Object.fromEntries(Object.entries(chain.arrays).map(([name, array]) => [name, unpack(array)])) }));
  const both = new Set(chains.map((chain) => chain.direction)).size > 1;
  const several = new Set(chains.map((chain) => chain.seed)).size > 1;
  const word = (name) => label(report.quantities, name);
  const unit = (name) => unitOf(report.quantities, name);
  const units = (name) => (report.quantities[name] && report.quantities[name].units !== "1" ? report.quantities[name].units : "");
  const upper = (text) => text.slice(0, 1).toUpperCase() + text.slice(1);
  const has = (name) => chains.some((chain) => (chain.scalars[name] || []).some(finite));
  const state = { chain: 0, index: 0 };
  const here = () => chains[state.chain];
  const strength = () => here().strengths[state.index];
  const suffix = (chain) => (several ? ` · ${chain.name}` : both ? ` · ${chain.direction}` : "");
  const analysis = report.analysis;

  const ladder = [...new Set(chains.flatMap((chain) => chain.strengths))].sort((a, b) => a - b);
  /* The axis of λ is logarithmic where most of the ladder would be crowded into the left of a linear one. */
  const wide = ladder[0] > 0 && ladder[Math.floor(ladder.length / 2)] < 0.25 * ladder[ladder.length - 1];
  /* And where most happens near the beginning of a long ladder: λ = 0, if it is there, then stands a little before the first step. */
  const early = !wide && report.stretched_from;
  const place = (value) => (early && value < early ? early / 10 ** 0.4 : value);
  const ends = [ladder[0], ladder[ladder.length - 1]].map((value) => (wide || early ? Math.log10(place(value)) : value));
  const pad = 0.015 * (ends[1] - ends[0]) || 0.01;
  const across = { range: [ends[0] - pad, ends[1] + pad], ...(early ? stretchedAxis(ladder, place)
    : wide ? { type: "log", minor: { showgrid: false }, ...decades(ends[1] - ends[0]) } : {}) };
  const lines = Math.max(...chains.map((chain) => chain.strengths.length)) <= 60 ? "lines+markers" : "lines";

  const cursor = () => [{ type: "line", x0: place(strength()), x1: place(strength()), y0: 0, y1: 1, yref: "paper", line: { color: css("--quiet"), width: 1, dash: "dot" } }];
  const bands = () => (analysis ? analysis.chains.flatMap((chain) => chain.transitions.map(({ change }) => change)) : []).map(({ low, high }) =>
    ({ type: "rect", x0: low, x1: high, y0: 0, y1: 1, yref: "paper", layer: "below", line: { width: 0 }, fillcolor: colour(3), opacity: 0.22 }));

  function pick(at) {
    const x = ladder.find((value) => place(value) === at);
    const index = here().strengths.indexOf(x);
    const other = chains.findIndex((chain) => chain.strengths.includes(x));
    if (index >= 0) select(state.chain, index);
    else if (other >= 0) select(other, chains[other].strengths.indexOf(x));
  }
  const along = (parent, title, note, draw, options = {}) => figure(parent, title, note, () => {
    const { data, y, ...more } = draw();
    const placed = early ? data.map((trace) => ({ ...trace, x: trace.x.map(place) })) : data;
    return { data: placed, layout: { xaxis: axis(word("strength"), across), yaxis: y, shapes: bands(), ...more } };
  }, { linked: true, cursor, onpick: pick, ticks: early ? (range) => ticksWithin(range, across) : null, ...options });

  function curves(names, bars = false) {
    const margin = (chain, name) => (bars && chain.scalars[`${name}_margin`] ? { error_y: { type: "data", array: chain.scalars[`${name}_margin`], thickness: 1, width: 2 } } : {});
    return chains.flatMap((chain, c) => names.filter((name) => chain.scalars[name]).map((name, i) => ({
      type: "scatter", x: chain.strengths, y: chain.scalars[name], ...margin(chain, name), name: headingOf(report.quantities, name).replace(/ %$/, "") + suffix(chain),
      mode: lines, opacity: several && c ? 0.7 : 1,
      line: { color: colour(i), dash: PATTERN[chain.direction], width: 2 }, marker: { size: 5, symbol: SYMBOLS[i] },
      hovertemplate: "%{y:.5~g}", connectgaps: false })));
  }

  /* What was run */
  const top = section("overview", "Overview");
  const failed = chains.flatMap((chain) => chain.strengths.filter((_, i) => chain.texts.status[i] === "failed").map((s) => [chain, s]));
  const settings = Object.fromEntries(report.about.map(({ name, facts: pairs }) => [name, Object.fromEntries(pairs)]));
  const setting = (part, name) => (settings[part] || {})[name] || "–";
  const follows = setting("ending", "end") === "newton";
  const named = (part, name) => setting(part, name).replace(" (in memory)", "");
  facts(top, [["data set", named("data", "dataset")], ["model", setting("model", "widths") === "–" ? named("model", "model") : `${setting("model", "model")} ${setting("model", "widths")}, ${setting("model", "activation")}`],
    ["parameters", report.parameters.toLocaleString("en")], ["strengths λ", `${ladder.length}, ${format(ladder[0])} … ${format(ladder[ladder.length - 1])}`],
    ["seeds and directions", chains.map((chain) => chain.id).join(", ")], ["points recorded", `${report.recorded} of ${report.planned}`],
    ["anchor, start", `${setting("anchor", "anchor").split("/").pop()}, ${setting("anchor", "start")}`], ["polished", follows ? "along branches" : setting("training", "polish")]]);
  notices(top, remarks());

  function remarks() {
    const found = [];
    const count = (name, holds) => chains.reduce((sum, chain) => sum + (chain.scalars[name] || []).filter(holds).length, 0);
    const points = (n) => `${n} point${n === 1 ? "" : "s"}`;
    if (report.part) found.push(["", `A part of the run: ${report.part}. What was found of whole ladders stands in the report of the whole.`]);
    if (report.recorded < report.planned) found.push(["warn", `${points(report.planned - report.recorded)} of ${report.planned} not recorded yet; the same sweep command goes on.`]);
    if (failed.length) found.push(["bad", `${points(failed.length)} failed (its loss was not finite, or its worker was lost twice): ${failed.slice(0, 20).map(([chain, s]) => `${chain.name}, λ = ${format(s)}`).join("; ")}${failed.length > 20 ? " …" : ""}.`]);
    else found.push(["good", "No point failed."]);
    const unpolished = count("polish_converged", (value) => value === 0);
    if (setting("training", "polish") === "no" && !follows) found.push(["warn", "Not polished: points are where training stopped, not critical points. Eigenvalues and signs describe that state."]);
    else if (unpolished) found.push(["warn", `${points(unpolished)} did not become critical within the products allowed to polishing.`]);
    if (count("frozen", (value) => value === 1)) found.push(["warn", `${points(count("frozen", (value) => value === 1))} frozen: equal to the neighbour, training found nothing better.`]);
    if (follows && count("branch_kept", (value) => value === 0)) found.push(["", `${points(count("branch_kept", (value) => value === 0))} on another branch than the neighbour: its own could not be followed so far.`]);
    if (count("unconverged_pairs", (value) => value > 0)) found.push(["warn", `${points(count("unconverged_pairs", (value) => value > 0))} with eigenpairs that have not converged.`]);
    if (count("noise_pairs", (value) => value > 0)) found.push(["", `${points(count("noise_pairs", (value) => value > 0))} with eigenvalues that are rounding, drawn in grey.`]);
    if (count("cut", (value) => value === 1)) found.push(["", `At ${points(count("cut", (value) => value === 1))} k splits a cluster of eigenvalues: the last pairs are a part of a larger space.`]);
    if (setting("model", "activation") === "–" && count("smooth", (value) => value === 0)) found.push(["warn", "The loss is not twice differentiable: second-order results leave out its kinks."]);
    if (setting("model", "activation") === "relu") found.push(["warn", "ReLU is not twice differentiable: second-order results leave out its kinks."]);
    if (ladder[0] === 0 && report.endless) found.push(["", "At λ = 0 cross-entropy has no finite minimum; what is recorded there is where training stopped."]);
    report.missing.forEach(({ name, why, points: n, same }) => found.push(["warn", `${points(n)} without the measure ${name}${same ? "" : ", of the first"}: ${why.replace(/\.$/, "")}.`]));
    const kinds = certificates();
    const total = Object.values(kinds).reduce((a, b) => a + b, 0);
    if (total) found.push([kinds.saddle || kinds["not converged"] || kinds.undecided ? "warn" : "good", `Certificates: ${Object.entries(kinds).map(([kind, n]) => `${n} ${kind}`).join(", ")}.`]);
    const idle = chains.reduce((sum, chain) => sum + (chain.scalars.best_epoch || []).filter((epoch, i) => epoch === 0 && !(chain.scalars.frozen || [])[i]).length, 0);
    if (idle) found.push(["warn", `${points(idle)} whose best state is the one that training began with.`]);
    const begun = chains.some((chain) => chain.texts.certificate || chain.arrays.class_share);
    if (!analysis && begun) found.push(["warn", "Partly analysed: the same orograph analyze again adds what is missing to this report."]);
    ((analysis && analysis.left_out) || []).forEach((text) => found.push(["", text]));
    if (!analysis && !begun) found.push(["", "Not analysed: orograph analyze adds classes, branches, transitions, hysteresis and certificates to this report."]);
    return found;
  }

  function certificates() {
    const kinds = {};
    chains.forEach((chain) => (chain.texts.certificate || []).filter(Boolean).forEach((kind) => { kinds[kind] = (kinds[kind] || 0) + 1; }));
    return kinds;
  }

  /* Against λ */
  const ladderSection = section("ladder", "Against λ", "Figures share the axis of λ: what is hovered or zoomed in one is in all. A click takes the point below."
    + (both ? " Solid lines climb the ladder, dashed ones descend it." : "") + (analysis && bands().length ? " Bands are transitions of the order parameter." : ""));
  const grid = el("div", { class: "figures" });
  ladderSection.append(grid);
  along(grid, "Loss", `Mean over all samples${units("train_loss") === "nat" ? ", in nats" : ""}.`, () => ({ data: curves(["train_loss", "objective", "test_loss"]), y: axis(units("train_loss")) }), { eager: true });
  report.metrics.filter(({ name }) => has(`train_${name}`) || has(`test_${name}`)).forEach(({ name, label: text }) =>
    along(grid, upper(text), "", () => ({ data: curves([`train_${name}`, `test_${name}`]), y: axis(units(`test_${name}`)) })));
  report.metrics.forEach(({ name, label: text }) => {
    const listed = [`test_${name}`, `train_${name}`].find(held);
    if (listed) along(grid, `${upper(text).replace(/ of an output$/, "")} of each output`, listed.startsWith("test") ? "Of the test set." : "Of the training set.", () => listCurves(listed));
  });
  if (chains.some((chain) => chain.arrays.eigenvalue)) along(grid, "Hessian eigenvalues", "Dark to light by rank; grey crosses are at noise level, triangles unconverged.", eigenvalues);
  along(grid, "Gradient norm", "", () => {
    const data = curves(["gradient_norm", "objective_gradient_norm"]);
    return { data, y: logarithmic(data, "norm") };
  });
  along(grid, "Distances", "", () => ({ data: curves(["anchor_distance", "parameter_norm", "moved"]), y: axis("norm in parameter space") }));
  const grouped = report.metrics.map(({ name, label: text }) => [`${report.grouping}_${name}`, `${upper(text)} of each ${report.grouping}`]).filter(([name]) => held(name));
  grouped.forEach(([name, title]) => along(grid, title, "Of the test set.", () => listCurves(name, report.classes)));
  if (has("scalar_curvature")) along(grid, "Scalar curvature", "Of the graph of L: R, and R of the recorded pairs alone.", () =>
    ({ data: curves(["scalar_curvature", "scalar_curvature_top_k"]), y: axis(word("scalar_curvature")) }));
  if (has("trace")) along(grid, "Trace of the Hessian", "", () => ({ data: curves(["trace"]), y: axis(word("trace")) }));

  ["block_lambda_max", "block_trace", "block_effective_rank", "block_kfac_error", "block_learning_coefficient", "block_quadratic_coefficient"].filter(held).forEach((name) => along(grid, upper(word(name)), "One line a layer.", () => listCurves(name, report.blocks)));
  const measures = (title, note, names) => { if (names.some(has)) along(grid, title, note, () => ({ data: curves(names, true), y: axis(names.length > 1 ? units(names[0]) : word(names[0])) })); };
  measures("Layers together", "The share of tr H² between layers, ± its 95 % interval; and the largest eigenvalue of one layer's block, relative to λ_max.", ["off_diagonal_share", "largest_block_share"]);
  measures("Local learning coefficient", `Of chains around the point, beside that of its quadratic, ± 95 %.${unmixed()}`, ["learning_coefficient", "quadratic_coefficient"]);
  measures("Sharpening", "The rate at which gradient flow would change λ_max.", ["sharpening_rate"]);
  measures("Rise by SAM's step", "Of the loss, beside what gradient and Hessian predict.", ["sam_rise", "sam_predicted"]);
  measures("Asymmetry of the valley", "Along v₁, ± rounding: 0 of equal sides, 1 where one is flat.", ["valley_asymmetry"]);
  measures("Kronecker factors", `Of KFAC against the Gauss–Newton matrix: its error, that in the blocks of layers alone, and the share of the five largest eigenvectors that it spans.`, ["kfac_error", "kfac_block_error", "kfac_overlap"]);
  measures("Influence of training classes", `Change of the test loss of a ${report.grouping} for each relative weight of the training samples of its own, and of another ${report.grouping}: means, to first order.`, ["influence_own", "influence_other"]);

  function unmixed() {
    const values = chains.flatMap((chain) => chain.scalars.coefficient_rhat || []).filter(finite);
    const apart = values.filter((value) => value >= 1.05).length;
    return apart ? ` At ${apart} of ${values.length} points the chains have not mixed (R̂ of 1.05 and more): there it says only that.` : "";
  }

  function eigenvalues() {
    const known = chains.flatMap((chain) => (chain.arrays.eigenvalue ? chain.strengths.flatMap((_, i) => Array.from(chain.arrays.eigenvalue.row(i))) : []));
    const scale = signedScale(known, word("eigenvalue"));
    const data = [];
    chains.forEach((chain) => {
      if (!chain.arrays.eigenvalue) return;
      const k = chain.arrays.eigenvalue.shape[0];
      const column = (name, j) => chain.strengths.map((_, i) => chain.arrays[name].row(i)[j]);
      for (let j = k - 1; j >= 0; j -= 1) {
        const values = column("eigenvalue", j);
        data.push({ type: "scatter", mode: lines, x: chain.strengths, y: values.map(scale.map), customdata: values,
          name: `λ${j + 1}${suffix(chain)}`, showlegend: false, line: { color: ramp(j / Math.max(k - 1, 1)), dash: PATTERN[chain.direction], width: 1.3 },
          marker: { size: 4 }, hovertemplate: `λ${j + 1} = %{customdata:.5~g}<extra>${suffix(chain).slice(3)}</extra>`, meta: { quiet: j !== 0 && j !== k - 1 } });
      }
      const flagged = (holds, symbol, name) => {
        const [x, y] = [[], []];
        chain.strengths.forEach((s, i) => chain.arrays.eigenvalue.row(i).forEach((value, j) => { if (holds(i, j)) { x.push(s); y.push(scale.map(value)); } }));
        if (x.length) data.push({ type: "scatter", mode: "markers", x, y, name, hoverinfo: "skip", marker: { symbol, size: 6, color: css("--quiet") } });
      };
      const [noise, converged] = [chain.arrays.noise, chain.arrays.converged];
      if (noise) flagged((i, j) => noise.row(i)[j] === 1, "x-thin-open", `noise${suffix(chain)}`);
      if (noise && converged) flagged((i, j) => converged.row(i)[j] === 0 && noise.row(i)[j] !== 1, "triangle-up-open", `unconverged${suffix(chain)}`);
    });
    return { data, y: scale.axis, hovermode: "closest" };
  }

  function held(name) {
    return chains.some((chain) => chain.arrays[name]);
  }

  function listCurves(array, names = null) {
    const data = chains.flatMap((chain) => (chain.arrays[array] ? (names || Array.from(chain.arrays[array].row(0), (_, c) => String(c + 1))).map((name, c) => ({ type: "scatter", mode: "lines",
      x: chain.strengths, y: chain.strengths.map((_, i) => chain.arrays[array].row(i)[c]), name: name + suffix(chain), legendgroup: name,
      showlegend: chain === chains[0], line: { color: colour(c), dash: DASHES[(Math.floor(c / 7) + 2 * (chain.direction === "down")) % 5], width: 1.6 },
      hovertemplate: "%{y:.4~g}", meta: { quiet: true } })) : []));
    return { data, y: axis(units(array)), hovermode: "closest" };
  }

  /* One point */
  const pointSection = section("point", "One point");
  const slider = el("input", { type: "range", id: "strength", min: "0", step: "1", "aria-label": "strength λ", oninput: () => select(state.chain, Number(slider.value)) });
  const output = el("output", { for: "strength" });
  const which = choice("ladder", chains.map((chain, i) => [String(i), chain.name]), "0", (value) => {
    const chain = chains[Number(value)];
    const near = chain.strengths.map((s, i) => [Math.abs(s - strength()), i]).sort((a, b) => a[0] - b[0])[0][1];
    select(Number(value), near);
  });
  const step = (by) => select(state.chain, Math.min(Math.max(state.index + by, 0), here().strengths.length - 1));
  pointSection.append(el("div", { class: "pointbar" }, el("div", { class: "controls" }, chains.length > 1 ? which : null,
    el("button", { type: "button", "aria-label": "previous point", onclick: () => step(-1) }, "◀"),
    el("button", { type: "button", "aria-label": "next point", onclick: () => step(1) }, "▶"), output), slider));
  const facing = el("div");
  pointSection.append(facing);
  const three = el("div", { class: "figures" });
  pointSection.append(three);
  const row = (name) => (here().arrays[name] ? Array.from(here().arrays[name].row(state.index)) : []);
  const pointFigures = [];
  const atPoint = (...args) => pointFigures.push(figure(three, ...args));
  /* The first words of a long name by their first letters: half of a figure is room enough for `b.e.l.0.a.self.query.weight`. */
  function initials(name, most) {
    const words = name.split(".");
    for (let i = 0; i < words.length - 1 && words.join(".").length > most; i += 1) if (!/^\d/.test(words[i])) words[i] = words[i].slice(0, 1);
    return words.join(".");
  }
  const nothing = (text) => ({ data: [], layout: { xaxis: { visible: false }, yaxis: { visible: false }, annotations: [{ text, showarrow: false, xref: "paper", yref: "paper", x: 0.5, y: 0.5 }] } });

  atPoint("Spectrum", "Eigenvalues by rank with their residuals.", () => {
    const values = row("eigenvalue");
    if (!values.some(finite)) return nothing("no eigenpairs at this point");
    const scale = signedScale(values, word("eigenvalue"));
    const residuals = row("residual");
    const noise = row("noise");
    const up = values.map((value, j) => (residuals.length ? scale.map(value + residuals[j]) - scale.map(value) : 0));
    return { data: [{ type: "scatter", mode: "markers", x: values.map((_, j) => j + 1), y: values.map(scale.map), customdata: values.map((value, j) => [value, residuals[j]]),
      error_y: { type: "data", array: up, color: css("--quiet") }, marker: { size: 8, color: values.map((value, j) => (noise[j] === 1 ? css("--quiet") : value < 0 ? colour(1) : colour(0))),
        symbol: values.map((value, j) => (noise[j] === 1 ? "x" : value < 0 ? "square" : "circle")) },
      hovertemplate: "λ%{x} = %{customdata[0]:.6~g}<br>residual %{customdata[1]:.2e}<extra></extra>" }],
      layout: { xaxis: axis("rank", values.length > 12 ? {} : { dtick: 1 }), yaxis: scale.axis, hovermode: "closest", showlegend: false } };
  });
  atPoint("Gradient by parameter tensor", "Norm of ∇L (without the penalty) on each tensor.", () => {
    const norms = row("tensor_gradient_norm");
    if (!norms.some(finite)) return nothing("no gradient at this point");
    const short = report.tensors.map((name) => initials(name, window.innerWidth > 600 ? 40 : 26));
    return { data: [{ type: "bar", orientation: "h", y: report.tensors, x: norms, text: report.tensors, textposition: "none", marker: { color: colour(2) }, hovertemplate: "%{text}: %{x:.4~g}<extra></extra>" }],
      layout: { xaxis: axis("norm", { rangemode: "tozero" }), yaxis: axis("", { autorange: "reversed", tickvals: report.tensors, ticktext: short }), hovermode: "closest" } };
  }, { height: Math.max(330, 18 * report.tensors.length + 80) });
  atPoint("Gradient entries", "How many entries of ∇L have which magnitude; the first bin holds all smaller ones.", () => {
    const counts = row("gradient_counts");
    const edges = report.gradient_bins;
    return { data: [{ type: "bar", x: counts.map((_, i) => (edges[i] + edges[i + 1]) / 2), y: counts, marker: { color: colour(2) }, width: edges[1] - edges[0],
      customdata: counts.map((_, i) => [10 ** edges[i], 10 ** edges[i + 1]]), hovertemplate: "%{customdata[0]:.1e} – %{customdata[1]:.1e}: %{y}<extra></extra>" }],
      layout: { xaxis: axis("log₁₀ |∂L/∂θᵢ|", { nticks: 8 }), yaxis: axis("entries"), hovermode: "closest", bargap: 0 } };
  });
  if (chains.some((chain) => chain.arrays.class_share)) atPoint(`${upper(report.grouping)} shares`, `Share of each ${report.grouping} in each eigenvalue, in percent of the eigenvalue. Inside a cluster only sums over its pairs have meaning.`, () => {
    const shares = here().arrays.class_share;
    const values = row("eigenvalue");
    if (!shares || !row("class_share").some(finite)) return nothing(`no ${report.grouping} shares at this point`);
    const k = values.length;
    const z = report.classes.map((_, c) => values.map((value, j) => (100 * row("class_share")[c * k + j]) / Math.abs(value)));
    const most = Math.min(Math.max(...z.flat().filter(finite).map(Math.abs)), 150);
    return { data: [{ type: "heatmap", x: values.map((_, j) => j + 1), y: report.classes, z, zmin: -most, zmax: most, xgap: 1, ygap: 1,
      colorscale: diverging(),
      colorbar: { title: { text: "%" }, thickness: 10, outlinewidth: 0 }, hovertemplate: report.grouping + " %{y}, λ%{x}: %{z:.3~g} %<extra></extra>" }],
      layout: { xaxis: axis("rank", { dtick: k > 12 ? 5 : 1, showgrid: false }), yaxis: axis(word("class"), { type: "category", autorange: "reversed", showgrid: false }), hovermode: "closest" } };
  });
  if (held("influence")) atPoint("Influence by class", influenceNote(report.grouping), () => {
    const values = row("influence");
    if (!values.some(finite)) return nothing(`no influence at this point`);
    const z = report.classes.map((_, a) => values.slice(a * report.classes.length, (a + 1) * report.classes.length));
    return influenceMap(z, report.classes, row("influence_residual"), row("influence_polishing"), word, unit("influence"));
  });
  grouped.forEach(([name, title]) => atPoint(title, "Of the test set.", () => ({
    data: [{ type: "bar", x: report.classes, y: row(name), marker: { color: colour(0) }, hovertemplate: `%{x}: %{y:.4~g} ${units(name)}<extra></extra>` }],
    layout: { xaxis: axis(word("class"), { type: "category" }), yaxis: axis(units(name), units(name) === "%" ? { range: [0, 100] } : {}), hovermode: "closest" } })));
  if (chains.some((chain) => chain.arrays.density)) atPoint("Spectral density", "Normalised to 1; logarithmic.", () => {
    const values = row("density");
    const most = Math.log10(values.filter(finite).reduce((high, value) => Math.max(high, value), 1e-300));
    const least = most - 3 - Math.log10(report.parameters); /* far below one eigenvalue alone: tails of the kernel */
    return { data: [{ type: "scatter", mode: "lines", x: row("density_grid"), y: values, line: { color: colour(0) }, fill: "tozeroy" }],
      layout: { xaxis: axis(word("density_grid")), yaxis: axis(word("density"), { type: "log", range: [least, most + 0.3] }), hovermode: "closest" } };
  });

  let frame = null;
  function select(chain, index) {
    Object.assign(state, { chain, index });
    const status = here().texts.status[index];
    slider.max = here().strengths.length - 1;
    slider.value = index;
    which.querySelector("select").value = String(chain);
    const text = `λ = ${format(strength())}${chains.length > 1 ? `, ${here().name}` : ""}`;
    slider.setAttribute("aria-valuetext", text);
    output.textContent = text;
    const pairs = report.tables.point.filter((name) => here().scalars[name]).map((name) => [word(name), format(here().scalars[name][index])]);
    const certificate = here().texts.certificate && here().texts.certificate[index];
    facing.replaceChildren();
    if (status === "failed") notices(facing, [["bad", "This point failed: its loss was not finite, or its worker was lost twice."]]);
    facts(facing, certificate ? [["certificate", certificate], ...pairs] : pairs);
    if (frame === null) frame = requestAnimationFrame(() => {
      frame = null;
      pointFigures.forEach((one) => one.update());
      figures.filter((one) => one.linked && one.drawn).forEach((one) => one.update());
    });
  }
  select(0, 0);

  if (analysis) showAnalysis({ report, analysis, chains, along, curves, has, certificates });

  /* Tables */
  const tables = section("tables", "Tables", "A click on a heading sorts. Files hold every column in full precision.");
  whenNear(tables, () => {
    const names = [...new Set(chains.flatMap((chain) => [...Object.keys(chain.texts), ...Object.keys(chain.scalars)]))];
    const rows = chains.flatMap((chain) => chain.strengths.map((s, i) => ({ ID: chain.id, L2_strength: s, bad: chain.texts.status[i] === "failed",
      ...Object.fromEntries(names.map((name) => [name, ((chain.texts[name] || chain.scalars[name]) || [])[i]])) })));
    const visible = columnsOf(report, "points").filter(({ key }) => key === "ID" || key === "L2_strength" || names.includes(key));
    table(tables, { title: "Points", name: "points", rows, all: ["ID", "L2_strength", ...names], columns: visible });
    const pairs = chains.filter((chain) => chain.arrays.eigenvalue).flatMap((chain) => chain.strengths.map((s, i) => [chain.id, s, ...chain.arrays.eigenvalue.row(i)]));
    const k = Math.max(0, ...pairs.map((each) => each.length - 2));
    if (k) tables.append(el("p", {}, el("button", { type: "button", onclick: () =>
      download("eigenvalues.csv", csv(["ID", "L2_strength", ...Array.from({ length: k }, (_, j) => `lambda_${j + 1}`)], pairs)) }, "↓ eigenvalues.csv")));
  });
  about(report.about);
}

function showAnalysis({ report, analysis, chains, along, curves, has, certificates }) {
  const word = (name) => label(report.quantities, name);
  const symbol = (name) => headingOf(report.quantities, name);
  const found = new Map(analysis.chains.map((each) => [`${each.seed} ${each.direction}`, each]));
  const of = (chain) => found.get(`${chain.seed} ${chain.direction}`);
  const chainName = (each) => `seed ${each.seed}, ${each.direction}`;

  if (chains.some((chain) => chain.arrays.branch)) {
    const node = section("branches", "Branches", "Each line is one direction of curvature that was followed along λ, wherever its rank went. Circles are avoided crossings, crosses are crossings.");
    const grid = el("div", { class: "figures" });
    node.append(grid);
    chains.filter((chain) => chain.arrays.branch).forEach((chain) => along(grid, chain.name, "", () => {
      const lines = new Map();
      const all = [];
      chain.strengths.forEach((s, i) => chain.arrays.branch.row(i).forEach((branch, j) => {
        const value = chain.arrays.eigenvalue.row(i)[j];
        all.push(value);
        if (!lines.has(branch)) lines.set(branch, []);
        lines.get(branch).push([s, value]);
      }));
      const scale = signedScale(all, word("eigenvalue"));
      let shown = 0;
      const data = [...lines.entries()].sort((a, b) => b[1].length - a[1].length).map(([branch, pairs]) => {
        const lost = !(branch >= 0);
        const long = !lost && pairs.length >= 3;
        const i = long ? shown++ : 0;
        return { type: "scatter", mode: lost ? "markers" : chain.strengths.length <= 60 ? "lines+markers" : "lines", x: pairs.map(([s]) => s), y: pairs.map(([, value]) => scale.map(value)), customdata: pairs.map(([, value]) => value),
          line: { color: long ? colour(i) : css("--quiet"), dash: DASHES[Math.floor(i / 7) % 5], width: long ? 1.8 : 1 }, marker: { size: 4, color: long ? colour(i) : css("--quiet") },
          showlegend: false, meta: { quiet: true }, hovertemplate: `λ = %{x}<br>%{customdata:.5~g}<extra>${lost ? "not followed" : `branch ${branch}`}</extra>` };
      });
      const meetings = (of(chain) || { meetings: [] }).meetings;
      for (const [kind, symbol, name] of [["crossing", "x-thin", "crossing"], ["avoided", "circle-open", "avoided crossing"]]) {
        const here = meetings.filter((each) => each.kind === kind);
        if (here.length) data.push({ type: "scatter", mode: "markers", name, x: here.map((each) => each.strength), y: here.map((each) => scale.map(each.value)), customdata: here.map((each) => [each.first, each.second, each.gap]),
          marker: { symbol, size: 11, color: css("--text"), line: { width: 2, color: css("--text") } }, hovertemplate: `${name} of %{customdata[0]} and %{customdata[1]}<br>λ = %{x:.5~g}, gap %{customdata[2]:.3~g}<extra></extra>`, meta: { quiet: true } });
      }
      return { data, y: scale.axis, hovermode: "closest" };
    }, { height: 400 }));
    const meetings = analysis.chains.flatMap((each) => each.meetings.map((one) => ({ chain: chainName(each), ...one })));
    if (meetings.length) table(node, { title: "Crossings", name: "crossings", rows: meetings, columns: columnsOf(report, "crossings") });
  }

  const transitions = section("transitions", "Transitions", "A jump of the order parameter q = ‖θ − θ_ref‖² is a transition of first order, a kink one of second order. A ladder alone cannot tell a jump from a steep slope; orograph analyze --refine inserts points that can.");
  const reasons = [...new Set(analysis.chains.map((each) => each.changes_not_searched).filter(Boolean))];
  if (reasons.length) notices(transitions, reasons.map((text) => ["", `Change points were not searched: ${text}.`]));
  const grid = el("div", { class: "figures" });
  transitions.append(grid);
  if (has("order_parameter")) along(grid, "Order parameter", "q = ‖θ − θ_ref‖², the slope of the free energy.", () => ({ data: curves(["order_parameter"]), y: axis(symbol("order_parameter"), { type: "log", minor: { showgrid: false } }) }));
  if (has("susceptibility")) along(grid, "Susceptibility", "χ = −dq/dλ; positive at minima.", () => ({ data: curves(["susceptibility"]), y: axis(symbol("susceptibility"), { type: "log", minor: { showgrid: false } }) }));
  if (has("envelope_defect")) along(grid, "Envelope identity", "Relative defect of dF/dλ = q between neighbours. A defect above rounding at polished points means another branch was entered.", () => ({ data: curves(["envelope_defect"]).map((trace) => ({ ...trace, y: trace.y.map((value) => (finite(value) ? Math.abs(value) : null)), name: `|${trace.name}|` })), y: axis("relative defect", { type: "log", minor: { showgrid: false } }) }));
  const judged = analysis.chains.flatMap((each) => each.transitions.map(({ change, judgement, inserted }) => ({ chain: chainName(each), strength: change.strength, low: change.low, high: change.high, kind: change.kind, jump: change.jump, p_value: change.p_value, adjusted: change.adjusted, evidence: change.evidence,
    order: judgement.order, interval: `${format(judgement.low)} – ${format(judgement.high)}`, exponent: judgement.exponent, inserted })));
  if (judged.length) table(transitions, { title: "Transitions of the order parameter", name: "transitions", rows: judged, columns: columnsOf(report, "transitions") });
  const changes = analysis.chains.flatMap((each) => Object.entries(each.changes).flatMap(([quantity, list]) => list.map((one) => ({ chain: chainName(each), quantity, ...one }))));
  if (changes.length) table(transitions, { title: "Change points of all quantities", name: "change-points", rows: changes, columns: columnsOf(report, "changes") });
  const together = analysis.chains.flatMap((each) => each.coincidences.filter(({ counts }) => Math.min(...counts)).map(({ counts, ...one }) => ({ chain: chainName(each), of_first: counts[0], of_second: counts[1], ...one })));
  if (together.length) table(transitions, { title: "Coincidences of change points", name: "coincidences", note: "Of quantities that both have some. p: share of shifts along the ladder with as many together; adjusted after Holm.", rows: together, columns: columnsOf(report, "coincidences") });
  const relations = analysis.chains.flatMap((each) => each.class_relations.map((one) => ({ chain: chainName(each), ...one })));
  if (relations.length) table(transitions, { title: `${report.grouping === "class" ? "Classes" : "Groups"}: ${report.score} and share of the curvature`, name: "classes", note: `Correlation of the steps of a ${report.grouping}'s ${report.score} with those of its share, p by block permutation; and where it loses most.`, rows: relations, columns: columnsOf(report, "classes") });

  if (analysis.loops.length || analysis.loop_areas.length) {
    const node = section("hysteresis", "Hysteresis", "Where the way up and the way down differ. The Maxwell point, the spinodals and the escapes are different strengths.");
    const plots = el("div", { class: "figures" });
    node.append(plots);
    const marks = () => analysis.loops.flatMap((loop) => {
      const band = (step, i) => (step.every((end) => finite(number(end))) ? [{ type: "rect", x0: step[0], x1: step[1], y0: 0, y1: 1, yref: "paper", layer: "below", line: { width: 0 }, fillcolor: colour(i), opacity: 0.2 }] : []);
      const line = (x, dash, ink) => (finite(x) ? [{ type: "line", x0: x, x1: x, y0: 0, y1: 1, yref: "paper", line: { color: ink, width: 1.6, dash } }] : []);
      return [...band(loop.escape_up, 0), ...band(loop.escape_down, 1), ...line(loop.maxwell, "solid", css("--text")), ...line(loop.spinodal_up.estimate, "dot", colour(0)), ...line(loop.spinodal_down.estimate, "dot", colour(1))];
    });
    const ways = (name) => curves([name]).map((trace, i) => ({ ...trace, line: { ...trace.line, color: colour(trace.line.dash === "dash" ? 1 : 0) }, name: chains.filter((chain) => chain.scalars[name])[i].name }));
    const legend = "Solid line: Maxwell point. Dotted: spinodals. Bands: escapes, blue up, orange down.";
    along(plots, "Order parameter, both ways", legend, () => ({ data: ways("order_parameter"), y: axis(symbol("order_parameter"), { type: "log", minor: { showgrid: false } }), shapes: marks() }));
    along(plots, "L_eff, up less down", "Negative where the way up is lower.", () => {
      const data = [...new Set(chains.map((chain) => chain.seed))].flatMap((seed, i) => {
        const [up, down] = ["up", "down"].map((direction) => chains.find((chain) => chain.seed === seed && chain.direction === direction));
        if (!up || !down) return [];
        const other = new Map(down.strengths.map((s, j) => [s, down.scalars.objective[j]]));
        const x = up.strengths.filter((s) => other.has(s));
        return [{ type: "scatter", mode: x.length <= 60 ? "lines+markers" : "lines", x, y: x.map((s) => up.scalars.objective[up.strengths.indexOf(s)] - other.get(s)), name: `seed ${seed}`, line: { color: colour(2 + i) }, hovertemplate: "%{y:.4~g}" }];
      });
      return { data, y: axis("difference"), shapes: marks() };
    });
    const loops = analysis.loops.map((loop) => ({ seed: loop.seed, low: loop.low, high: loop.high, maxwell: loop.maxwell, spinodal_up: loop.spinodal_up.estimate, spinodal_down: loop.spinodal_down.estimate,
      escape_up: loop.escape_up.map((x) => format(number(x))).join(" – "), escape_down: loop.escape_down.map((x) => format(number(x))).join(" – "), area: loop.area, accuracy_area: loop.accuracy_area, barrier_best: loop.barrier.barrier_best, barrier_at: loop.barrier_at }));
    if (loops.length) table(node, { title: "Loops", name: "loops", rows: loops, columns: columnsOf(report, "loops") });
    const areas = analysis.loop_areas.map((each) => ({ seed: each.seed, area: each.area, rate: each.rate ? format(each.rate) : "not compared", null: each.null ? format(each.null) : "not compared" }));
    table(node, { title: "Areas and what they are held against", name: "loop-areas", rows: areas, columns: columnsOf(report, "loop_areas") });
    const commands = Object.entries(analysis.commands);
    if (commands.length) node.append(el("details", {}, el("summary", {}, "Commands of the runs that loops have not been held against"), commands.map(([name, text]) => el("p", {}, `${name}: `, el("code", {}, text)))));
  }

  if (Object.keys(certificates()).length) {
    const node = section("certificates", "Certificates", "What each point is: a minimum has ‖∇L_eff‖ within its limit and λ_min of L_eff above its residual and noise.");
    const plots = el("div", { class: "figures" });
    node.append(plots);
    const KINDS = [["minimum", 2, "circle"], ["saddle", 1, "x"], ["undecided", 4, "diamond-open"], ["not converged", 3, "triangle-up-open"], ["no penalty", 6, "square-open"]];
    along(plots, "λ_min of L_eff", "", () => {
      const all = chains.flatMap((chain) => chain.scalars.objective_lambda_min || []);
      const scale = signedScale(all, symbol("objective_lambda_min"));
      const data = KINDS.flatMap(([kind, ink, symbol]) => {
        const points = chains.flatMap((chain) => chain.strengths.map((s, i) => [s, (chain.scalars.objective_lambda_min || [])[i], (chain.texts.certificate || [])[i], chain.name]).filter((each) => each[2] === kind));
        return points.length ? [{ type: "scatter", mode: "markers", name: kind, x: points.map((each) => each[0]), y: points.map((each) => (finite(each[1]) ? scale.map(each[1]) : null)), customdata: points.map((each) => [each[1], each[3]]), marker: { color: colour(ink), symbol, size: 8 }, hovertemplate: `%{customdata[1]}<br>λ_min = %{customdata[0]:.4~g}<extra>${kind}</extra>`, meta: { quiet: true } }] : [];
      });
      return { data, y: scale.axis, hovermode: "closest", showlegend: true };
    });
    along(plots, "Gradient of L_eff and its limit", "", () => {
      const data = curves(["certified_gradient_norm", "gradient_norm_limit"]);
      return { data, y: logarithmic(data, "norm") };
    });
    const rows = chains.flatMap((chain) => chain.strengths.map((s, i) => ({
      ...Object.fromEntries(report.tables.certificates.map((name) => [name, (chain.scalars[name] || chain.texts[name] || [])[i]])), chain: chain.name, strength: s }))).filter((each) => each.certificate);
    rows.forEach((each) => { each.bad = each.certificate === "saddle" || each.certificate === "not converged"; });
    table(node, { title: "Certificates", name: "certificates", rows, columns: columnsOf(report, "certificates") });
  }
}
