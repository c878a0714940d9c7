// The legend: every class with its colour, its name and what was found of it, in words and figures.

const PARAMETERS = new Map([
  ["D_mm2_per_day", ["D", " mm²/day"]],
  ["rho_per_day", ["rho", "/day"]],
  ["front_width_mm", ["sqrt(D/rho)", " mm"]],
  ["mass_fraction", ["mass, share of the slice", ""]],
  ["foci_count", ["foci", ""]],
]);
const DENSITY = [
  ["white line", "first day: density one half", "#ebebeb"],
  ["orange line", "last day: density one half", "#e69f00"],
];
const SCALE = [
  ["red", "more conductive", "#c83c3c"],
  ["blue", "less conductive", "#286ebe"],
];

const figure = value => (value === null || value === undefined ? "–" : Number(value).toPrecision(3));
const own = (table, name) => (Object.hasOwn(table, name) ? table[name] : undefined);

// What the answer is of, where that is not simply the picture of now: a part of it, a place in a clip, one of many files.
export function headOf(shown, stream) {
  const place = stream.live ? [] : [shown.name ?? "", clock(shown.position_us)];
  const words = [shown.part ? "in " + shown.part : "", ...place].filter(Boolean);
  return ["Found", ...words].join(" · ").replace("Found · in ", "Found in ");
}

function clock(position_us) {
  if (position_us === null || position_us === undefined) return "";
  const hundredths = Math.floor(position_us / 1e4);
  return `${Math.floor(hundredths / 6000)}:${((hundredths % 6000) / 100).toFixed(2).padStart(5, "0")}`;
}

// Rows of [name, value, colour].
export function foundIn(answer, stream) {
  if (!answer) return [["no answer is shown", ""]];
  if (answer.task === "segmentation") return segmented(answer, stream);
  if (answer.task === "classification") return classified(answer, stream);
  if (answer.task === "reconstruction") return reconstructed(answer, stream);
  return [["an answer that this page cannot show", ""]];
}

function segmented(answer, stream) {
  const names = stream.classes.length ? stream.classes.slice(1) : Object.keys(answer.regions);
  return names.map((name, place) => {
    const region = own(answer.regions, name);
    const value = region && region.box_px ? percent(region.area_fraction) + " of the picture" : "not found";
    return [name, value, stream.class_colours[place + 1] || ""];
  });
}

function percent(share) {
  const value = 100 * share;
  return value < 0.1 ? "under 0.1 %" : value.toFixed(1) + " %";
}

function classified(answer, stream) {
  const names = stream.classes.length ? stream.classes : Object.keys(answer.probability);
  const probable = names.map(name => {
    const value = own(answer.probability, name);
    const words = value === null || value === undefined ? "–" : "probability " + value.toFixed(2);
    return [name === answer.label ? "▸ " + name : name, words];
  });
  const parameters = Object.entries(answer.parameters).map(([name, value]) => {
    const [words, unit] = PARAMETERS.get(name) || [name.replaceAll("_", " "), ""];
    return [words, figure(value) + unit];
  });
  return [...probable, ...parameters, ...(own(answer.maps, "density") ? DENSITY : [])];
}

function reconstructed(answer, stream) {
  const unit = answer.unit && answer.unit !== "1" ? " " + answer.unit : "";
  // Beside the larger end of the scale, what is next to nothing is nothing.
  const end = Math.max(Math.abs(answer.smallest), Math.abs(answer.largest));
  const value = one => (one !== null && Math.abs(one) < 1e-4 * end ? "0" + unit : figure(one) + unit);
  const values = [
    ["smallest", value(answer.smallest)],
    ["largest", value(answer.largest)],
  ];
  return stream.voltages ? [...SCALE, ...values] : values;
}

// The same in one line, for who cannot see the picture.
export function spoken(entries) {
  return entries.map(([name, value]) => (value ? `${name}: ${value}` : name)).join(", ");
}
