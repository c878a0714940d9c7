// Listens to the device, and shows what it says: picture and state of one message together.

import { drawAges, forgetAges, noteAge } from "./ages.js";
import { press, setUpControls, toggleAwake, toggleEngineer, toggleFull } from "./controls.js";
import { showAge, showFigures, showRuns } from "./engineer.js";
import { foundIn, headOf, spoken } from "./found.js";
import { saveSnapshot, showPicture } from "./picture.js";
import { read } from "./reading.js";
import { alarm, allowSound, toggleSound } from "./sound.js";
import { $, plain, rows, seconds, show, time, write } from "./text.js";

const SILENCE_MS = 1200; // without a message
const STOPPED_MS = 5000; // without anything new from the stream
const PATIENCE_MS = 3000; // with one request
const RETRY_MS = 300;
const NOTICE_MS = 60000;
const token = new URLSearchParams(location.search).get("token");
const secret = token === null ? "" : "&token=" + encodeURIComponent(token); // for browsers that keep no cookies

let stream = { source: "", classes: [], class_colours: [], live: true, max_age_ms: null };
let link = "waiting"; // see reading.js
let heard = performance.now();
let state = null; // what the device said last
let after = 0; // its number
let version = ""; // of the page's files
let wishes = 0; // how often another picture was asked for
let shown = null; // what was said with the picture on show
let shownAge = 0;
let shownAt = 0;
let lastGood = null;
let pausedAt = null;
let hasOutline = true;
let noticeAt = 0;

const pause = time_ms => new Promise(resume => setTimeout(resume, time_ms));
const name = () => plain(stream.stream || stream.source || "physedge");

async function listen() {
  for (;;) {
    try {
      if (state === null) await learn();
      const asked = wishes;
      const answer = await ask(`next?after=${after}${hasOutline ? "" : "&plain=1"}`);
      const told = JSON.parse(answer.headers.get("X-Physedge"));
      if (told.run !== stream.run) {
        await startAnew();
        continue;
      }
      const picture = answer.status === 200 ? await createImageBitmap(await answer.blob()) : null;
      if (asked === wishes || told.ended) take(told, picture); // else another picture was asked for meanwhile
      if (told.ended) await pause(RETRY_MS);
    } catch {
      await pause(RETRY_MS);
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

// A device that answers while its stream says nothing has stopped, whatever it said last.
function linkNow() {
  const limit_ms = Math.max(STOPPED_MS, 3 * (stream.period_ms || 0));
  const isStopped = stream.live && state !== null && state.signal === "LIVE" && performance.now() - shownAt > limit_ms;
  return link === "heard" && isStopped ? "stopped" : link;
}

async function learn() {
  const about = await (await ask("about?")).json();
  if (version && about.page !== version) location.reload(); // the program is another one than this page's
  version = about.page;
  stream = about;
  write("name", name());
  showRuns(stream);
}

// Another run of the program: its numbers begin at 1, and what this page knows is of the one before.
async function startAnew() {
  const isRestart = state !== null;
  state = null;
  after = 0;
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

// Nothing waits in here: what is written changes together with the picture.
function take(told, picture) {
  heard = performance.now();
  link = "heard";
  const isNew = told.number !== after || state === null || told.ended !== state.ended;
  state = told;
  if (!isNew) return;
  after = told.number;
  if (picture && pausedAt === null) showPicture(picture);
  if (told.kind === "frame") noteAge(told.age_ms, told.withdrawn === null);
  shownAge = told.age_ms ?? 0;
  shownAt = performance.now();
  if (pausedAt === null || shown === null) shown = told;
  if (told.signal === "LIVE") lastGood = new Date();
  render();
}

// A paused picture keeps the answer that is drawn on it; else the answer must still hold.
const answerOnShow = said => (shown !== null && (said.answers || pausedAt !== null) ? (shown.answer ?? null) : null);

// Everything that is said, from what is known now; figures that no longer hold are not shown.
function render() {
  const said = read(state, stream, linkNow());
  const answer = answerOnShow(said);
  document.body.className = [
    said.isStruck ? "struck" : "",
    said.word === "STALE" ? "stale" : "",
    said.level,
    pausedAt ? "pausing" : "",
    said.word === "SAFE STATE" ? "safe" : "",
    answer && shown.trust && shown.trust.state !== "ok" ? "doubtful" : "",
    $("engineer").hidden ? "" : "engineering",
    document.fullscreenElement ? "full" : "",
  ]
    .filter(Boolean)
    .join(" ");
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
  const isOfNow = pausedAt !== null || !said.isStruck;
  write("legendhead", shown && isOfNow ? headOf(shown, stream) : "Found");
  write("notes", (stream.notes ?? []).join("; "));
  write("note", answer && answer.note ? answer.note : "");
  $("picture").setAttribute(
    "aria-label",
    pausedAt ? `Paused picture. ${spoken(found)}` : `${said.word}. ${spoken(found)}`,
  );
  renderAge(said);
  const isHeard = link === "heard" && state !== null && state.signal !== undefined;
  showFigures({ said, state, trust: answer ? shown.trust : null, isHeard });
  alarm(said.alarms && stream.live);
}

// How old the picture on show is by now; "–" where nobody knows, or where it says nothing.
function renderAge(said) {
  const quiet_ms = performance.now() - shownAt;
  const age_ms = shownAge + (said.isOld || quiet_ms > 250 ? quiet_ms : 0);
  showAge(said.ages && shownAt && pausedAt === null ? age_ms : null, stream.max_age_ms);
}

function watch() {
  const now = new Date();
  write("clock", time(now));
  $("clock").dateTime = now.toISOString();
  write("printed", `${name()} · ${now.toLocaleDateString("en-GB", { dateStyle: "long" })}, ${time(now)}`);
  if (pausedAt) write("pausedtext", `since ${time(pausedAt)} (${seconds(now - pausedAt)}): the camera goes on`);
  if (performance.now() - heard > SILENCE_MS && (link === "heard" || link === "waiting")) link = "silent";
  if (linkNow() !== "heard") render();
  else if (state) renderAge(read(state, stream, linkNow()));
  if (!$("notice").hidden && ((link !== "heard" && link !== "waiting") || performance.now() - noticeAt > NOTICE_MS))
    show("notice", false);
  if (!$("engineer").hidden) drawAges(stream.max_age_ms || 0);
  alarm(read(state, stream, linkNow()).alarms && stream.live);
}

function togglePause() {
  pausedAt = pausedAt === null ? new Date() : null;
  press("pause", pausedAt !== null);
  $("pause").textContent = pausedAt ? "Go on" : "Pause";
  show("paused", pausedAt !== null);
  if (pausedAt === null) {
    askAgain();
    shown = state;
  }
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
  const said = read(state, stream, linkNow());
  const paused = pausedAt ? `, paused at ${time(pausedAt)}` : "";
  const found = $("sentence").textContent || spoken(foundIn(answerOnShow(said), stream));
  saveSnapshot(name(), [`${name()} · ${said.word}${paused}`, found], said.isStruck && pausedAt === null);
}

setUpControls([
  ["pause", "space", togglePause],
  ["outline", "o", toggleOutline],
  ["snapshot", "s", snapshot],
  ["sound", "m", toggleSound],
  ["awake", "w", toggleAwake],
  ["full", "f", toggleFull],
  ["engineering", "e", toggleEngineer],
]);
for (const touch of ["pointerdown", "keydown"]) addEventListener(touch, allowSound, { capture: true });
setInterval(watch, 100);
listen();
