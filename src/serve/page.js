"use strict";

const EXAMPLES = ["butterfly", "cactus", "fox", "guitar", "key", "octopus", "penguin", "sailboat"];
const MAX_SIDE = 1600;
const byId = (id) => document.getElementById(id);
const status = byId("status");
const results = byId("results");
let pending = 0;

function tell(text, isError) {
  status.textContent = text;
  status.classList.toggle("error", Boolean(isError));
}

function headers(more) {
  const token = byId("token").value.trim();
  return token ? { ...more, Authorization: `Bearer ${token}` } : { ...more };
}

async function ask(path, body, more) {
  const response = await fetch(path, { method: "POST", headers: headers(more), body });
  let answer;
  try {
    answer = await response.json();
  } catch {
    throw new Error(`the server answered with status ${response.status}`);
  }
  if (!response.ok && !Array.isArray(answer)) {
    throw new Error(answer.error ? answer.error.message : `status ${response.status}`);
  }
  return answer;
}

function guide() {
  const nouns = byId("guide").value.split("\n").map((noun) => noun.trim()).filter(Boolean);
  return nouns.length > 0 ? nouns : undefined;
}

/* Large pictures are made smaller before they are sent: the model sees a few
   hundred pixels at most. */
async function toBase64(blob) {
  let data = blob;
  try {
    const picture = await createImageBitmap(blob);
    const scale = MAX_SIDE / Math.max(picture.width, picture.height);
    if (scale < 1) {
      const canvas = document.createElement("canvas");
      canvas.width = Math.max(1, Math.round(picture.width * scale));
      canvas.height = Math.max(1, Math.round(picture.height * scale));
      canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
      data = await new Promise((done) => canvas.toBlob(done, "image/png"));
    }
  } catch {
    // The server says what is wrong with it.
  }
  return new Promise((done, fail) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => fail(reader.error);
    reader.readAsDataURL(data);
  });
}

function percent(value) {
  const digits = value >= 0.1 ? 1 : value >= 0.01 ? 2 : 3;
  return `${(value * 100).toFixed(digits)} %`;
}

const KINDS = { correct: "correct", guide: "", vocab: "not in the guide", other: "not a known noun" };

function showLabels(item, record, chosen) {
  const body = item.querySelector("tbody");
  const words = item.querySelector(".words");
  item.querySelector("caption").textContent = `Labels of ${record.input}`;
  const largest = Math.max(...record.predictions.map((p) => p.prob ?? 0), 1e-9);
  for (const prediction of record.predictions) {
    const row = body.insertRow();
    const name = row.insertCell();
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = prediction.noun || "(nothing)";
    button.setAttribute("aria-expanded", "false");
    button.title = "Show what each piece could have been";
    button.addEventListener("click", () => toggleWords(button, words, record, prediction, chosen));
    name.append(button);
    if (KINDS[prediction.type]) {
      const kind = document.createElement("span");
      kind.className = `kind ${prediction.type}`;
      kind.textContent = ` ${KINDS[prediction.type]}`;
      name.append(kind);
    }
    const bar = row.insertCell();
    bar.className = "bar";
    bar.setAttribute("aria-hidden", "true");
    const track = document.createElement("span");
    const fill = document.createElement("i");
    const share = prediction.prob === null ? 0 : Math.min(1, prediction.prob / Math.max(largest, 1e-9) * Math.min(1, largest));
    fill.style.width = `${(share * 100).toFixed(2)}%`;
    track.append(fill);
    bar.append(track);
    const value = row.insertCell();
    value.className = "value";
    value.textContent = prediction.prob === null ? `score ${prediction.score.toFixed(2)}` : percent(prediction.prob);
  }
}

/* What is the matter with the nouns to choose from. */
function showGuideWarnings(item, record) {
  for (const warning of record.guide_warnings ?? []) {
    const line = document.createElement("p");
    line.className = "guide-warning";
    line.textContent = `Guide: ${warning}`;
    item.querySelector(".labels").append(line);
  }
}

async function toggleWords(button, words, record, prediction, chosen) {
  const wasOpen = button.getAttribute("aria-expanded") === "true";
  for (const other of button.closest("tbody").querySelectorAll("button")) {
    other.setAttribute("aria-expanded", "false");
  }
  words.replaceChildren();
  if (wasOpen) return;
  button.setAttribute("aria-expanded", "true");
  try {
    const answer = await ask("/v1/alternatives", JSON.stringify({
      embedding: record.embedding,
      tokens: prediction.tokens.map((token) => token.id),
      count: 5,
      guided: !/_gn_/.test(record.gencfg),
      guide: chosen,
    }), { "Content-Type": "application/json" });
    if (button.getAttribute("aria-expanded") !== "true") return;
    const head = document.createElement("h4");
    head.textContent = `How “${prediction.noun}” was written, and what else could have followed each time:`;
    words.append(head);
    answer.places.forEach((place, number) => {
      const list = document.createElement("ol");
      list.setAttribute("aria-label", `Piece ${number + 1}`);
      const own = prediction.tokens[number];
      const shown = place.some((token) => token.id === own.id)
        ? place
        : [...place, { id: own.id, text: own.text, prob: Math.exp(own.log_prob) }];
      for (const token of shown) {
        const line = document.createElement("li");
        const text = document.createElement("span");
        text.textContent = token.text || "(end)";
        const value = document.createElement("span");
        value.textContent = percent(token.prob);
        line.append(text, value);
        if (token.id === own.id) {
          line.className = "chosen";
          line.setAttribute("aria-current", "true");
        }
        list.append(line);
      }
      words.append(list);
    });
  } catch (error) {
    words.textContent = error.message;
  }
}

async function classify(blob, name) {
  const item = byId("result").content.firstElementChild.cloneNode(true);
  const picture = item.querySelector("img");
  picture.src = URL.createObjectURL(blob);
  picture.alt = name;
  item.querySelector("h3").textContent = name;
  results.prepend(item);
  /* On small screens the labels begin below what is seen. */
  const head = byId("results-head");
  if (head.getBoundingClientRect().top > innerHeight / 2) head.scrollIntoView();
  byId("clear").disabled = false;
  pending += 1;
  tell(pending > 1 ? `${pending} pictures are being looked at …` : `${name} is being looked at …`);
  try {
    const chosen = guide();
    const request = {
      images: [{ data: await toBase64(blob), name }],
      top: Number(byId("top").value) || 5,
      tokens: true,
      embedding: true,
    };
    if (byId("gencfg").value) request.gencfg = byId("gencfg").value;
    if (chosen) request.guide = chosen;
    const [record] = await ask("/v1/classify", JSON.stringify(request), { "Content-Type": "application/json" });
    showGuideWarnings(item, record);
    if (record.error) throw new Error(record.error.message);
    showLabels(item, record, chosen);
    const best = record.predictions[0];
    const sure = best && best.prob !== null ? `, ${percent(best.prob)}` : "";
    picture.alt = best ? `${name}: ${best.noun}` : name;
    tell(best ? `${name}: ${best.noun}${sure}` : `${name}: no label`);
  } catch (error) {
    const line = document.createElement("p");
    line.className = "error";
    line.textContent = error.message;
    item.querySelector(".labels").append(line);
    tell(`${name}: ${error.message}`, true);
  } finally {
    pending -= 1;
  }
}

function classifyAll(files) {
  const pictures = [...files].filter((file) => !file.type || file.type.startsWith("image/"));
  if (pictures.length === 0) {
    tell("These are no pictures.", true);
    return;
  }
  for (const file of pictures) classify(file, file.name || "pasted picture");
}

/* Choosing, dropping, pasting */

byId("files").addEventListener("change", (event) => {
  classifyAll(event.target.files);
  event.target.value = "";
});
byId("files").addEventListener("focus", () => document.querySelector("label.button").classList.add("files-focus"));
byId("files").addEventListener("blur", () => document.querySelector("label.button").classList.remove("files-focus"));
const drop = byId("drop");
for (const name of ["dragenter", "dragover"]) {
  window.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
}
window.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) drop.classList.remove("over");
});
window.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  classifyAll(event.dataTransfer.files);
});
window.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length > 0) classifyAll(event.clipboardData.files);
});

/* Camera */

let camera = null;
function closeCamera() {
  if (camera) for (const track of camera.getTracks()) track.stop();
  camera = null;
  byId("viewfinder").hidden = true;
}
byId("camera").addEventListener("click", async () => {
  try {
    camera = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    byId("video").srcObject = camera;
    byId("viewfinder").hidden = false;
    byId("shoot").focus();
  } catch (error) {
    tell(`No camera: ${error.message}`, true);
  }
});
byId("close-camera").addEventListener("click", closeCamera);
byId("shoot").addEventListener("click", () => {
  const video = byId("video");
  if (!video.videoWidth) return;
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  canvas.toBlob((blob) => classify(blob, "camera picture"), "image/png");
});

/* Everything else */

byId("clear").addEventListener("click", () => {
  for (const picture of results.querySelectorAll("img")) URL.revokeObjectURL(picture.src);
  results.replaceChildren();
  byId("clear").disabled = true;
  tell("No picture yet.");
});

const theme = byId("theme");
function setTheme(dark) {
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  theme.setAttribute("aria-pressed", String(dark));
  theme.textContent = dark ? "Light" : "Dark";
}
setTheme(localStorage.getItem("theme") === "dark"
  || (!localStorage.getItem("theme") && matchMedia("(prefers-color-scheme: dark)").matches));
theme.addEventListener("click", () => {
  const dark = document.documentElement.dataset.theme !== "dark";
  localStorage.setItem("theme", dark ? "dark" : "light");
  setTheme(dark);
});

for (const name of EXAMPLES) {
  const button = document.createElement("button");
  button.type = "button";
  button.title = `Classify the ${name}`;
  const picture = document.createElement("img");
  picture.src = `/examples/${name}.png`;
  picture.alt = name;
  button.append(picture);
  button.addEventListener("click", async () => {
    const response = await fetch(picture.src);
    classify(await response.blob(), `${name}.png`);
  });
  byId("examples").append(button);
}

if (location.hash.startsWith("#token=")) {
  byId("token").value = decodeURIComponent(location.hash.slice(7));
  history.replaceState(null, "", location.pathname);
}

async function showModel() {
  try {
    const response = await fetch("/v1/models", { headers: headers({}) });
    const [model] = await response.json();
    byId("model").textContent = `${model.name} · ${model.vocabulary.toLocaleString("en")} nouns · ${model.embedder} · ${model.gencfg}`;
  } catch {
    byId("model").textContent = "The server wants its token: see Settings.";
  }
}
byId("token").addEventListener("change", showModel);
showModel();

/* `#example=fox` shows one at once; links and tests use it. */
const asked = new URLSearchParams(location.hash.slice(1)).get("example");
if (EXAMPLES.includes(asked)) {
  document.querySelector(`img[alt="${asked}"]`).parentElement.click();
}
