// Buttons and keys of the view: full screen, a screen that stays awake, the engineer's view.

import { $, show } from "./text.js";

let wake = null;

export function press(id, isPressed) {
  $(id).setAttribute("aria-pressed", isPressed);
}

export function toggleEngineer() {
  const isShown = $("engineer").hidden;
  show("engineer", isShown);
  document.body.classList.toggle("engineering", isShown);
  press("engineering", isShown);
  $("engineering").setAttribute("aria-expanded", isShown);
}

export function toggleFull() {
  if (document.fullscreenElement) document.exitFullscreen();
  else document.documentElement.requestFullscreen().catch(() => {});
}

export async function toggleAwake() {
  if (wake) {
    await wake.release();
    return;
  }
  await stayAwake();
}

// Browsers keep a screen awake for pages of this machine and for encrypted ones only.
export async function stayAwake() {
  const button = $("awake");
  if (!("wakeLock" in navigator)) {
    button.disabled = true;
    button.textContent = "Screen may sleep";
    button.title = "The browser keeps the screen awake only over https (--tls CERT KEY), or on the device itself";
    return;
  }
  try {
    wake = await navigator.wakeLock.request("screen");
    wake.addEventListener("release", () => {
      wake = null;
      showAwake();
    });
  } catch {
    wake = null; // a battery that runs low, or a page in the background
  }
  showAwake();
}

function showAwake() {
  $("awake").textContent = wake ? "Screen stays awake" : "Screen may sleep";
  press("awake", wake !== null);
}

export function setUpControls(actions) {
  for (const [id, , act] of actions) $(id).addEventListener("click", act);
  const keys = new Map(actions.map(([, key, act]) => [key, act]));
  addEventListener("keydown", event => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
    const key = event.key === " " ? "space" : event.key.toLowerCase();
    if (key === "space" && event.target instanceof HTMLButtonElement) return; // presses that button
    const act = keys.get(key);
    if (act) {
      event.preventDefault();
      act();
    }
  });
  document.addEventListener("fullscreenchange", () => {
    press("full", document.fullscreenElement !== null);
    document.body.classList.toggle("full", document.fullscreenElement !== null);
  });
  if (!document.fullscreenEnabled) {
    $("full").disabled = true;
    $("full").title = "This browser shows no page in full screen: add it to the home screen instead";
  }
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && !wake) stayAwake();
  });
  stayAwake();
}
