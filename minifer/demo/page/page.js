// The page: pictures come from source.js, go to the server, and what it answers is shown.

import { listFaces, makeBars, showBars, speak } from "./answer.js";
import { ask } from "./ask.js";
import { setAttention, showAttention, startAttention } from "./attention.js";
import { showCost, startCost } from "./cost.js";
import { setMaps, showMaps, startMaps } from "./maps.js";
import { bytes, element, faceImage, put } from "./paint.js";
import { setSaliency, showSaliency, startSaliency } from "./saliency.js";
import { Camera, fromFile, jpeg, onPicture } from "./source.js";
import { faceAt, many, show } from "./stage.js";
import { startTabs } from "./tabs.js";
import { startToy } from "./toy.js";

const PANEL_PAUSE = 300; // ms between two looks inside while the camera runs
const STILL_SIZE = 32; // pixels: in a picture that stands still there is time for smaller faces

const camera = new Camera();
const [networks, minSize, points] = ["network", "min-size", "points"].map(element);
let server = null; // what /state answered
let picture = null; // the canvas that is shown
let faces = []; // in it
let chosenId = 1;
let tab = "maps";
let looks = 0; // inside: an earlier one is given up when there is a later one
let lastLook = 0;
let lastFrames = []; // times of the last pictures of the camera
let turn = 0; // of the last start of the camera, or picture that was given: an earlier one may still wait for its picture

const network = () => server.networks.find((one) => one.name === networks.value);
const chosen = () => faces.find((face) => face.face === chosenId) ?? faces[0];

function notice(text, failed = false) {
  element("notice").textContent = text;
  element("notice").classList.toggle("failed", failed);
}

// Pictures.

async function look(canvas, data, size, from = {}) {
  const asked = networks.value;
  const found = await ask("faces", { network: asked, min_size: size, ...from }, data);
  if (asked !== networks.value) return null; // another one was chosen meanwhile
  picture = canvas;
  faces = found.faces;
  draw();
  return found;
}

function draw() {
  const face = chosen();
  if (picture) show(picture, faces, face, points.checked);
  if (!face) document.body.classList.add("faceless"); // what was seen of an earlier face is no answer
  listFaces(faces, face, choose);
  showBars(face);
  speak(faces, face);
}

function choose(id) {
  chosenId = id;
  draw();
  if (!camera.on) refresh();
}

async function still(file) {
  stop();
  const own = turn;
  try {
    const canvas = await fromFile(file);
    if (own === turn) await lookAtStill(canvas);
  } catch (error) {
    notice(error.message, true);
  }
}

async function lookAtStill(canvas) {
  const size = Math.min(STILL_SIZE, minSize.value);
  const started = performance.now();
  picture = canvas; // from now on it is the one that another network looks at
  faces = [];
  draw();
  const found = await look(canvas, await jpeg(canvas, 0.95), size);
  if (!found) return;
  notice("");
  const ms = (performance.now() - started).toFixed(0);
  const none = faces.length ? "" : ` of ${found.min_size} pixels or more`;
  const server = (found.ms.read + found.ms.look).toFixed(0);
  element("found").textContent =
    `${many(faces.length, "face")}${none} in ${ms} ms, of which the server took ${server} ms`;
  await refresh();
}

async function watch() {
  const canvases = [0, 1, 2].map(() => document.createElement("canvas")); // one shown, one asked about, one being drawn
  const take = async (number) => {
    const canvas = canvases[number % 3];
    await camera.take(canvas);
    return [canvas, await jpeg(canvas, 0.85)];
  };
  const own = ++turn;
  const from = { camera: crypto.randomUUID() };
  const goesOn = () => camera.on && own === turn;
  notice("");
  try {
    let next = take(0);
    for (let number = 1; goesOn(); number++) {
      const [canvas, data] = await next;
      if (!goesOn()) break;
      next = take(number); // while the server looks at this one
      const found = await look(canvas, data, minSize.value, from);
      if (!goesOn()) break;
      if (found) countFrame(found);
      if (performance.now() - lastLook > PANEL_PAUSE) await refresh();
    }
  } catch (error) {
    notice(error.message, true);
  }
  if (own === turn) stop();
}

function countFrame({ ms }) {
  lastFrames = [...lastFrames.slice(-19), performance.now()];
  const seconds = (lastFrames.at(-1) - lastFrames[0]) / 1000;
  const rate = seconds ? `${((lastFrames.length - 1) / seconds).toFixed(0)} pictures a second; ` : "";
  element("found").textContent =
    `${rate}${(ms.read + ms.look).toFixed(0)} ms for this one. Faces are searched in every tenth, followed in between.`;
}

function stop() {
  turn++;
  camera.stop();
  lastFrames = [];
  element("camera").textContent = "Start the camera";
}

// Panels.

const PANELS = { maps: showMaps, attention: showAttention, saliency: showSaliency };

async function refresh(again) {
  const own = ++looks;
  lastLook = performance.now();
  if (!server?.panels) return;
  try {
    const face = chosen();
    const about = face && { network: networks.value, face: face.key };
    const seen = face && (await ask("seen", about));
    if (own !== looks) return;
    document.body.classList.toggle("faceless", !seen);
    if (seen) {
      seen.values = bytes(seen.values);
      put(element("seen"), faceImage(seen));
      element("seen").setAttribute("aria-label", `Face ${face.face} as the network reads it`);
    }
    if (tab === "cost") await showCost(networks.value, again);
    if (!PANELS[tab]) return;
    element(`${tab}-message`).textContent = seen ? "" : "Show a face first.";
    if (seen) await PANELS[tab](about, seen);
  } catch (error) {
    notice(error.message, true);
  }
}

async function changeNetwork() {
  const one = network();
  looks++;
  faces = [];
  makeBars(one.classes);
  setMaps(one);
  setAttention(one);
  setSaliency(one);
  const [height, width, channels] = one.input;
  const kind = one.registered ? ", turned and scaled by its landmarks" : "";
  element("seen-caption").textContent =
    `All that the network reads of a face: ${height} × ${width} pixels, ${channels === 1 ? "grey" : "in colour"}${kind}`;
  draw();
  if (picture && !camera.on) await lookAtStill(picture).catch((error) => notice(error.message, true));
  else if (tab === "cost") await refresh();
}

// Start.

async function ready() {
  for (;;) {
    server = await ask("state");
    if (server.failed) throw new Error(server.failed);
    if (!networks.length) begin();
    const able = server.faces;
    for (const id of ["camera", "choose"]) element(id).disabled = !able;
    if (server.faces && server.panels) return notice("");
    notice(
      able
        ? "Faces are ready. Kernels for the panels below are being compiled, once on this machine."
        : "Kernels are being compiled, once on this machine: this can take a minute.",
    );
    await new Promise((done) => setTimeout(done, 500));
  }
}

function begin() {
  networks.replaceChildren(...server.networks.map((one) => new Option(one.name, one.name)));
  Object.assign(minSize, { min: server.smallest, max: server.largest, value: server.min_size });
  minSize.dispatchEvent(new Event("input"));
  startToy(server.table);
  changeNetwork();
}

minSize.addEventListener("input", () => {
  element("min-size-now").textContent = `${minSize.value} px`;
});
points.addEventListener("change", draw);
networks.addEventListener("change", changeNetwork);
element("picture").addEventListener("click", (event) => {
  const face = faceAt(event, faces);
  if (face) choose(face.face);
});
element("camera").addEventListener("click", async () => {
  if (camera.on) return stop();
  try {
    await camera.start(() => {
      stop();
      notice("The camera has ended: is it still connected, and allowed?", true);
    });
    element("camera").textContent = "Stop the camera";
    watch();
  } catch (error) {
    notice(error.message, true);
  }
});
onPicture(still);
startMaps(() => refresh());
startAttention(() => refresh());
startSaliency(() => refresh());
startCost(refresh);
startTabs((chosenTab) => {
  tab = chosenTab;
  refresh();
});
ready().catch((error) => notice(error.message, true));
