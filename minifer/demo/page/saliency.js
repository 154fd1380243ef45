// Which pixels move the logit of a class.

import { ask } from "./ask.js";
import { bytes, element, faceImage, heatImage, put } from "./paint.js";

const choice = element("saliency-class");
let classes = [];

export function startSaliency(refresh) {
  choice.addEventListener("change", refresh);
}

export function setSaliency(network) {
  classes = network.classes;
  choice.replaceChildren(new Option("the likeliest", ""), ...classes.map((name, number) => new Option(name, number)));
}

export async function showSaliency(about, face) {
  const found = await ask("saliency", choice.value === "" ? about : { ...about, label: choice.value });
  put(element("saliency-face"), faceImage(face));
  put(element("saliency-map"), heatImage(face, bytes(found.values)));
  const name = classes[found.label];
  element("saliency-caption").textContent = `What moves the logit of ${name}, by ${found.largest} at most`;
  element("saliency-map").setAttribute("aria-label", `The pixels that move the logit of ${name} most are bright`);
}
