// The picture with its faces marked.

import { element } from "./paint.js";

export const COLOURS = ["#ffd400", "#4ee1ff", "#ff7ad1", "#8cff66", "#ffa04d", "#c9a6ff"];
export const colour = (face) => COLOURS[(face.face - 1) % COLOURS.length];
export const percent = (share) => `${(100 * share).toFixed(0)} %`;

const canvas = element("picture");
const context = canvas.getContext("2d", { alpha: false });

// The likeliest class of a face and its probability.
export function best(face) {
  return Object.entries(face.probabilities).reduce((a, b) => (b[1] > a[1] ? b : a));
}

// Draw a picture (a canvas) and the faces in it.
export function show(picture, faces, chosen, points) {
  if (canvas.width !== picture.width || canvas.height !== picture.height) {
    canvas.width = picture.width;
    canvas.height = picture.height;
  }
  canvas.hidden = false;
  element("empty").hidden = true;
  element("stage").classList.add("full");
  context.drawImage(picture, 0, 0);
  const unit = canvas.width / (canvas.clientWidth || canvas.width); // of the picture's pixels in one of the screen's
  for (const face of faces) mark(face, face === chosen, points, unit);
  canvas.setAttribute("aria-label", `The picture: ${many(faces.length, "face")} marked in it`);
}

export const many = (count, what) => `${count || "no"} ${what}${count === 1 ? "" : "s"}`;

function mark(face, chosen, points, unit) {
  const [x1, y1, x2, y2] = face.box;
  for (const [style, width] of [["rgb(0 0 0 / .6)", chosen ? 6 : 4], [colour(face), chosen ? 3.5 : 1.8]]) {
    context.strokeStyle = style;
    context.lineWidth = width * unit;
    context.strokeRect(x1, y1, x2 - x1, y2 - y1);
  }
  if (points) {
    const radius = Math.min(Math.max((x2 - x1) / 90, 1.3 * unit), 2.6 * unit);
    context.fillStyle = colour(face);
    context.strokeStyle = "rgb(0 0 0 / .6)";
    context.lineWidth = 0.7 * unit;
    context.beginPath();
    for (const [x, y] of face.landmarks ?? []) {
      context.moveTo(x + radius, y);
      context.arc(x, y, radius, 0, 7);
    }
    context.fill();
    context.stroke();
  }
  const [name, share] = best(face);
  const text = `${face.face}  ${name} ${percent(share)}`;
  const size = 14 * unit;
  context.font = `600 ${size}px system-ui, sans-serif`;
  const width = context.measureText(text).width + 0.9 * size;
  const x = Math.max(Math.min(x1, canvas.width - width), 0);
  const y = Math.max(y1 - 1.6 * size, 0);
  context.fillStyle = colour(face);
  context.fillRect(x, y, width, 1.5 * size);
  context.fillStyle = "#111";
  context.textBaseline = "middle";
  context.fillText(text, x + 0.45 * size, y + 0.8 * size);
}

// The face under a click, if there is one.
export function faceAt(event, faces) {
  const area = canvas.getBoundingClientRect();
  const scale = Math.max(canvas.width / area.width, canvas.height / area.height); // object-fit: contain
  const x = canvas.width / 2 + scale * (event.clientX - area.left - area.width / 2);
  const y = canvas.height / 2 + scale * (event.clientY - area.top - area.height / 2);
  return faces.find(({ box }) => box[0] <= x && x <= box[2] && box[1] <= y && y <= box[3]);
}
