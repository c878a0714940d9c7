// How old each picture of the last half minute was when it was handed out.

import { $ } from "./text.js";

const SPAN_MS = 30000;
let pictures = []; // [when, age in ms, whether it was answered]

export function noteAge(age_ms, isAnswered) {
  pictures.push([performance.now(), age_ms, isAnswered]);
}

export function forgetAges() {
  pictures = [];
}

export function drawAges(limit) {
  const canvas = $("ages"),
    context = canvas.getContext("2d"),
    now = performance.now();
  pictures = pictures.filter(([at]) => now - at < SPAN_MS);
  globalThis.physedgeAges = pictures; // for benchmarks/page.py
  context.clearRect(0, 0, canvas.width, canvas.height);
  const top = Math.max(50, limit * 1.15, ...pictures.map(([, age]) => age * 1.1));
  const y = age => canvas.height - 4 - ((canvas.height - 12) * Math.min(age, top)) / top;
  if (limit) {
    context.strokeStyle = "#f0524f";
    context.setLineDash([6, 6]);
    context.beginPath();
    context.moveTo(0, y(limit));
    context.lineTo(canvas.width, y(limit));
    context.stroke();
    context.setLineDash([]);
    context.fillStyle = "#9aa4af";
    context.font = "20px system-ui, sans-serif";
    context.fillText(`limit ${limit} ms`, 8, y(limit) + 24);
  }
  for (const [at, age, isAnswered] of pictures) {
    context.fillStyle = isAnswered ? "#4ac26b" : "#e3a008";
    context.fillRect(canvas.width * (1 - (now - at) / SPAN_MS) - 2, y(age) - 2, 4, 4);
  }
}
