// The picture, and a copy of it with its state burnt in.

import { $, plain, time } from "./text.js";

const BURNT_IN = "NOT FOR DIAGNOSIS";

export function showPicture(picture) {
  const canvas = $("picture");
  if (canvas.width !== picture.width || canvas.height !== picture.height) {
    canvas.width = picture.width;
    canvas.height = picture.height;
    document.body.style.setProperty("--ratio", picture.width / picture.height);
  }
  canvas.getContext("2d").drawImage(picture, 0, 0);
  picture.close();
}

// Words in the pixels themselves: whoever cuts the strip below off still has them in the picture.
function withWords(lines, isStruck) {
  const picture = $("picture");
  const copy = document.createElement("canvas");
  const row = Math.max(14, Math.round(picture.width / 36));
  const gap = Math.round(row * 0.5);
  copy.width = picture.width;
  copy.height = picture.height + lines.length * (row + gap) + gap;
  const context = copy.getContext("2d");
  context.fillStyle = "#000";
  context.fillRect(0, 0, copy.width, copy.height);
  context.filter = isStruck ? "grayscale(1) brightness(.5)" : "none";
  context.drawImage(picture, 0, 0);
  context.filter = "none";
  if (isStruck) strike(context, picture.width, picture.height);
  context.font = `600 ${Math.round(row * 1.6)}px system-ui, sans-serif`;
  context.textAlign = "center";
  outlined(context, BURNT_IN, picture.width / 2, picture.height - row, row / 4, picture.width * 0.94);
  context.font = `${row}px system-ui, sans-serif`;
  context.textAlign = "left";
  context.fillStyle = "#fff";
  lines.forEach((line, place) =>
    context.fillText(line, gap, picture.height + (place + 1) * (row + gap), copy.width - 2 * gap),
  );
  return copy;
}

function outlined(context, text, x, y, width, room) {
  context.lineJoin = "round";
  context.lineWidth = width;
  context.strokeStyle = "#000";
  context.strokeText(text, x, y, room);
  context.fillStyle = "#fff";
  context.fillText(text, x, y, room);
}

function strike(context, width, height) {
  context.strokeStyle = "#f0524f";
  context.lineWidth = Math.max(2, width / 160);
  context.beginPath();
  context.moveTo(0, 0);
  context.lineTo(width, height);
  context.moveTo(width, 0);
  context.lineTo(0, height);
  context.stroke();
}

export function saveSnapshot(name, lines, isStruck) {
  const now = new Date();
  const day = now.toLocaleDateString("sv-SE"); // 2026-01-31
  const copy = withWords([`${BURNT_IN} · ${day} ${time(now)}`, ...lines.map(plain)], isStruck);
  const file = name.replace(/[^A-Za-z0-9-]+/g, "_").slice(0, 60);
  copy.toBlob(blob => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `physedge_${file}_${day}_${time(now).replaceAll(":", "")}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }, "image/png");
}
