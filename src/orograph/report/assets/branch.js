/* The report of branches: where critical points lie as λ changes, what they are like, and what happens between them. */

function show(report) {
  const { quantities, branches, metrics, classes } = report;
  const word = (name) => label(quantities, name);
  const index = (point) => (finite(point.objective_negative_eigenvalues) ? Math.min(point.objective_negative_eigenvalues, 3) : -1);
  const what = (i) => (i < 0 ? "index not known" : i === 0 ? "minimum" : `saddle of index ${i}${i === 3 ? " or more" : ""}`);
  const MARKS = { fold: ["circle-open", "fold"], turn: ["square-open", "turn of q"], branch: ["diamond-open", "branch point"], end: ["x-open", "end"] };
  const last = (list) => list[list.length - 1];

  /* Overview */
  const top = section("overview", "Overview");
  const all = branches.flatMap((branch) => branch.points);
  const met = branches.flatMap((branch) => branch.events);
  const count = (kind) => String(met.filter((event) => event.event_kind === kind).length);
  const edges = (kind) => String(report.atlas.edges.filter((edge) => edge.kind === kind).length);
  const joined = report.atlas ? [["descents", edges("descent")], ["barriers", String(report.atlas.barriers.length)], ["jumps", edges("jump")]] : [];
  facts(top, [["branches", String(branches.length)], ["points", String(all.length)], ["folds", count("fold")], ["branch points", count("branch")],
    ["turns of q", count("turn")], ["products", String(branches.reduce((sum, branch) => sum + last(branch.points).products, 0))], ...joined]);
  if (report.analysis === null) notices(top, [["", "Not analysed: orograph analyze adds stretches, equal depth, lost classes and L_eff against ∫ q dλ to this report."]]);
  notices(top, branches.map((branch) => [branch.ended ? "good" : "bad",
    `${branch.name}: ${branch.points.length} points, λ from ${format(branch.points[0].strength)} to ${format(last(branch.points).strength)}; ${branch.ended || "not finished: the same command goes on"}.`]));

  /* Diagrams */
  const node = section("diagram", "Bifurcation diagram", "Solid lines are minima, dashed ones saddles; markers are events. Hover for the index and the branch.");
  const plots = el("div", { class: "figures" });
  node.append(plots);
  const value = (point, name) => (Array.isArray(name) ? (point[name[0]] || [])[name[1]] : point[name]);

  /* One line for each stretch of one index, met in its events. */
  function stretches(branch, x, y) {
    const places = branch.points.map((point) => ({ x: value(point, x), y: value(point, y), i: index(point) }));
    [...branch.events].reverse().forEach((event) => {
      const at = { x: value(event, x), y: value(event, y) };
      if (["fold", "branch"].includes(event.event_kind) && finite(at.x) && finite(at.y) && event.after + 1 < places.length) places.splice(event.after + 1, 0, { ...at, i: places[event.after + 1].i });
    });
    const lines = [];
    places.forEach((place, k) => {
      if (!k || places[k - 1].i !== place.i) lines.push({ i: place.i, x: [place.x], y: [place.y] });
      else { last(lines).x.push(place.x); last(lines).y.push(place.y); }
      if (k + 1 < places.length && places[k + 1].i !== place.i) { last(lines).x.push(places[k + 1].x); last(lines).y.push(places[k + 1].y); }
    });
    return lines;
  }

  function traces(x, y, events) {
    const told = new Set();
    const found = [];
    branches.forEach((branch) => stretches(branch, x, y).forEach((line) => {
      const first = !told.has(line.i);
      told.add(line.i);
      found.push({ type: "scatter", mode: "lines", x: line.x, y: line.y, name: what(line.i), legendgroup: String(line.i), showlegend: first,
        line: { color: line.i < 0 ? css("--quiet") : colour(line.i), dash: DASHES[Math.max(line.i, 0)], width: 2, shape: "spline" }, hovertemplate: `${branch.name}, ${what(line.i)}<br>%{x:.6g}, %{y:.6g}<extra></extra>` });
    }));
    const ladder = (report.atlas ? report.atlas.ladders : []).filter((point) => finite(value(point, x)) && finite(value(point, y)));
    if (ladder.length) found.push({ type: "scatter", mode: "markers", name: "trained points", x: ladder.map((point) => value(point, x)), y: ladder.map((point) => value(point, y)),
      marker: { symbol: "circle", size: 5, color: css("--quiet") }, hovertemplate: "%{x:.6g}, %{y:.6g}<extra>trained</extra>" });
    if (events) Object.entries(MARKS).forEach(([kind, [symbol, name]]) => {
      const here = branches.flatMap((branch) => branch.events.filter((event) => event.event_kind === kind && finite(value(event, x)) && finite(value(event, y))));
      if (here.length) found.push({ type: "scatter", mode: "markers", name: name, x: here.map((event) => value(event, x)), y: here.map((event) => value(event, y)),
        marker: { symbol, size: 9, color: css("--text"), line: { width: 1.6 } }, hovertemplate: `${name}<br>%{x:.8g}, %{y:.6g}<extra></extra>` });
    });
    return found;
  }

  const diagram = (title, note, x, y, xTitle, yTitle, { events = false, extra = {} } = {}) => figure(plots, title, note, () => ({
    data: traces(x, y, events), layout: { hovermode: "closest", xaxis: axis(xTitle, { nticks: 6, tickformat: "~g" }), yaxis: axis(yTitle, extra) } }), { height: 380, eager: y === "order_parameter" });
  const lambda = headingOf(quantities, "strength");
  diagram("Order parameter", "How far from θ_ref critical points lie.", "strength", "order_parameter", lambda, word("order_parameter"), { events: true });
  diagram("Training loss", "L without the penalty.", "strength", "train_loss", lambda, word("train_loss"));

  /* L_eff less its chord: the swallowtail of a first-order transition is flat on its own scale. */
  const [low, high] = [Math.min(...all.map((point) => point.strength)), Math.max(...all.map((point) => point.strength))];
  const at = (strength) => all.reduce((best, point) => (Math.abs(point.strength - strength) < Math.abs(best.strength - strength) || (point.strength === best.strength && point.objective < best.objective) ? point : best));
  const [left, right] = [at(low), at(high)];
  const slope = (right.objective - left.objective) / (high - low || 1);
  [...all, ...met, ...(report.atlas ? report.atlas.ladders : [])].forEach((point) => { point.excess = point.objective - left.objective - slope * (point.strength - low); });
  diagram("L_eff, less the chord of its ends", "The lowest line is the global minimum of those that are known; where lines cross, it changes.", "strength", "excess", lambda, word("excess") + unitOf(quantities, "excess"), { events: true });

  if (all.some((point) => Array.isArray(point.lowest_eigenvalues))) {
    const modes = Math.max(...all.map((point) => (point.lowest_eigenvalues || []).length));
    const names = branches.map((branch) => branch.name);
    let chosen = names[0];
    const controls = names.length > 1 ? choice("branch", names.map((name) => [name, name]), chosen, (name) => { chosen = name; one.update(); }) : null;
    const one = figure(plots, "Lowest eigenvalues of L_eff", "Along the arclength of a branch; one that passes zero is an event.", () => {
      const points = branches.find((branch) => branch.name === chosen).points;
      return { data: [...Array(modes).keys()].map((k) => ({ type: "scatter", mode: "lines", name: `eigenvalue ${k + 1}`, x: points.map((point) => point.arclength), y: points.map((point) => (point.lowest_eigenvalues || [])[k]), line: { color: colour(k), dash: DASHES[k % 5], width: 1.7 } })),
        layout: { xaxis: axis(word("arclength")), yaxis: axis(headingOf(quantities, "eigenvalue_of_objective")) } };
    }, { height: 380, controls });
  }

  const scored = metrics.filter((name) => all.some((point) => finite(point[name])));
  const byClass = metrics.filter((name) => all.some((point) => Array.isArray(point[name]) && point[name].length === classes.length));
  scored.filter((name) => name.startsWith("test_")).slice(0, 2).forEach((name) => diagram(word(name), "", "strength", name, lambda, word(name) + unitOf(quantities, name)));
  byClass.slice(0, 1).forEach((name) => figure(plots, word(name), "Of each class, along the arclength of the first branch: where one falls, the branch loses it.", () => ({
    data: classes.map((each, k) => ({ type: "scatter", mode: "lines", name: each, x: branches[0].points.map((point) => point.arclength), y: branches[0].points.map((point) => point[name][k]), line: { color: colour(k), dash: DASHES[Math.floor(k / 7) % 5], width: 1.5 } })),
    layout: { xaxis: axis(word("arclength")), yaxis: axis(word(name) + unitOf(quantities, name)) } }), { height: 380 }));

  if (report.analysis) showAnalysis(report);

  /* The graph of an atlas, one stretch or point at a time; what joins it is a button that leads there. */
  if (report.atlas) {
    const { nodes, edges, maxwell, barriers, lost_classes: lost } = report.atlas;
    const graph = section("graph", "Graph", "Stretches of critical points and the points in which they begin, meet and end. Buttons lead on.");
    const box = el("div", {});
    graph.append(box);
    const stretchOf = (name) => edges.find((edge) => edge.kind === "stretch" && edge.name === name);
    const go = (name, why) => el("button", { type: "button", class: "csv", onclick: () => showOne(name) }, `${why}: ${name}`);
    const kindOf = (stretch) => (stretch.index === null ? "index not known" : stretch.stable ? "minima" : `saddles of index ${stretch.index}`);
    function showOne(name) {
      const stretch = stretchOf(name);
      const point = nodes.find((node) => node.name === name);
      const links = [];
      if (stretch) {
        links.push(go(stretch.from, "begins in"), go(stretch.to, "ends in"));
        edges.filter((edge) => edge.kind === "descent" && edge.from === name && edge.to).forEach((edge) => links.push(go(edge.to, `descends ${format(edge.height)} at λ ${format(edge.strength)} to`)));
        edges.filter((edge) => edge.kind === "descent" && edge.to === name).forEach((edge) => links.push(go(edge.from, `saddle above, barrier ${format(edge.height)} at λ ${format(edge.strength)}`)));
        edges.filter((edge) => edge.kind === "jump" && edge.from === name && edge.to).forEach((edge) => links.push(go(edge.to, `${edge.run} jumps between λ ${format(edge.low)} and ${format(edge.high)} to`)));
        maxwell.filter((each) => each.certified && [each.first_stretch, each.second_stretch].includes(name)).forEach((each) => links.push(go(each.first_stretch === name ? each.second_stretch : each.first_stretch, `equal depth at λ ${format(each.strength, 8)} with`)));
      } else edges.filter((edge) => edge.kind === "stretch" && [edge.from, edge.to].includes(name)).forEach((edge) => links.push(go(edge.name, kindOf(edge))));
      if (!stretch) edges.filter((edge) => ["descent", "jump"].includes(edge.kind) && edge.to === name).forEach((edge) => links.push(go(edge.from, edge.kind === "jump" ? `${edge.run} jumps here from` : `saddle above, barrier ${format(edge.height)} at λ ${format(edge.strength)}`)));
      const known = stretch
        ? [["stretch", name], ["what", kindOf(stretch)], ["λ", `${format(stretch.low)} to ${format(stretch.high)}`], ["points", String(stretch.points)],
          ...lost.filter((each) => each.stretch === name).map((each) => [`loses ${each.class}`, `λ ${format(each.strength)}`])]
        : [["point", name], ["kind", point ? point.kind : ""], ...(point ? ["strength", "order_parameter", "objective", "test_accuracy"].filter((key) => finite(point[key])).map((key) => [headingOf(quantities, key), format(point[key], 8)]) : [])];
      box.replaceChildren();
      facts(box, known);
      box.append(el("p", { class: "links" }, ...links));
    }
    const firstStretch = edges.find((edge) => edge.kind === "stretch");
    if (firstStretch) showOne(firstStretch.name);
    table(graph, { title: "Stretches", name: "stretches", rows: edges.filter((edge) => edge.kind === "stretch").map((edge) => ({ ...edge, what: kindOf(edge) })),
      columns: [["name", "stretch"], ["what", "what"], ["low", "from λ"], ["high", "to λ"], ["from", "begins in"], ["to", "ends in"]].map(([key, text]) => ({ key, label: text, title: text, digits: 6 })) });
    if (barriers.length) table(graph, { title: "Barriers by saddles", name: "barriers", rows: barriers,
      columns: [["saddle", "saddle"], ["strength", lambda], ["one", "one side"], ["from_one", "height from there"], ["other", "other side"], ["from_other", "height from there"]].map(([key, text]) => ({ key, label: text, title: text })) });
    if (maxwell.length) table(graph, { title: "Equal depth", name: "maxwell", rows: maxwell,
      columns: ["strength", "first_stretch", "second_stretch", "latent", "certified"].map((key) => ({ key, label: headingOf(quantities, key), title: word(key), digits: 8 })) });
  }

  /* Tables */
  const tables = section("tables", "Every event and every point");
  const events = branches.flatMap((branch) => branch.events.map((event) => ({ branch_name: branch.name, ...event })));
  if (events.length) table(tables, { title: "Events", name: "events", rows: events, columns: columnsOf(report, "events").map((column) => (["strength", "order_parameter"].includes(column.key) ? { ...column, digits: 8 } : column)) });
  table(tables, { title: "Points", name: "points", rows: branches.flatMap((branch) => branch.points.map((point) => ({ branch_name: branch.name, ...point }))), all: ["branch_name", "point", ...report.names], columns: columnsOf(report, "branch") });
  about(report.about);
}

/* What orograph analyze found of branches. */
function showAnalysis({ quantities, branches, analysis }) {
  const word = (name) => label(quantities, name);
  const lambda = headingOf(quantities, "strength");
  const named = (names) => names.map(([key, text, digits]) => ({ key, label: text, title: text, digits }));
  const node = section("analysis", "Analysis", "Stretches of one index between events, where two of minima are equally deep, the classes lost, and L_eff against the work ∫ q dλ, by which alone it changes.");
  if (analysis.grown.length) notices(node, analysis.grown.map((name) => ["warn", `${name} has other points than were analysed: orograph analyze again.`]));
  const worked = analysis.branches.filter(({ name, work }) => work && work.length === branches.find((each) => each.name === name).points.length);
  if (worked.length) {
    const plots = el("div", { class: "figures" });
    node.append(plots);
    figure(plots, "L_eff less ∫ q dλ", "Zero but for the splines through the points that the integral is taken by: a step would be a change of branch.", () => ({
      data: worked.map(({ name, work }, k) => {
        const { points } = branches.find((each) => each.name === name);
        return { type: "scatter", mode: "lines+markers", name, x: points.map((point) => point.arclength), y: points.map((point, i) => point.objective - points[0].objective - work[i]), line: { color: colour(k), dash: DASHES[Math.floor(k / 7) % 5], width: 1.7 }, marker: { size: 4 } };
      }),
      layout: { xaxis: axis(word("arclength")), yaxis: axis("difference, nat", { exponentformat: "e" }) } }), { height: 380 });
  }
  const what = (index) => (index === null ? "index not known" : index === 0 ? "minima" : `saddles of index ${index}`);
  table(node, { title: "Stretches", name: "stretches", rows: analysis.stretches.map((each) => ({ ...each, what: what(each.index), low: each.low.strength, high: each.high.strength, begins: each.begins || "the start", ends: each.ends || "the end" })),
    columns: named([["name", "stretch"], ["what", "what"], ["points", "points"], ["low", "from λ", 8], ["high", "to λ", 8], ["begins", "begins in"], ["ends", "ends in"]]) });
  const enveloped = analysis.branches.filter((each) => each.envelope).map((each) => ({ name: each.name, ...each.envelope }));
  if (enveloped.length) table(node, { title: "L_eff against ∫ q dλ", name: "envelope", rows: enveloped,
    columns: named([["name", "branch"], ["largest_difference", "largest difference"], ["integral_error", "how well the integral is known"], ["range", "range of L_eff"]]) });
  if (analysis.maxwell.length) table(node, { title: "Equal depth", name: "equal-depth", rows: analysis.maxwell, note: "Between the points of two stretches; orograph atlas certifies it.",
    columns: named([["strength", lambda, 8], ["one", "one"], ["other", "other"]]) });
  if (analysis.lost_classes.length) table(node, { title: "Lost classes", name: "lost-classes", rows: analysis.lost_classes, note: "Where the test accuracy of a class falls below a half along a stretch of minima.",
    columns: named([["stretch", "stretch"], ["class", "class"], ["strength", lambda, 6]]) });
}
