// Feature maps of one layer: all of them small, one of them large.

import { ask } from "./ask.js";
import { bytes, element, mapImage, onScheme, put } from "./paint.js";

const [layer, number, all, one] = ["maps-layer", "maps-number", "maps-all", "maps-one"].map(element);
let shown = null; // the last answer

export function startMaps(refresh) {
  layer.addEventListener("change", refresh);
  number.addEventListener("input", draw);
  all.addEventListener("click", (event) => {
    if (!shown) return;
    const { columns, pitch } = grid();
    const scale = all.width / all.clientWidth;
    const [column, row] = [event.offsetX, event.offsetY].map((at) => Math.floor((at * scale) / pitch));
    const chosen = row * columns + column;
    if (chosen < shown.shape[0]) number.value = chosen + 1;
    draw();
  });
  onScheme(draw);
}

export function setMaps(network) {
  const before = layer.value;
  layer.replaceChildren(...network.maps.map(({ name, shape }) => new Option(`${name}, ${shape.join(" × ")}`, name)));
  if (network.maps.some(({ name }) => name === before)) layer.value = before;
  else if (network.maps.length > 2) layer.selectedIndex = 2;
  shown = null;
}

export async function showMaps(about) {
  if (!layer.value) throw new Error("No layer of this network gives a map.");
  shown = await ask("maps", { ...about, layer: layer.value });
  shown.values = bytes(shown.values, true);
  number.max = shown.shape[0];
  draw();
}

// How the small maps lie: about three times as wide as high, a pixel or more between them.
function grid() {
  const [count, , width] = shown.shape;
  return { columns: Math.min(count, Math.ceil(Math.sqrt(3 * count))), pitch: width + Math.max(1, Math.round(width / 12)) };
}

function draw() {
  if (!shown) return;
  const [count, height, width] = shown.shape;
  const { columns, pitch } = grid();
  const context = all.getContext("2d");
  all.width = columns * pitch;
  all.height = Math.ceil(count / columns) * pitch;
  const image = (k) => mapImage(shown.values.subarray(k * height * width, (k + 1) * height * width), height, width);
  const chosen = number.value - 1;
  for (let k = 0; k < count; k++) {
    const [x, y] = [(k % columns) * pitch, Math.floor(k / columns) * pitch];
    context.putImageData(image(k), x, y);
    if (k === chosen) {
      context.strokeStyle = getComputedStyle(all).getPropertyValue("--accent");
      context.lineWidth = Math.max(1, width / 16);
      context.strokeRect(x, y, width, height);
    }
  }
  put(one, image(chosen));
  const more = shown.channels > count ? `, the first of ${shown.channels}` : "";
  element("maps-now").textContent = `${number.value} of ${count}${more}`;
  element("maps-caption").textContent = `${height} × ${width}, largest entry ${shown.largest[chosen]}`;
  all.setAttribute("aria-label", `${count} maps of ${layer.value}, each ${height} by ${width}`);
  one.setAttribute("aria-label", `Map ${number.value}, largest entry ${shown.largest[chosen]}`);
}
