// Arrays of the server as pixels.

const dark = matchMedia("(prefers-color-scheme: dark)");

// Numbers from -127 to 127: the colour of -127, of 0 and of 127.
const SCALES = {
  false: [[33, 102, 172], [247, 247, 247], [178, 18, 43]],
  true: [[108, 176, 255], [28, 33, 40], [255, 138, 112]],
};

export const element = (id) => document.getElementById(id);

export function bytes(text, signed = false) {
  const data = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return signed ? new Int8Array(data.buffer) : data;
}

// Call a function whenever the browser changes between light and dark.
export function onScheme(redraw) {
  dark.addEventListener("change", redraw);
}

// An image of a face, shape (H,W,1) or (H,W,3), values 0 to 255.
export function faceImage({ shape: [height, width, channels], values }) {
  const image = new ImageData(width, height);
  for (let i = 0; i < height * width; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = values[channels * i + (c % channels)];
    image.data[4 * i + 3] = 255;
  }
  return image;
}

export function put(canvas, image) {
  canvas.width = image.width;
  canvas.height = image.height;
  canvas.getContext("2d").putImageData(image, 0, 0);
}

// A map of signed numbers, from red over nothing to blue.
export function mapImage(values, height, width) {
  const image = new ImageData(width, height);
  const [negative, zero, positive] = SCALES[dark.matches];
  values.forEach((value, i) => {
    const end = value < 0 ? negative : positive;
    const share = Math.abs(value) / 127;
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = zero[c] + share * (end[c] - zero[c]);
    image.data[4 * i + 3] = 255;
  });
  return image;
}

// A face in grey, brightened by orange where a map of 0 to 255 is large.
export function heatImage(face, map) {
  const image = faceImage(face);
  map.forEach((value, i) => {
    const share = value / 255;
    [255, 190, 60].forEach((colour, c) => {
      image.data[4 * i + c] = 0.35 * image.data[4 * i + c] * (1 - share) + colour * share;
    });
  });
  return image;
}
