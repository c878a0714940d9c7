// What a person is told of a state: one word, one sentence, and which figures still hold.
// Nothing here touches the page.

const UNUSABLE = new Set(["LOST", "FROZEN", "BLACK", "SATURATED"]);
const OLD = new Set(["LOST", "STALE"]);
const MARKS = new Map([
  ["LOST", "the signal is lost"],
  ["FROZEN", "the picture does not change any more"],
  ["BLACK", "the picture is black"],
  ["SATURATED", "the picture is white"],
  ["SAFE STATE", "the device answers no more"],
  ["NO CONNECTION", "the picture may be old"],
  ["RESTARTED", "the picture is old"],
]);

const NEW_ADDRESS =
  "The device was started anew, and this page's address no longer counts. " +
  "Open the address that it shows now, or scan its code.";
const BUSY = "Too many pages look at this device: the picture may be old.";
const STOPPED = "The device is there, but its stream has stopped: the picture is old.";

// `link` is "waiting" before the first message, then "heard", "silent", "stopped", "refused" or "busy".
export function read(state, stream, link) {
  if (!state || link === "waiting") return withoutDevice("CONNECTING", "", state);
  if (link === "refused") return withoutDevice("RESTARTED", NEW_ADDRESS, state);
  if (link === "busy") return withoutDevice("NO CONNECTION", BUSY, state);
  if (link === "silent") return withoutDevice("NO CONNECTION", silence(state), state);
  if (link === "stopped") return withoutDevice("NO CONNECTION", STOPPED, state);
  if (!state.signal) return withoutDevice("WAITING", "Waiting for the first picture.", state);
  return heard(state, stream);
}

function silence(state) {
  if (isSafe(state)) return `No more answers: ${state.withdrawn_text}. The device has stopped, the picture may be old.`;
  if (state && state.ended) return "The device has ended this stream: the picture may be old.";
  return "This page hears nothing from the device: the picture may be old.";
}

const isSafe = state => state !== null && state.withdrawn === "safe_state";

// Of a device that is not heard no figure holds but how old the picture is, where that was known.
function withoutDevice(word, sentence, state) {
  const isKnown = state !== null && state.signal !== undefined && (state.signal === "LIVE" || OLD.has(state.signal));
  return {
    word,
    sentence,
    level: word === "CONNECTING" || word === "WAITING" ? "caution" : "bad",
    isStruck: true,
    mark: MARKS.get(word) || "",
    reason: "",
    answers: false,
    ages: isKnown && !isSafe(state),
    isOld: true,
    alarms: word !== "CONNECTING" && word !== "WAITING",
  };
}

function heard(state, stream) {
  const isUnusable = UNUSABLE.has(state.signal) && !state.operator_freeze;
  const isStruck = isUnusable || isSafe(state);
  const isLive = state.signal === "LIVE";
  const word = isSafe(state) ? "SAFE STATE" : isLive && !stream.live ? "PLAYBACK" : state.signal;
  const level = isStruck ? "bad" : isLive ? "good" : "caution";
  const isFit = (isLive || Boolean(state.operator_freeze)) && !isSafe(state);
  return {
    word,
    level,
    isStruck,
    mark: MARKS.get(word) || "",
    reason: reasonOf(state),
    sentence: sentenceOf(state, stream),
    answers: isFit,
    ages: (!isStruck && !state.operator_freeze) || (OLD.has(state.signal) && !isSafe(state)),
    isOld: OLD.has(state.signal),
    alarms: isStruck,
  };
}

// "no frame for 171 ms" was true when it was said, and would stand beside an age that goes on.
const reasonOf = state => state.reason.replace(/^no frame for \d+ ms$/, "no new picture comes");

function sentenceOf(state, stream) {
  if (isSafe(state)) return `No more answers: ${state.withdrawn_text}.`;
  if (state.withdrawn === "signal") return `No answer: ${reasonOf(state) || state.withdrawn_text}.`;
  if (state.withdrawn === "old" && state.kind === "state")
    return "No answer: the last one has become too old to be shown.";
  if (state.withdrawn !== null) return `No answer: ${state.withdrawn_text}.`;
  const trust = state.answer ? state.trust : null;
  if (trust && trust.state !== "ok") return `${trust.state[0].toUpperCase()}${trust.state.slice(1)}: ${trust.reason}`;
  return state.operator_freeze ? "Frozen by the operator: the answer is of this frozen picture." : "";
}
