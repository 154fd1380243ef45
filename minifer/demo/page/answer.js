// The faces to choose from, and the probabilities of the chosen one as bars.

import { element } from "./paint.js";
import { best, colour, many } from "./stage.js";

const PAUSE = 2000; // ms between two sentences that a screen reader is given

let spoken = { text: "", time: 0 };
let later; // the timer of the next sentence

// One radio button for each face; choose(id) is called when another one is taken.
export function listFaces(faces, chosen, choose) {
  const group = element("faces");
  while (group.children.length > faces.length) group.lastChild.remove();
  faces.forEach((face, number) => {
    const label = group.children[number] ?? group.appendChild(newFace(choose));
    const [button, dot, text] = label.children;
    button.value = face.face;
    button.checked = face === chosen;
    dot.style.background = colour(face);
    text.textContent = `Face ${face.face}: ${best(face)[0]}`;
  });
}

function newFace(choose) {
  const label = document.createElement("label");
  label.innerHTML = '<input type="radio" name="face"><span class="dot"></span><span></span>';
  label.firstChild.addEventListener("change", (event) => choose(Number(event.target.value)));
  return label;
}

// A row for each class, once for each network.
export function makeBars(classes) {
  element("bars").tBodies[0].replaceChildren(
    ...classes.map((name) => {
      const row = document.createElement("tr");
      row.innerHTML = '<th scope="row"></th><td aria-hidden="true"><span class="bar"><i></i></span></td><td></td>';
      row.firstChild.textContent = name;
      return row;
    }),
  );
}

export function showBars(face) {
  const first = face ? best(face)[0] : null;
  for (const row of element("bars").tBodies[0].rows) {
    const name = row.cells[0].textContent;
    const share = face?.probabilities[name] ?? 0;
    row.querySelector("i").style.width = `${100 * share}%`;
    row.cells[2].textContent = face ? `${(100 * share).toFixed(1)} %` : "";
    row.classList.toggle("first", name === first);
  }
}

// Tell a screen reader what changed, not what trembles.
export function speak(faces, chosen) {
  const said = chosen ? ` Face ${chosen.face}: ${best(chosen)[0]}.` : "";
  const text = `${many(faces.length, "face")}.${said}`;
  clearTimeout(later);
  if (text === spoken.text) return;
  later = setTimeout(() => {
    spoken = { text, time: Date.now() };
    element("spoken").textContent = text;
  }, Math.max(0, spoken.time + PAUSE - Date.now()));
}
