// A sound while the picture or the device is lost.
// Browsers are silent until somebody has touched the page: that is said.

import { $ } from "./text.js";

const EVERY_MS = 2500;
let audio = null;
let isFirstTouch = false;
let isOn = true;
let isAlarming = false;
let beeped = -EVERY_MS;

export function toggleSound() {
  if (isOn && isFirstTouch) return; // this touch is the one that let it sound
  isOn = !isOn;
  if (isOn) allowSound();
  showSound();
}

// Called with every touch of the page, since the first one lets it sound.
export function allowSound() {
  isFirstTouch = audio === null;
  audio ??= new AudioContext();
  if (audio.state !== "running") audio.resume().then(showSound, showSound);
}

export function alarm(isLost) {
  isAlarming = isLost;
  if (isOn && isAlarming && audio && audio.state === "running" && performance.now() - beeped > EVERY_MS) {
    beeped = performance.now();
    for (const delay of [0, 0.25, 0.5]) beep(audio.currentTime + delay);
  }
  if (!isAlarming) beeped = -EVERY_MS;
  showSound();
}

function beep(at_s) {
  const tone = audio.createOscillator();
  const volume = audio.createGain();
  tone.frequency.value = 660;
  volume.gain.setValueAtTime(0, at_s);
  volume.gain.linearRampToValueAtTime(0.25, at_s + 0.02);
  volume.gain.setValueAtTime(0.25, at_s + 0.13);
  volume.gain.linearRampToValueAtTime(0, at_s + 0.16);
  tone.connect(volume).connect(audio.destination);
  tone.start(at_s);
  tone.stop(at_s + 0.18);
}

function showSound() {
  const button = $("sound");
  const canSound = audio !== null && audio.state === "running";
  const words = !isOn ? "Sound is off" : !canSound ? "Touch for sound" : isAlarming ? "Mute" : "Sound is on";
  if (button.textContent !== words) button.textContent = words;
  button.setAttribute("aria-pressed", isOn && canSound);
  button.title = "A sound while the picture or the device is lost (M)";
}
