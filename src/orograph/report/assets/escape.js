/* The report of escapes: how many chains are left in a state, how long it lasts, and which law that follows. */

function show(report) {
  const { quantities, wells, cells, laws, jump } = report;
  const word = (name) => label(quantities, name);
  const known = cells.filter((cell) => finite(cell.rate));
  const place = (cell) => wells.findIndex((well) => well.strength === cell.strength);
  const told = (cell) => `λ ${format(cell.strength)}, batch ${cell.batch_size}, learning rate ${format(cell.lr)}`;
  const sum = (name) => cells.reduce((total, cell) => total + (cell[name] || 0), 0);

  /* Overview */
  const top = section("overview", "Overview");
  facts(top, [["jump", `${jump.number} of ${jump.run}, λ ${format(jump.low)} to ${format(jump.high)}`], ["strengths", String(wells.length)], ["cells", String(cells.length)],
    ["chains", String(sum("chains"))], ["escaped", String(sum("escaped"))], ["law", laws ? laws.verdict : "none fitted"]]);
  const unstable = cells.filter((cell) => cell.unstable);
  notices(top, [
    laws ? ["good", `Akaike's criterion of the power law less that of Arrhenius is ${format(laws.difference)}, ${format(laws.low)} to ${format(laws.high)}: ${laws.verdict}.`] : ["bad", `No law was fitted: ${report.no_laws}`],
    ["good", `Heights: ${report.heights}`], ["good", `Rule: ${report.rule}`], ["good", `Rates: ${report.rates}`],
    ...(sum("diverged") ? [["bad", `${sum("diverged")} chains ceased to be finite and are left out.`]] : []),
    ...(unstable.length ? [["bad", `Learning rates of ${unstable.length} cells are so large that descent itself leaves the state; no law is fitted to these.`]] : [])]);

  /* Pictures */
  const node = section("escapes", "Escapes", "Time is steps times learning rate.");
  const plots = el("div", { class: "figures" });
  node.append(plots);
  const shown = cells.filter((cell) => cell.survival);
  const dash = (cell) => DASHES[shown.filter((each) => each.strength === cell.strength).indexOf(cell) % 5];
  figure(plots, "Share of chains that are left", "Kaplan and Meier's estimate of each cell; hover for Greenwood's 95 % interval.", () => ({
    data: shown.map((cell) => ({ type: "scatter", mode: "lines", name: told(cell), x: [0, ...cell.survival.times], y: [1, ...cell.survival.share],
      customdata: [[null, null], ...cell.survival.times.map((_, k) => [cell.survival.low[k], cell.survival.high[k]])],
      line: { shape: "hv", color: colour(place(cell)), dash: dash(cell), width: 1.7 }, hovertemplate: `${told(cell)}<br>time %{x:.4g}: %{y:.3f} (%{customdata[0]:.3f} to %{customdata[1]:.3f})<extra></extra>` })),
    layout: { hovermode: "closest", showlegend: shown.length <= 8, xaxis: axis("time"), yaxis: axis("share", { range: [0, 1.03] }) } }), { height: 420, eager: true });

  const height = (cell) => wells[place(cell)].height / cell.temperature;
  const law = (well, of) => {
    const inverse = known.filter((cell) => cell.strength === well.strength).map((cell) => 1 / cell.temperature);
    const [low, high] = [Math.min(...inverse), Math.max(...inverse)];
    const grid = inverse.length ? [...Array(40).keys()].map((k) => low + (high - low) * k / 39) : [];
    return { x: grid.map((each) => well.height * each), y: grid.map((each) => Math.exp(of(well, each))) };
  };
  const fits = laws ? [
    ["Arrhenius", "solid", (well, inverse) => laws.arrhenius.coefficients.a + laws.arrhenius.coefficients.b * well.height * inverse],
    ["power law", "dash", (well, inverse) => laws.power.coefficients.a + laws.power.coefficients.b * inverse * Math.log((well.objective + well.height) / well.objective)]] : [];
  figure(plots, "Mean time until an escape", "Markers are cells with their 95 % intervals; solid is Arrhenius, dashed the power law.", () => ({
    data: [...wells.map((well, i) => {
      const here = known.filter((cell) => cell.strength === well.strength && cell.rate > 0);
      return { type: "scatter", mode: "markers", name: `λ ${format(well.strength)}`, x: here.map(height), y: here.map((cell) => 1 / cell.rate), text: here.map(told),
        error_y: { type: "data", symmetric: false, array: here.map((cell) => 1 / cell.rate_low - 1 / cell.rate), arrayminus: here.map((cell) => 1 / cell.rate - 1 / cell.rate_high), thickness: 1.2, width: 3, color: colour(i) },
        marker: { color: colour(i), symbol: SYMBOLS[i % 7], size: 8 }, hovertemplate: "%{text}<br>%{y:.4g}<extra></extra>" };
    }), ...fits.flatMap(([name, style, of]) => wells.filter((well) => well.height > 0).map((well) => ({ type: "scatter", mode: "lines", showlegend: false, name: name, ...law(well, of),
      line: { color: colour(wells.indexOf(well)), dash: style, width: 1.5 }, hovertemplate: `${name}<extra></extra>` })))],
    layout: { hovermode: "closest", xaxis: axis("ΔL_eff / T, T = learning rate / batch size"), yaxis: axis(headingOf(quantities, "mean_time"), { type: "log" }) } }), { height: 420, eager: true });

  /* Tables */
  const tables = section("tables", "States, cells, laws");
  const columns = (list) => list.map((key) => ({ key, label: headingOf(quantities, key), title: word(key) }));
  table(tables, { title: "States", name: "states", rows: wells, all: report.tables.wells, columns: columns(report.tables.wells) });
  table(tables, { title: "Cells", name: "cells", rows: cells.map((cell) => ({ ...cell, bad: cell.unstable })), all: report.tables.escapes, columns: columns(report.tables.escapes) });
  if (laws) {
    const rows = [["Arrhenius", laws.arrhenius], ["power law", laws.power]].map(([law, fit]) => ({ law, ...fit, ...Object.fromEntries(["a", "b"]
      .map((name) => [name, `${format(fit.coefficients[name])} ± ${format(fit.margins[name])}`])) }));
    const names = { law: "law", a: "a", b: "b", log_likelihood: "log likelihood", aic: "AIC", dispersion: "deviance / freedom" };
    table(tables, { title: "Laws", name: "laws", rows, all: Object.keys(names), columns: Object.entries(names).map(([key, text]) => ({ key, label: text, title: text })) });
  }
  about(report.about);
}
