// What each head of an attention layer takes from where, seen from one position of its map.

import { ask } from "./ask.js";
import { element, faceImage } from "./paint.js";

const [layer, row, column, heads] = ["layer", "row", "column", "heads"].map((name) => element(`attention-${name}`));
const SIZE = 192; // pixels of a drawn face

let layers = [];

export function startAttention(refresh) {
  layer.addEventListener("change", () => {
    fit();
    refresh();
  });
  [row, column].forEach((slider) => slider.addEventListener("input", refresh));
  heads.addEventListener("click", (event) => {
    if (event.target.tagName !== "CANVAS") return;
    const [height, width] = current().shape;
    row.value = 1 + Math.floor((event.offsetY / event.target.clientHeight) * height);
    column.value = 1 + Math.floor((event.offsetX / event.target.clientWidth) * width);
    refresh();
  });
}

export function setAttention(network) {
  layers = network.attention;
  element("attention-name").textContent = network.name;
  element("attention-none").hidden = layers.length > 0;
  element("attention-some").hidden = layers.length === 0;
  layer.replaceChildren(
    ...layers.map((one) => new Option(`${one.name}, ${one.heads} heads, ${one.shape.join(" × ")} positions`, one.name)),
  );
  if (layers.length) fit();
}

const current = () => layers.find(({ name }) => name === layer.value);

// The sliders reach over the layer's map, and begin in its middle.
function fit() {
  [row, column].forEach((slider, axis) => {
    slider.max = current().shape[axis];
    slider.value = Math.ceil(slider.max / 2);
  });
}

export async function showAttention(about, face) {
  if (!layers.length) return;
  const [i, j] = [row.value - 1, column.value - 1];
  element("attention-row-now").textContent = row.value;
  element("attention-column-now").textContent = column.value;
  const { shape, shares } = await ask("attention", { ...about, layer: layer.value, row: i, column: j });
  const [count, height, width] = shape;
  const most = Math.max(...shares);
  const picture = await createImageBitmap(faceImage(face));
  while (heads.children.length > count) heads.lastChild.remove();
  for (let head = 0; head < count; head++) {
    const figure = heads.children[head] ?? heads.appendChild(newHead(head));
    const part = shares.slice(head * height * width, (head + 1) * height * width);
    draw(figure.firstChild.getContext("2d"), picture, part, most, height, width, i, j);
    const top = part.indexOf(Math.max(...part));
    const place = `row ${1 + Math.floor(top / width)}, column ${1 + (top % width)}`;
    figure.lastChild.textContent = `head ${head + 1}: ${(100 * part[top]).toFixed(0)} % from ${place}`;
  }
}

function newHead(head) {
  const figure = document.createElement("figure");
  figure.innerHTML = `<canvas class="pixels" width="${SIZE}" height="${SIZE}"></canvas><figcaption class="hint numbers"></figcaption>`;
  figure.firstChild.setAttribute("role", "img");
  figure.firstChild.setAttribute("aria-label", `What head ${head + 1} takes from where`);
  return figure;
}

function draw(context, picture, shares, most, height, width, i, j) {
  const [tall, wide] = [SIZE / height, SIZE / width];
  context.drawImage(picture, 0, 0, SIZE, SIZE);
  context.fillStyle = "rgb(0 0 0 / .35)";
  context.fillRect(0, 0, SIZE, SIZE);
  shares.forEach((share, k) => {
    context.fillStyle = `rgb(255 140 0 / ${(0.85 * share) / most})`;
    context.fillRect((k % width) * wide, Math.floor(k / width) * tall, wide, tall);
  });
  context.strokeStyle = "#4ee1ff";
  context.lineWidth = 3;
  context.beginPath();
  context.arc((j + 0.5) * wide, (i + 0.5) * tall, Math.max(4, Math.min(wide, tall) / 2 - 2), 0, 7);
  context.stroke();
}
