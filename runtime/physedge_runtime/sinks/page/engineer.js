// The engineer's view: age, rate, drops, trust signals, where the time goes, and what runs.

import { $, ms, rows, show, write } from "./text.js";

const STAGES = [
  ["queue", "#8b949e"],
  ["preprocess", "#3cc8e9"],
  ["inference", "#e3a008"],
  ["postprocess", "#b083f0"],
];
const words = name => name.replaceAll("_", " ");

export function showRuns(stream) {
  rows("runs", [
    ["source", stream.source],
    ["network", stream.bundle || "–"],
    ["signed by", stream.bundle_trust || "–"],
    ["engine", stream.engine],
  ]);
}

export function showAge(age_ms, limit_ms) {
  write("age", ms(age_ms));
  $("age").className = limit_ms && age_ms > limit_ms ? "bad" : "";
}

// Figures of an answer only beside one that still holds; counts only of a device that is heard.
export function showFigures({ said, state, trust, isHeard }) {
  write("rate", said.answers ? state.answers_per_s.toFixed(1) : "–");
  write("number", isHeard && state.frame_id !== null && said.answers ? state.frame_id : "–");
  showDrops(isHeard ? Object.entries(state.drops) : null);
  showDamage(isHeard ? Object.entries(state.damage) : []);
  showSignals(trust);
  showStages(said.answers ? state.stages : null);
}

function showDrops(drops) {
  write("dropped", drops === null ? "–" : drops.reduce((sum, [, count]) => sum + count, 0));
  show("dropsection", drops !== null && drops.length > 0);
  const counted = (drops ?? []).map(([cause, count]) => [words(cause), count]);
  rows("drops", counted);
}

function showDamage(damage) {
  show("damagesection", damage.length > 0);
  const counted = damage.map(([kind, count]) => [words(kind), count]);
  rows("damages", counted);
}

function showSignals(trust) {
  const signals = trust ? Object.entries(trust.signals) : [];
  const place = name => (Object.hasOwn(trust.places, name) ? " " + trust.places[name] : "");
  const figure = value => (value === null ? "–" : value.toPrecision(3));
  show("signalsection", signals.length > 0);
  const named = signals.map(([name, value]) => [words(name) + place(name), figure(value)]);
  rows("signals", named);
}

function showStages(stages) {
  show("stagesection", Boolean(stages));
  const times = stages ? STAGES.map(([name, colour]) => [name, Math.max(0, stages[name + "_ms"] || 0), colour]) : [];
  const total = times.reduce((sum, [, taken]) => sum + taken, 0) || 1;
  const parts = times.map(([, taken, colour]) => {
    const part = document.createElement("i");
    part.style.width = (100 * taken) / total + "%";
    part.style.background = colour;
    return part;
  });
  $("bar").replaceChildren(...parts);
  const named = times.map(([name, taken, colour]) => [name, ms(taken), colour]);
  rows("stages", named);
}
