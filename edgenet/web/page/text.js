// Figures in the form in which people read them (as in edgenet.results.text), and elements.

const scaled = (value, units, base) => {
  let n = 0;
  while (n + 1 < units.length && Math.abs(value) >= 0.9995 * base) { value /= base; n += 1; }
  return `${value >= 99.95 || n === 0 ? value.toFixed(0) : value.toPrecision(3)} ${units[n]}`;
};

export const bytes = (value) => value == null ? "-" : scaled(value, ["B", "kB", "MB", "GB", "TB"], 1000);
export const rate = (bps) => bps == null ? "unlimited" : scaled(bps, ["bit/s", "kbit/s", "Mbit/s", "Gbit/s"], 1000);
export const flow = (bps) => bps < 1 ? "-" : rate(bps);
export const percent = (part) => part == null ? "-" : `${(100 * part).toFixed(part < 0.0995 ? 1 : 0)} %`;
export const number = (value, digits = 3) => value == null ? "-" : value.toFixed(digits);

export function clock(seconds) {
  const whole = Math.floor(seconds), minutes = Math.floor(whole / 60), hours = Math.floor(minutes / 60);
  const two = (n) => String(n).padStart(2, "0");
  return hours ? `${hours}:${two(minutes % 60)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

export function duration(seconds) {
  if (seconds < 0.9995) return `${(1000 * seconds).toFixed(0)} ms`;
  return seconds < 99.95 ? `${seconds.toPrecision(3)} s` : clock(seconds);
}

// An element with attributes and children; text is set as text, never as HTML. 'svg:a' is a link
// within a drawing.
export function element(name, attributes = {}, ...children) {
  const svg = SVG.has(name);
  name = name.replace("svg:", "");
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const SVG = new Set(["g", "line", "circle", "rect", "path", "polygon", "text", "title", "svg:a"]);

// Touch the page only where something has changed: whoever is reading or pointing is not disturbed.
export function put(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

export function set(target, name, value) {
  if (target.getAttribute(name) !== String(value)) target.setAttribute(name, value);
}
