/* The page begins: theme, then the report of its kind. */

const report = JSON.parse(document.getElementById("data").textContent);
document.querySelector("h1").textContent = report.title;
const CHOICES = ["auto", "light", "dark"];
setTheme("auto");
document.getElementById("theme").addEventListener("click", (event) =>
  setTheme(CHOICES[(CHOICES.indexOf(event.currentTarget.dataset.choice) + 1) % 3]));
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
  setTheme(document.getElementById("theme").dataset.choice));
try {
  show(report);
} catch (error) { // results of another version, or of nobody's: what was shown before stays
  console.error(error);
  notices(document.getElementById("main"), [["bad", `The rest cannot be shown: the run holds results of a form that is not known here (${error.message}).`]]);
}
figures.filter((one) => one.drawn).forEach((one) => one.begin());
const links = [...document.querySelectorAll("nav a")];
const seen = new IntersectionObserver((entries) => entries.forEach((entry) => {
  if (!entry.isIntersecting) return;
  links.forEach((link) => (link.hash === `#${entry.target.id}` ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current")));
}), { rootMargin: "-25% 0px -65% 0px" });
document.querySelectorAll("main > section").forEach((node) => seen.observe(node));
requestAnimationFrame(() => setTimeout(() => {
  document.documentElement.dataset.painted = String(Math.round(performance.now())); // milliseconds, for who measures
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", loadPlotly);
  else loadPlotly();
}));
