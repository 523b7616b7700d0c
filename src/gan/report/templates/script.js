// The page reads without this script, which adds: larger pictures, the slider over training, tables that sort and filter,
// and files of tables (CSV) and figures (SVG).
"use strict";

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function save(name, type, text) {
  const link = element("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

const fileName = (text) => text.trim().toLowerCase().replace(/[^a-z0-9]+/g, "_").replace(/^_|_$/g, "").slice(0, 60) || "table";

// Pictures, enlarged by whole numbers.
const viewer = document.getElementById("viewer");
const large = viewer.querySelector("img");
let times = 1;

function enlarge(step) {
  times = Math.min(16, Math.max(1, times + step));
  large.width = times * Number(large.dataset.width);
  viewer.querySelector("span").textContent = `${large.alt}, ${times} px for each pixel`;
}

for (const link of document.querySelectorAll("a.picture")) {
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const image = link.querySelector("img");
    large.src = image.src;
    large.alt = image.alt;
    large.dataset.width = image.dataset.width || image.naturalWidth;
    const grid = viewer.querySelector("a");
    grid.hidden = link.hash === "#viewer";
    grid.href = link.href;
    const shown = Math.round(image.clientWidth / large.dataset.width);
    times = Math.max(shown + 1, Math.floor((0.92 * innerWidth) / large.dataset.width));
    enlarge(0);
    viewer.showModal();
  });
}
for (const button of viewer.querySelectorAll("[data-step]")) button.addEventListener("click", () => enlarge(Number(button.dataset.step)));
viewer.addEventListener("keydown", (event) => {
  if (event.key === "+" || event.key === "=") enlarge(1);
  if (event.key === "-") enlarge(-1);
});
viewer.addEventListener("click", (event) => event.target === viewer && viewer.close());

// Samples over training: one snapshot of each run at a time.
for (const over of document.querySelectorAll(".over")) {
  const slider = over.querySelector("input");
  const [said, all] = [over.querySelector("output"), over.querySelector("button")];
  const kimgs = slider.dataset.kimgs.split(" ").map(Number);
  over.querySelector(".slider").hidden = kimgs.length < 2;
  const show = (kimg) => {
    for (const run of over.querySelectorAll(".frames")) {
      const frames = [...run.querySelectorAll(".frame")];
      const last = frames.filter((frame) => Number(frame.dataset.kimg) <= kimg).pop() || frames[0];
      for (const frame of frames) frame.hidden = kimg !== null && frame !== last;
    }
    said.textContent = kimg === null ? "all" : `${kimg} kimg`;
    slider.setAttribute("aria-valuetext", kimg === null ? "all snapshots" : `${kimg} kimg`);
  };
  slider.addEventListener("input", () => show(kimgs[slider.value]));
  all.addEventListener("click", () => show(null));
}

// Tables.
const value = (cell) => cell?.dataset.sort ?? (cell?.querySelector(".value") ?? cell)?.textContent.trim() ?? "";

function compare(one, other, sign) {
  const numbers = [one, other].map((text) => parseFloat(text.replace("−", "-")));
  const missing = [one, other].map((text) => text === "" || text === "–");
  if (missing[0] || missing[1]) return missing[0] - missing[1];
  return sign * (numbers.some(Number.isNaN) ? one.localeCompare(other) : numbers[0] - numbers[1]);
}

function sortable(table) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    if (head.colSpan > 1 || !head.textContent.trim()) return;
    const button = element("button", { type: "button", className: "sort" }, ...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const sign = head.ariaSort === "ascending" ? -1 : 1;
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      const before = [...table.tHead.rows[0].cells].slice(0, column).reduce((sum, cell) => sum + cell.colSpan, 0);
      const rows = [...table.tBodies[0].rows];
      rows.sort((one, other) => compare(value(one.cells[before]), value(other.cells[before]), sign));
      table.tBodies[0].append(...rows);
    });
  });
}

function csv(table) {
  const text = (cell) => [...cell.childNodes].map((node) => node.textContent.replace(/\s+/g, " ").trim()).filter(Boolean).join(" | ");
  // A spreadsheet takes what begins like this for a formula, unless it is a number.
  const inert = (said) => (/^[=+@-]/.test(said) && !/^[+-]?[\d.]/.test(said) ? `'${said}` : said);
  const line = (row) => [...row.cells].map((cell) => `"${inert(text(cell)).replaceAll('"', '""')}"`).join(",");
  return [...table.rows].map(line).join("\r\n") + "\r\n";
}

for (const table of document.querySelectorAll("table")) {
  if (!table.tHead || !table.tBodies[0].rows.length) continue;
  sortable(table);
  const tools = element("p", { className: "tools" });
  if (table.tBodies[0].rows.length > 3) {
    const filter = element("input", { type: "search", size: 14 });
    const left = element("output"); // a screen reader says it
    filter.addEventListener("input", () => {
      const [wanted, rows] = [filter.value.toLowerCase(), [...table.tBodies[0].rows]];
      for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
      left.textContent = wanted && `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
    });
    tools.append(left, element("label", {}, "Filter rows ", filter));
  }
  const name = [table.closest("section")?.querySelector("h2")?.textContent, table.caption?.textContent || table.rows[0].textContent].join(" ");
  const button = element("button", { type: "button", ariaLabel: `CSV of this table: ${table.caption?.textContent || table.rows[0].cells[0].textContent}` }, "CSV");
  button.addEventListener("click", () => save(`${fileName(name)}.csv`, "text/csv", csv(table)));
  tools.append(button);
  (table.closest(".scroll") ?? table).before(tools);
}

// Figures: as files they have the colours of the page as it is now. On a small screen they scroll, and the Tab key stops there.
const narrow = matchMedia("(max-width: 720px)");
const stops = () => document.querySelectorAll(".drawing").forEach((figure) => { figure.tabIndex = narrow.matches ? 0 : -1; });
narrow.addEventListener("change", stops);
for (const drawing of document.querySelectorAll("figure > svg")) {
  const name = drawing.querySelector("title")?.textContent ?? "figure";
  const button = element("button", { type: "button", ariaLabel: `SVG of ${name}` }, "SVG");
  button.addEventListener("click", () => {
    const style = getComputedStyle(document.documentElement);
    const copy = drawing.cloneNode(true);
    copy.setAttribute("style", `background:${style.getPropertyValue("--paper").trim()}`);
    const text = new XMLSerializer().serializeToString(copy).replace(/var\((--[a-z0-9]+)\)/g, (_, variable) => style.getPropertyValue(variable).trim().replaceAll('"', "'"));
    save(`${fileName(name)}.svg`, "image/svg+xml", text);
  });
  const figure = drawing.closest("figure");
  figure.classList.add("drawing");
  figure.append(element("p", { className: "tools" }, button));
}
stops();
