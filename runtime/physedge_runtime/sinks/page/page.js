// Listens to the device, and shows what it says: picture and state of one message together.

import { drawAges, forgetAges, noteAge } from "./ages.js";
import { press, setUpControls, toggleAwake, toggleEngineer, toggleFull } from "./controls.js";
import { foundIn, spoken } from "./found.js";
import { saveSnapshot, showPicture } from "./picture.js";
import { read } from "./reading.js";
import { alarm, allowSound, toggleSound } from "./sound.js";
import { $, ms, plain, rows, seconds, show, time, write } from "./text.js";

const SILENCE_MS = 1200, PATIENCE_MS = 3000, RETRY_MS = 300, NOTICE_MS = 60000;
const STAGES = [["queue", "#8b949e"], ["preprocess", "#3cc8e9"], ["inference", "#e3a008"], ["postprocess", "#b083f0"]];
const token = new URLSearchParams(location.search).get("token");
const secret = token === null ? "" : "&token=" + encodeURIComponent(token);  // for browsers that keep no cookies

let stream = { source: "", classes: [], class_colours: [], live: true, max_age_ms: null };
let state = null, shown = null, link = "waiting", heard = performance.now(), after = 0, version = "";
let shownAge = 0, shownAt = 0, lastGood = null, pausedAt = null, hasOutline = true, noticeAt = 0, wishes = 0;

const name = () => plain(stream.name || stream.source || "physedge");

async function listen() {
  for (;;) {
    try {
      if (state === null) await learn();
      const asked = wishes, answer = await ask(`next?after=${after}${hasOutline ? "" : "&plain=1"}`);
      if (asked !== wishes) continue;  // what was asked for meanwhile is another picture
      const told = JSON.parse(answer.headers.get("X-Physedge"));
      if (told.run !== stream.run) { await startAnew(); continue; }
      const isPicture = answer.status === 200 && pausedAt === null;
      if (isPicture) await showPicture(await answer.blob());
      take(told, isPicture);
    } catch {
      await new Promise(resume => setTimeout(resume, RETRY_MS));
    }
  }
}

async function ask(path) {
  const answer = await fetch(path + secret, { signal: AbortSignal.timeout(PATIENCE_MS) }).catch(error => {
    if (link === "busy") link = "silent";
    throw error;
  });
  if (answer.status === 401) link = "refused";
  else if (answer.status === 503) link = "busy";
  if (!answer.ok) throw new Error(answer.status);
  return answer;
}

async function learn() {
  const about = await (await ask("about?")).json();
  if (version && about.page !== version) location.reload();  // the program is another one than this page's
  version = about.page;
  stream = about;
  write("name", name());
  rows("runs", [["source", stream.source], ["network", stream.bundle || "–"], ["signed by", stream.bundle_trust || "–"],
    ["engine", stream.engine]]);
}

// Another run of the program: its numbers begin at 1, and what this page knows is of the one before.
async function startAnew() {
  const isRestart = state !== null;
  state = null; after = 0;
  forgetAges();
  await learn();
  link = "waiting";
  heard = performance.now();
  if (isRestart) {
    noticeAt = performance.now();
    write("notice", `The device was started anew at ${time(new Date())}: pictures and counts begin again.`);
    show("notice", true);
  }
}

function take(told, isPicture) {
  heard = performance.now();
  link = "heard";
  const isNew = told.number !== after || state === null || told.ended !== state.ended;
  state = told;
  if (!isNew) return;
  after = told.number;
  if (told.kind === "frame") noteAge(told.age_ms, told.withdrawn === null);
  shownAge = told.age_ms ?? 0; shownAt = performance.now();
  if (pausedAt === null || shown === null) shown = told;
  if (told.signal === "LIVE") lastGood = new Date();
  render();
}

// A paused picture keeps the answer that is drawn on it; else the answer must still hold.
const answerOnShow = said => shown !== null && (said.answers || pausedAt !== null) ? shown.answer ?? null : null;

// Everything that is said, from what is known now; figures that no longer hold are not shown.
function render() {
  const said = read(state, stream, link), answer = answerOnShow(said);
  document.body.className = [said.isStruck ? "struck" : "", said.word === "STALE" ? "stale" : "", said.level, pausedAt ? "pausing" : "",
    said.word === "SAFE STATE" ? "safe" : "", answer && shown.trust && shown.trust.state !== "ok" ? "doubtful" : "",
    $("engineer").hidden ? "" : "engineering", document.fullscreenElement ? "full" : ""].filter(Boolean).join(" ");
  write("state", said.word);
  write("sentence", said.sentence);
  write("reason", said.reason);
  const since = lastGood && said.isStruck ? ` · last good picture ${time(lastGood)}` : "";
  write("markword", said.isStruck ? said.word : "");
  write("marktext", said.isStruck ? said.mark + since : "");
  document.title = `${said.word} · ${name()} · physedge`;
  write("trust", answer && shown.trust ? shown.trust.state : "–");
  const found = foundIn(answer, stream);
  rows("found", found);
  write("note", answer && answer.note ? answer.note : "");
  $("picture").setAttribute("aria-label", pausedAt ? `Paused picture. ${spoken(found)}` : `${said.word}. ${spoken(found)}`);
  renderEngineer(said, answer);
  alarm(said.alarms);
}

function renderEngineer(said, answer) {
  showAge(said);
  write("rate", said.answers ? state.answers_per_s.toFixed(1) : "–");
  const isHeard = link === "heard" && state !== null && state.signal !== undefined;
  const drops = isHeard ? Object.entries(state.drops) : [];
  write("dropped", isHeard ? drops.reduce((sum, [, count]) => sum + count, 0) : "–");
  write("number", isHeard && state.frame_id !== null && said.answers ? state.frame_id : "–");
  show("dropsection", drops.length > 0);
  rows("drops", drops.map(([cause, count]) => [cause.replaceAll("_", " "), count]));
  const trust = answer ? shown.trust : null, signals = trust ? Object.entries(trust.signals) : [];
  const place = signal => Object.hasOwn(trust.places, signal) ? " " + trust.places[signal] : "";
  show("signalsection", signals.length > 0);
  rows("signals", signals.map(([signal, value]) =>
    [signal.replaceAll("_", " ") + place(signal), value === null ? "–" : value.toPrecision(3)]));
  const stages = said.answers && state.stages;
  show("stagesection", Boolean(stages));
  if (stages) renderStages(stages);
}

function renderStages(stages) {
  const times = STAGES.map(([stage, colour]) => [stage, Math.max(0, stages[stage + "_ms"] || 0), colour]);
  const total = times.reduce((sum, [, taken]) => sum + taken, 0) || 1;
  $("bar").replaceChildren(...times.map(([, taken, colour]) => {
    const part = document.createElement("i");
    part.style.width = 100 * taken / total + "%"; part.style.background = colour;
    return part;
  }));
  rows("stages", times.map(([stage, taken, colour]) => [stage, ms(taken), colour]));
}

function showAge(said) {
  const age = shownAge + (said.isOld || performance.now() - shownAt > 250 ? performance.now() - shownAt : 0);
  write("age", said.ages && shownAt && pausedAt === null ? ms(age) : "–");
  $("age").className = said.ages && stream.max_age_ms && age > stream.max_age_ms ? "bad" : "";
}

function watch() {
  const now = new Date();
  write("clock", time(now));
  $("clock").dateTime = now.toISOString();
  write("printed", `${name()} · ${now.toLocaleDateString("en-GB", { dateStyle: "long" })}, ${time(now)}`);
  if (pausedAt) write("pausedtext", `since ${time(pausedAt)} (${seconds(now - pausedAt)}): the camera goes on`);
  if (performance.now() - heard > SILENCE_MS && (link === "heard" || link === "waiting")) link = "silent";
  if (link !== "heard") render();
  else if (state) showAge(read(state, stream, link));
  if (!$("notice").hidden && (link !== "heard" && link !== "waiting" || performance.now() - noticeAt > NOTICE_MS)) show("notice", false);
  if (!$("engineer").hidden) drawAges(stream.max_age_ms || 0);
  alarm(read(state, stream, link).alarms);
}

function togglePause() {
  pausedAt = pausedAt === null ? new Date() : null;
  press("pause", pausedAt !== null);
  $("pause").textContent = pausedAt ? "Go on" : "Pause";
  show("paused", pausedAt !== null);
  if (pausedAt === null) { askAgain(); shown = state; }
  render();
}

function toggleOutline() {
  hasOutline = !hasOutline;
  press("outline", hasOutline);
  askAgain();
}

// The picture on show once more, as it is wanted now.
function askAgain() {
  wishes += 1;
  after = Math.max(0, after - 1);
}

function snapshot() {
  const said = read(state, stream, link);
  const paused = pausedAt ? `, paused at ${time(pausedAt)}` : "";
  const found = $("sentence").textContent || spoken(foundIn(answerOnShow(said), stream));
  saveSnapshot(name(), [`${name()} · ${said.word}${paused}`, found], said.isStruck && pausedAt === null);
}

setUpControls([["pause", "space", togglePause], ["outline", "o", toggleOutline], ["snapshot", "s", snapshot],
  ["sound", "m", toggleSound], ["awake", "w", toggleAwake], ["full", "f", toggleFull], ["engineering", "e", toggleEngineer]]);
for (const touch of ["pointerdown", "keydown"]) addEventListener(touch, allowSound, { capture: true });
setInterval(watch, 100);
listen();
