// One region after the other: what is shown, what is answered. A verdict is only taken as said once the server has it.

import { get, newKey, post, Refused } from "/assets/api.js";
import { Completion } from "/assets/completion.js";
import { Tiles } from "/assets/tiles.js";

const SETTLE = 250; // milliseconds for which a new region takes no answer, so that no key meant for the last one counts
const RETRIES = [500, 1000, 2000, 4000, 8000];
const DIGITS = "1234567890";

const $ = (id) => document.getElementById(id);
const show = (element, visible) => element.toggleAttribute("hidden", !visible);

let run; // what stays the same for all regions
let region = null; // what is shown now
let since = 0;
let busy = false;

const tiles = new Tiles($("tiles"), $("more"), $("crossed"));
const completion = new Completion($("class"), $("options"), (label) => say("class", label));
const nameOf = (label) => run.classes[label].name;

function fill(task) {
  region = task.region;
  since = performance.now();
  progress(task.progress);
  show($("desk"), region !== null);
  show($("finished"), region === null);
  if (region === null) return finish(task.progress);
  $("place").textContent = `${region.region} · rank ${region.rank} of ${task.progress.regions}`;
  $("question").replaceChildren(
    "Do most of these show ", strong(nameOf(region.proposed)), "?",
  );
  $("proposed").textContent = nameOf(region.proposed);
  $("right").querySelector("span").textContent = `Not an error: it is ${nameOf(region.predicted)}`;
  tiles.fill(region.tiles, region.region);
  completion.clear();
  keys();
  compare();
  // Away from the button that was pressed, so that Enter means "as proposed" again; and to where a phone should look.
  $("question").focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

function strong(text) {
  const element = document.createElement("b");
  element.textContent = text;
  return element;
}

function progress({ given, left, settled, regions, seconds_left: seconds }) {
  $("done").max = Math.max(given + left, 1);
  $("done").value = given;
  const pace = seconds === null || left === 0 ? "" : ` · about ${duration(seconds)} left`;
  $("progress").textContent = `${given} of ${given + left}${pace}`;
  $("progress").title = `${settled} of ${regions} regions are settled`;
}

function duration(seconds) {
  if (seconds < 90) return `${Math.max(5, 5 * Math.round(seconds / 5))} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.round(minutes / 60)} h`;
}

function finish({ given, settled, regions }) {
  $("finished-text").textContent =
    `You have labelled ${given} ${given === 1 ? "region" : "regions"}; ${settled} of ${regions} are settled. Thank you.`;
  show($("undo-last"), given > 0);
  $("finished-title").focus();
}

function keys() {
  const buttons = region.keys.map((label, place) => {
    const button = document.createElement("button");
    const key = document.createElement("kbd");
    key.textContent = digitOf(label, place);
    const name = document.createElement("span");
    name.textContent = nameOf(label);
    button.append(key, name);
    button.type = "button";
    button.addEventListener("click", () => say("class", label));
    return button;
  });
  $("keys").replaceChildren(...buttons);
}

// Where every class is called by a digit, its own digit is its key.
const ownDigits = () => run.classes.every(({ name }) => /^\d$/.test(name)) &&
  new Set(run.classes.map(({ name }) => name)).size === run.classes.length;
const digitOf = (label, place) => (ownDigits() ? nameOf(label) : DIGITS[place]);

function classOfKey(key) {
  const place = region.keys.findIndex((label, at) => digitOf(label, at) === key);
  return place < 0 ? null : region.keys[place];
}

function compare() {
  for (const [id, label] of [["real-proposed", region.proposed], ["real-predicted", region.predicted]]) {
    $(`${id}-name`).textContent = nameOf(label);
    $(id).replaceChildren(...run.classes[label].images.map((image) => picture(image, `a real ${nameOf(label)}`)));
  }
  $("bars").replaceChildren(...region.answers.slice(0, 5).map(bar));
  show($("words-box"), region.words.length > 0);
  $("words").replaceChildren(...region.words.map((phrase) => {
    const item = document.createElement("li");
    item.textContent = phrase;
    return item;
  }));
}

function picture(image, text) {
  const element = document.createElement("img");
  element.src = `/images/${image}`;
  element.alt = text;
  return element;
}

function bar({ label, share }) {
  const row = document.createElement("tr");
  const head = document.createElement("th");
  head.scope = "row";
  head.textContent = nameOf(label);
  const meter = document.createElement("progress");
  meter.max = 1;
  meter.value = share;
  meter.ariaHidden = "true";
  if (label === region.proposed) meter.className = "good";
  const cell = document.createElement("td");
  cell.append(meter, ` ${Math.round(100 * share)} %`);
  row.append(head, cell);
  return row;
}

async function say(answer, label = null) {
  if (busy || region === null || performance.now() - since < SETTLE) return;
  const said = region;
  const body = {
    run: run.run, page: run.page, key: newKey(), region: said.region, answer, label,
    shown: tiles.shown, crossed: tiles.crossed,
  };
  const words = label === null ? answer : `shows ${nameOf(label)}`;
  await change("/api/verdicts", body, `Saved: ${said.region} ${words}.`);
}

const skip = () => region && change("/api/skip", { run: run.run, region: region.region }, "Put off.");
const undo = () => change("/api/undo", { run: run.run, key: newKey() }, "Taken back.");

// Sends until the server has answered; the key makes sure that nothing counts twice.
async function change(path, body, saved) {
  if (busy) return;
  busy = true;
  document.body.classList.add("busy");
  try {
    let task;
    for (let tried = 0; ; tried++) {
      try {
        task = await post(path, body);
        break;
      } catch (error) {
        if (error instanceof Refused && error.status === 409 && error.message === "stored before") {
          task = await get("/api/next");
          break;
        }
        if ((error instanceof Refused && error.status !== 503) || tried >= RETRIES.length) throw error;
        trouble("Not saved yet. Trying again …", false);
        await new Promise((resolve) => setTimeout(resolve, RETRIES[tried]));
      }
    }
    trouble("");
    fill(task);
    $("status").textContent = region ? `${saved} Next: ${$("place").textContent}. ${$("question").textContent}` : saved;
  } catch (error) {
    if (error instanceof Refused) trouble(`Not saved: ${error.message}.`, false);
    else {
      trouble("Not saved: the server does not answer. Is it still running?", true);
      $("retry").onclick = () => change(path, body, saved);
    }
  } finally {
    busy = false;
    document.body.classList.remove("busy");
  }
}

function trouble(text, retry = false) {
  $("trouble-text").textContent = text;
  show($("trouble"), text !== "");
  show($("retry"), retry);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || !run) return;
  const target = event.target;
  if (target === $("class")) return;
  const pressing = target.closest("button, a, summary") && !target.closest("#tiles");
  if (event.key === "Enter" && pressing) return; // that button's own
  const act = action(event.key);
  if (act === null) return;
  event.preventDefault();
  act();
});

function action(key) {
  if (key === "u") return undo;
  if (region === null) return null;
  const label = /^\d$/.test(key) ? classOfKey(key) : null;
  if (label !== null) return () => say("class", label);
  if (key === "Enter") return () => say("class", region.proposed);
  if (key === "n") return () => say("no clear class");
  if (key === "e") return () => say("not an error");
  if (key === "s") return skip;
  if (key === "x") return () => tiles.enter();
  if (key === "/") return () => completion.focus("");
  if (/^\p{L}$/u.test(key)) return () => completion.focus(key);
  return null;
}

$("yes").addEventListener("click", () => say("class", region.proposed));
$("none").addEventListener("click", () => say("no clear class"));
$("right").addEventListener("click", () => say("not an error"));
$("skip").addEventListener("click", skip);
$("undo").addEventListener("click", undo);
$("undo-last").addEventListener("click", undo);

try {
  run = await get("/api/run");
  completion.classes = run.classes;
  fill(await get("/api/next"));
} catch (error) {
  trouble(error instanceof Refused ? error.message : "The server does not answer. Is it still running?");
}
