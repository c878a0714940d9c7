// The one place where foreign text enters the page: as text, never as markup, bounded, without characters that steer.

const LONGEST = 400;

export const $ = id => document.getElementById(id);

// Control characters, and those that turn the direction of writing, would let a name rearrange what stands around it.
export function plain(value) {
  const text = String(value).replace(
    /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]+/g,
    " ",
  );
  return text.length > LONGEST ? text.slice(0, LONGEST - 1) + "…" : text;
}

// Nothing is touched where nothing changed: a screen reader would read it again.
export function write(id, value) {
  const element = $(id),
    text = plain(value);
  if (element.textContent !== text) element.textContent = text;
}

export function show(id, isShown) {
  $(id).hidden = !isShown;
}

const written = new Map();

// Rows of [name, value, colour]; the colour is one of ours and always stands beside its name.
export function rows(id, entries) {
  const contents = JSON.stringify(entries);
  if (written.get(id) === contents) return;
  written.set(id, contents);
  const body = document.createElement("tbody");
  for (const [name, value, colour] of entries) {
    const row = document.createElement("tr"),
      left = document.createElement("th"),
      right = document.createElement("td");
    left.scope = "row";
    if (colour) {
      const swatch = document.createElement("i");
      swatch.style.background = colour;
      left.append(swatch);
    }
    left.append(plain(name));
    right.textContent = plain(value);
    row.append(left, right);
    body.append(row);
  }
  $(id).replaceChildren(body);
}

export const time = date => date.toLocaleTimeString("en-GB");

export function ms(value) {
  if (value === null || value === undefined) return "–";
  if (value < 9.95) return value.toFixed(1) + " ms";
  return value < 10000 ? Math.round(value) + " ms" : seconds(value);
}

export function seconds(value_ms) {
  const whole = Math.round(value_ms / 1000);
  return whole < 120 ? whole + " s" : whole < 7200 ? Math.round(whole / 60) + " min" : Math.round(whole / 3600) + " h";
}
