"use strict";
const reading = JSON.parse(document.getElementById("data").textContent);
const QUESTIONS = ["call", "confidence", "realism", "cues"];
const $ = (id) => document.getElementById(id);
const form = $("form");
const store = `gan-reading-${reading.page}`;

// The state: answers so far, in order, and the milliseconds already spent on the image that is shown.
let state = { started: null, finished: null, screen: null, answers: [], ms: 0 };
let since = null; // when the image became visible; null while the page is hidden
let revealed = false; // whether the truth of an image of the warm-up is shown
let keeps = true; // whether the browser remembers the state

// Keeping the state.
function keep() {
  try {
    localStorage.setItem(store, JSON.stringify(state));
  } catch {
    keeps = false;
  }
}

function remembered() {
  try {
    const found = localStorage.getItem(store);
    localStorage.setItem(store, found ?? JSON.stringify(state));
    return found && JSON.parse(found);
  } catch {
    keeps = false;
    return null;
  }
}

// A file of this page, or what the browser kept of it: answers to the first images in their order.
function fits(found) {
  const answers = found && found.answers;
  return Array.isArray(answers) && answers.length <= reading.items.length
    && answers.every((answer, place) => answer && answer.id === reading.items[place].id);
}

function take({ started, finished, screen, answers, ms }) {
  state = { started, finished, screen, answers, ms: ms || 0 };
}

// Time: only while the page can be seen.
function stop() {
  if (since !== null) state.ms += performance.now() - since;
  since = null;
}

document.addEventListener("visibilitychange", () => {
  if ($("reading").hidden || revealed) return;
  if (document.hidden) {
    stop();
    keep();
  } else if (since === null) since = performance.now();
});

window.addEventListener("pagehide", () => {
  if ($("reading").hidden) return;
  stop();
  keep();
});

// What is shown.
function enlarged() {
  const frame = $("image").parentElement;
  const style = getComputedStyle(frame);
  const pads = parseFloat(style.paddingLeft) + parseFloat(style.paddingRight);
  const room = $("reading").clientWidth - 2 * parseFloat(getComputedStyle($("reading")).paddingLeft) - pads;
  return Math.max(1, Math.min(reading.enlarge, Math.floor(room / reading.width)));
}

function size() {
  if ($("reading").hidden) return;
  const factor = enlarged();
  state.screen = { enlarge: factor, ratio: window.devicePixelRatio, width: window.innerWidth, height: window.innerHeight };
  $("image").width = factor * reading.width;
  $("image").height = factor * reading.height;
}
window.addEventListener("resize", size);

function show() {
  const place = state.answers.length;
  if (place === reading.items.length) return end();
  const item = reading.items[place];
  const practice = reading.items.filter((one) => one.warmup).length;
  $("progress").textContent = item.warmup
    ? `Warm-up ${place + 1} of ${practice}`
    : `Image ${place + 1 - practice} of ${reading.items.length - practice}`;
  $("bar").value = place / reading.items.length;
  $("image").src = `data:image/png;base64,${item.image}`;
  $("image").classList.toggle("square", !reading.smooth);
  for (const part of ["start", "end"]) $(part).hidden = true;
  $("reading").hidden = false;
  size();
  revealed = false;
  form.reset();
  window.scrollTo(0, 0);
  form.classList.remove("revealed");
  $("truth").textContent = "";
  focus("call");
  complete();
  since = document.hidden ? null : performance.now();
}

function end() {
  if (!state.finished) state.finished = new Date().toISOString();
  keep();
  for (const part of ["start", "reading"]) $(part).hidden = true;
  $("end").hidden = false;
  $("finish").focus();
}

// Questions: one is marked, and digits answer it.
const fieldset = (question) => form.querySelector(`[data-question="${question}"]`);
const inputs = (question) => [...fieldset(question).querySelectorAll("input")];
const chosen = (question) => inputs(question).filter((input) => input.checked).map((input) => input.value);
let active = "call";

function focus(question) {
  const first = inputs(question).find((input) => input.checked) || inputs(question)[0];
  first.focus({ preventScroll: true });
  mark(question);
}

function mark(question) {
  active = question;
  for (const one of QUESTIONS) fieldset(one).classList.toggle("active", one === question);
}

form.addEventListener("focusin", (event) => {
  const inside = event.target.closest("[data-question]");
  if (inside) mark(inside.dataset.question);
});

function complete() {
  const done = ["call", "confidence", "realism"].every((question) => chosen(question).length === 1);
  $("next").disabled = !done && !revealed;
  return done;
}
form.addEventListener("change", complete);

function answer(question, place) {
  const input = inputs(question)[place];
  if (!input) return;
  input.checked = question === "cues" ? !input.checked : true;
  complete();
  focus(question === "cues" ? "cues" : QUESTIONS[QUESTIONS.indexOf(question) + 1]);
}

document.addEventListener("keydown", (event) => {
  if ($("reading").hidden || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const key = event.key.toLowerCase();
  if (key === "enter" && event.target.id !== "save") {
    event.preventDefault();
    next();
  } else if (revealed) return;
  else if (key === "r" || key === "s") answer("call", key === "r" ? 0 : 1);
  else if (/^[1-9]$/.test(key)) answer(active, Number(key) - 1);
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  next();
});

function next() {
  if (revealed) return show();
  if (!complete()) return;
  stop();
  const item = reading.items[state.answers.length];
  state.started = state.started || new Date().toISOString();
  state.answers.push({
    id: item.id,
    call: chosen("call")[0],
    confidence: Number(chosen("confidence")[0]),
    realism: Number(chosen("realism")[0]),
    cues: chosen("cues"),
    ms: Math.round(state.ms),
  });
  state.ms = 0;
  keep();
  if (!item.truth) return show();
  revealed = true;
  form.classList.add("revealed");
  $("truth").textContent = `This image is ${item.truth}.`;
  complete();
  $("next").focus();
}

// Saving and loading.
function save() {
  const content = { format: reading.format, page: reading.page, ...state };
  const blob = new Blob([JSON.stringify(content, null, 1) + "\n"], { type: "application/json" });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `answers-${reading.reader}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
$("save").addEventListener("click", save);
$("finish").addEventListener("click", save);

$("load").addEventListener("change", async (event) => {
  const file = event.target.files[0];
  if (!file) return;
  let found = null;
  try {
    found = JSON.parse(await file.text());
  } catch {}
  if (!found || found.page !== reading.page || !fits(found)) {
    $("problem").textContent = `${file.name} is not a file that this page saved.`;
    return;
  }
  take(found);
  keep();
  show();
});

const found = remembered();
if (found && fits(found)) take(found);
if (state.answers.length) $("begin").textContent = "Continue";
const done = state.answers.length ? `${state.answers.length} of ${reading.items.length} images are read. ` : "";
$("kept").textContent = done + (keeps
  ? "This browser remembers your answers: you can close the page and open it again."
  : "This browser does not remember answers: save them before you close the page, and continue from that file.");
$("begin").addEventListener("click", show);
$("begin").focus({ preventScroll: true });
