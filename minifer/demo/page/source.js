// Where pictures come from: the camera, a file, a drop, a paste.

import { element } from "./paint.js";

const CAMERA_WIDTH = 640;
const MOST = 1024; // pixels of the longer side of a picture that is sent

const video = element("video");

const WHY = {
  NotAllowedError: "The browser may not use the camera: allow it beside the address and try again.",
  NotFoundError: "There is no camera: choose a picture instead.",
  NotReadableError: "The camera is used by another program.",
};

export class Camera {
  stream = null;

  // ended() is called when the camera ends by itself: it was unplugged, or is not allowed any more.
  async start(ended) {
    if (!navigator.mediaDevices) throw new Error("Browsers give the camera only to pages of http://localhost.");
    try {
      const size = { width: { ideal: CAMERA_WIDTH }, height: { ideal: 480 } };
      this.stream = await navigator.mediaDevices.getUserMedia({ video: size });
    } catch (error) {
      throw new Error(WHY[error.name] ?? `The camera cannot be used: ${error.message}`);
    }
    for (const track of this.stream.getTracks()) track.addEventListener("ended", ended);
    video.srcObject = this.stream;
    await video.play();
  }

  stop() {
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = video.srcObject = null;
  }

  get on() {
    return this.stream !== null && this.stream.active;
  }

  // Draw the next frame into a canvas.
  async take(canvas) {
    if (video.requestVideoFrameCallback) await new Promise((done) => video.requestVideoFrameCallback(done));
    draw(video, video.videoWidth, video.videoHeight, Math.min(1, CAMERA_WIDTH / video.videoWidth), canvas);
  }
}

// A picture of a file in a new canvas, upright and not too large.
export async function fromFile(file) {
  let image;
  try {
    image = await createImageBitmap(file);
  } catch {
    throw new Error(`The browser cannot show ${file.name || "this"}: take a JPEG or PNG picture.`);
  }
  const canvas = document.createElement("canvas");
  draw(image, image.width, image.height, Math.min(1, MOST / Math.max(image.width, image.height)), canvas);
  return canvas;
}

function draw(image, width, height, scale, canvas) {
  [width, height] = [width, height].map((size) => Math.max(1, Math.round(scale * size)));
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d", { alpha: false });
  context.fillStyle = "white"; // below what is transparent
  context.fillRect(0, 0, width, height);
  context.drawImage(image, 0, 0, width, height);
}

export const jpeg = (canvas, quality) => new Promise((done) => canvas.toBlob(done, "image/jpeg", quality));

// Call picked(file) with every picture that is chosen, dropped or pasted.
export function onPicture(picked) {
  const stage = element("stage");
  const take = (files) => {
    const file = [...(files ?? [])].find((one) => one.type.startsWith("image/")) ?? files?.[0];
    if (file) picked(file);
  };
  element("choose").addEventListener("click", () => element("file").click());
  element("file").addEventListener("change", (event) => {
    take(event.target.files);
    event.target.value = ""; // so that the same file can be chosen again
  });
  addEventListener("paste", (event) => take(event.clipboardData?.files));
  addEventListener("dragover", (event) => {
    event.preventDefault();
    stage.classList.add("over");
  });
  addEventListener("dragleave", () => stage.classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    stage.classList.remove("over");
    take(event.dataTransfer?.files);
  });
}
