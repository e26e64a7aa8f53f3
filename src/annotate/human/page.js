"use strict";

const byId = (id) => document.getElementById(id);
const MARKS = { correct_primary: "P", correct_secondary: "S", close_primary: "CP", close_secondary: "CS", incorrect: "I" };
const KEPT = "novic-annotate";

let session = null;
let view = null;
let filter = {};
let zoom = 1;
let shownImage = "";
let queue = Promise.resolve();
let round = 0;
let isOver = false;

/* What the browser keeps: keys, theme, and where this tab is. */

function kept(storage, name) {
  try {
    return JSON.parse(storage.getItem(`${KEPT}-${name}`));
  } catch {
    return null;
  }
}

function keep(storage, name, value) {
  try {
    storage.setItem(`${KEPT}-${name}`, JSON.stringify(value));
  } catch {
    // Private windows may refuse; nothing depends on it.
  }
}

/* Asking the server */

async function ask(path, body) {
  const how = body === undefined
    ? {}
    : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let response;
  try {
    response = await fetch(path, how);
  } catch {
    throw new Error("the server does not answer; what was saved is safe, start it again");
  }
  let answer = null;
  try {
    answer = await response.json();
  } catch {
    // The status tells enough.
  }
  if (!response.ok) {
    if (response.status === 401) throw new Error("open the address that the program has printed");
    throw Object.assign(new Error(answer?.error?.message ?? `status ${response.status}`), { code: answer?.error?.code });
  }
  return answer;
}

function tellSaved(text, isError) {
  byId("saved").textContent = text;
  byId("saved").classList.toggle("error", Boolean(isError));
}

function announce(text) {
  byId("live").textContent = text;
}

/* One thing after the other: a key that comes early waits for the one before,
   and is dropped if that one failed. */
function enqueue(work) {
  const mine = round;
  queue = queue.then(async () => {
    if (mine !== round || isOver) return;
    try {
      await work();
    } catch (error) {
      round += 1;
      if (error.code === "nothing") {
        announce(error.message);
        tellSaved(error.message);
      } else {
        tellSaved(`Not saved: ${error.message}`, true);
        announce(`Not saved: ${error.message}`);
      }
    }
  });
  return queue;
}

function step(command, more) {
  return enqueue(async () => {
    if (command && isLabel(command) && !session.read_only) tellSaved("Saving …");
    const before = view?.noun;
    show(await ask("/api/step", { command, at: view?.at ?? null, filter, ...more }));
    if (view.did) {
      const left = view.total - view.done;
      const noun = view.did.place.noun;
      const what = view.did.category ? `labelled ${noun} as ${labelOf(view.did.category)}` : `${noun} is open again`;
      announce(`${what}, ${left} left`);
      if (!byId("filters").hidden) showCounts();
    } else if (command && before !== view.noun) {
      announce(view.noun ?? "The end of the list");
    }
  });
}

function isLabel(command) {
  return session.categories.some((category) => category.id === command);
}

function labelOf(category) {
  return session.categories.find((known) => known.id === category)?.label ?? category;
}

/* Showing */

function element(name, options, ...children) {
  const made = Object.assign(document.createElement(name), options);
  made.append(...children);
  return made;
}

function mark(category) {
  const known = MARKS[category];
  return element("span", { className: `mark ${known ? category : "unknown"}`, title: labelOf(category), textContent: known ?? category });
}

/* The mark with its meaning for those who do not see it. */
function spokenMark(category) {
  const made = mark(category);
  made.setAttribute("aria-hidden", "true");
  return element("span", {}, made, element("span", { className: "hidden", textContent: labelOf(category) }));
}

function show(next) {
  view = next;
  keep(sessionStorage, "at", view.at);
  byId("progress").max = Math.max(view.total, 1);
  byId("progress").value = view.done;
  const parts = [`${view.done} of ${view.total} pairs`, `${view.images_done} of ${view.images_total} images`];
  if (view.labels_per_hour) {
    parts.push(`${Math.round(view.labels_per_hour)} per hour`);
    if (view.seconds_left > 0) parts.push(`${duration(view.seconds_left)} left`);
  }
  byId("counts").textContent = parts.join(" · ");
  byId("undo").disabled = !view.can_undo || session.read_only;
  byId("redo").disabled = !view.can_redo || session.read_only;
  if (session.read_only) tellSaved("Read-only: nothing is written");
  else if (view.save_errors.length > 0) tellSaved(`Not in the file yet: ${view.save_errors.join("; ")}`, true);
  else tellSaved("All labels are saved");
  showImage();
  showNoun();
  showProblems();
}

function duration(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function showImage() {
  const image = byId("image");
  const problem = byId("problem");
  const about = view.image;
  image.hidden = !about || Boolean(about.problem);
  problem.hidden = !about?.problem;
  if (!about) {
    byId("caption").textContent = "";
    shownImage = "";
    return;
  }
  problem.textContent = about.problem ? `This picture cannot be shown: ${about.problem}` : "";
  const name = about.name ? ` · ${about.name}` : "";
  byId("caption").textContent = `${about.set} · image ${about.number} of ${about.of}${name}`;
  image.alt = `image ${about.number} of ${about.of}`;
  const source = addressOf(view.at);
  if (source !== shownImage) {
    shownImage = source;
    zoom = 1;
    image.src = source;
    byId("frame").scrollTo(0, 0);
  }
  showZoom();
}

function addressOf({ set, image }) {
  return `/api/image/${set}/${image.split("/").map(encodeURIComponent).join("/")}`;
}

/* The next picture is there before it is wanted. */
const early = new Image();
byId("image").addEventListener("load", () => {
  if (view?.next_image) early.src = addressOf(view.next_image);
});

function showZoom() {
  const image = byId("image");
  const [width] = view?.image?.display ?? [640];
  image.classList.toggle("fit", zoom === 1);
  image.style.width = `${Math.round(width * zoom)}px`;
  byId("zoom-reset").textContent = `${Math.round(zoom * 100)} %`;
  fit();
  // What can be scrolled must be reachable by keys.
  if (zoom === 1) byId("frame").removeAttribute("tabindex");
  else byId("frame").tabIndex = 0;
}

/* The picture ends where the window ends. */
function fit() {
  const above = byId("frame").getBoundingClientRect().top + window.scrollY;
  document.documentElement.style.setProperty("--above", `${Math.round(above)}px`);
}
window.addEventListener("resize", fit);

function setZoom(value) {
  if (!view?.image) return;
  zoom = Math.min(8, Math.max(0.25, value));
  showZoom();
  announce(`${Math.round(zoom * 100)} percent`);
}

function showNoun() {
  const current = [...(view.nouns ?? []), ...(view.others ?? [])].find((noun) => noun.noun === view.noun);
  const left = view.total - view.done;
  byId("noun").textContent = current ? current.noun || "(empty)" : left === 0 ? "All pairs are labelled" : "The end of the list";
  const notes = byId("notes");
  notes.replaceChildren();
  if (!current) {
    const text = left === 0
      ? "The files are complete. End the session, or review labels with the filters."
      : `${left} pairs are open${isFiltered() ? ", not all of them pass the filters" : ""}.`;
    notes.append(text, " ");
    const again = element("button", { type: "button", textContent: "From the first" });
    again.addEventListener("click", () => step(null, { first: true }));
    notes.append(again);
  } else {
    if (current.conflict) {
      const theirs = current.conflict.theirs ? labelOf(current.conflict.theirs) : "open";
      const ours = current.conflict.ours ? labelOf(current.conflict.ours) : "open";
      notes.append(element("strong", { className: "error", textContent: `Somebody else says ${theirs}, here it was ${ours}: choose again. ` }));
    }
    if (current.models?.length) notes.append(`Predicted by ${current.models.join(", ")}. `);
    for (const other of current.others ?? []) {
      notes.append(element("span", { className: other.disagrees ? "error" : "", textContent: `${other.by}: ${labelOf(other.category)}. ` }));
    }
  }
  for (const button of byId("categories").children) {
    button.setAttribute("aria-pressed", String(current?.category === button.dataset.category));
    button.disabled = !current || session.read_only;
  }
  byId("more").hidden = !current || session.read_only;
  showLookups(current);
  const list = byId("nouns");
  const others = byId("others");
  const focused = document.activeElement?.dataset.noun;
  list.replaceChildren(...(view.nouns ?? []).map(nounEntry));
  others.replaceChildren();
  if (view.others?.length) {
    others.append(element("h3", { id: "others-head", textContent: "Labels of other nouns" }));
    const added = element("ul", {}, ...view.others.map(nounEntry));
    added.setAttribute("aria-labelledby", "others-head");
    others.append(added);
  }
  if (focused !== undefined) {
    const buttons = [...list.querySelectorAll("button"), ...others.querySelectorAll("button")];
    buttons.find((button) => button.dataset.noun === focused)?.focus();
  }
  byId("nouns-head").hidden = !current;
}

/* A noun of a list: its label, and the way to it. */
function nounEntry(noun) {
  const state = noun.category ? spokenMark(noun.category) : element("span", { className: "open", textContent: "open" });
  const button = element("button", { type: "button" }, element("span", { textContent: noun.noun || "(empty)" }), state);
  button.dataset.noun = noun.noun;
  if (noun.noun === view.noun) button.setAttribute("aria-current", "true");
  button.addEventListener("click", (event) => {
    step(null, { at: { ...view.at, noun: noun.noun } });
    release(event);
  });
  return element("li", {}, button);
}

function showLookups(current) {
  const links = byId("lookups");
  links.replaceChildren();
  if (!current) return;
  for (const [name, text] of [["definition", "Definition"], ["images", "Pictures"], ["wordnet", "WordNet"]]) {
    const key = keyNames(name)[0];
    const link = element("a", { href: lookup(name, current.noun), target: "_blank", rel: "noopener noreferrer", textContent: text });
    links.append(element("span", {}, link, " ", ...(key ? [element("kbd", { textContent: key })] : [])));
  }
}

function lookup(name, noun) {
  const encoded = new URLSearchParams([["", noun]]).toString().slice(1);
  return session.lookups[name].replaceAll("{noun}", encoded);
}

function showProblems() {
  const place = byId("problems");
  const count = view.sets.reduce((sum, set) => sum + set.problems, 0);
  if (Number(place.dataset.count ?? 0) === count) return;
  place.dataset.count = count;
  place.replaceChildren();
  if (count === 0) return;
  const list = element("ul", {});
  const details = element("details", {}, element("summary", { textContent: `${count} pictures cannot be shown` }), list);
  place.append(details);
  ask("/api/session").then((fresh) => {
    fresh.sets.forEach((set, number) => {
      set.problems.forEach((problem, place) => {
        const name = session.blind ? `picture ${place + 1}` : problem.image;
        list.append(element("li", { textContent: `${fresh.sets.length > 1 ? `${set.name}: ` : ""}${name}: ${session.blind ? "unreadable" : problem.why}` }));
      });
    });
  }, () => {});
}

/* Keys */

let ownKeys = kept(localStorage, "keys") ?? {};
let withLetters = kept(localStorage, "letters") ?? true;
let waitsForKey = null;

function keyTable() {
  const table = new Map(session.keys);
  for (const [command, key] of Object.entries(ownKeys)) {
    for (const [known, of] of [...table]) if (of === command) table.delete(known);
    table.set(key, command);
  }
  return table;
}

function keyNames(command) {
  const readable = { " ": "Space", ArrowLeft: "←", ArrowRight: "→", Escape: "Esc", PageUp: "Page Up", PageDown: "Page Down" };
  return [...keyTable()]
    .filter(([key, of]) => of === command && (withLetters || !isCharacter(key)))
    .map(([key]) => key.replace("Control+", "Ctrl ").replace("Shift+", "Shift ").replace(/[^ +]+$/, (last) => readable[last] ?? (last.length === 1 ? last.toUpperCase() : last)).replace(/^ $/, "Space"));
}

function isCharacter(key) {
  return /^[\p{L}\p{N}]$/u.test(key);
}

/* The name of a pressed key in the table. */
function pressed(event) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.ctrlKey || event.metaKey) return `Control+${event.shiftKey ? "Shift+" : ""}${key}`;
  const shifted = `Shift+${key}`;
  return event.shiftKey && keyTable().has(shifted) ? shifted : key;
}

document.addEventListener("keydown", (event) => {
  if (!session || isOver || event.isComposing || event.altKey || event.defaultPrevented) return;
  if (waitsForKey) {
    if (["Shift", "Control", "Alt", "Meta", "Tab"].includes(event.key)) return;
    event.preventDefault();
    takeKey(pressed(event));
    return;
  }
  const target = event.target;
  if (target.closest("dialog") || target.matches("input:not([type=checkbox]), select, textarea")) {
    if (event.key === "Escape" && target.closest("#filters")) {
      event.preventDefault();
      target.blur();
      byId("noun").focus();
    }
    return;
  }
  const key = pressed(event);
  // These act on what has the focus.
  if ((key === "Enter" || key === " ") && target.closest("button, a, summary")) return;
  if (isCharacter(key) && !withLetters) return;
  const command = keyTable().get(key);
  if (!command) return;
  event.preventDefault();
  // A key that is held down labels once.
  if (event.repeat && (isLabel(command) || command === "save")) return;
  run(command);
});

function run(command) {
  switch (command) {
    case "definition":
    case "images":
    case "wordnet":
      if (view?.noun !== undefined) window.open(lookup(command, view.noun), "_blank", "noopener,noreferrer");
      break;
    case "zoom_in": setZoom(zoom * 1.25); break;
    case "zoom_out": setZoom(zoom / 1.25); break;
    case "zoom_reset": setZoom(1); break;
    case "filter": showFilters(true); break;
    case "help": showHelp(); break;
    case "end": askToEnd(); break;
    case "show": sayLabels(); break;
    case "save":
      enqueue(async () => {
        tellSaved("Saving …");
        await ask("/api/save", {});
        tellSaved("All labels are in the file");
        announce("All labels are in the file");
      });
      break;
    default: step(command);
  }
}

function sayLabels() {
  const labels = [...(view?.nouns ?? []), ...(view?.others ?? [])].filter((noun) => noun.category);
  const text = labels.length === 0 ? "No labels yet" : labels.map((noun) => `${noun.noun}: ${labelOf(noun.category)}`).join(", ");
  announce(text);
  tellSaved(text);
}

function showHelp() {
  byId("letters").checked = withLetters;
  byId("keys").replaceChildren(...Object.entries(session.commands).map(([command, text]) => {
    const change = element("button", { type: "button", textContent: "Change", ariaLabel: `Change the key for: ${text}` });
    change.addEventListener("click", () => {
      waitsForKey = { command, change };
      change.textContent = "Press a key …";
    });
    const keys = keyNames(command).flatMap((name) => [element("kbd", { textContent: name }), " "]);
    return element("tr", {}, element("td", { textContent: text }), element("td", {}, ...keys), element("td", {}, change));
  }));
  if (!byId("help").open) byId("help").showModal();
}

function takeKey(key) {
  const { command } = waitsForKey;
  waitsForKey = null;
  if (key !== "Escape" || command === "end") {
    const taken = keyTable().get(key);
    ownKeys[command] = key;
    if (taken && taken !== command) delete ownKeys[taken];
    keep(localStorage, "keys", ownKeys);
  }
  showHelp();
  const place = Object.keys(session.commands).indexOf(command);
  byId("keys").querySelectorAll("button")[place]?.focus();
  makeButtons();
  if (view) showNoun();
}

/* Filters */

const STATUSES = [["open", "Open"], ["done", "Labelled"], ["all", "All"], ["conflict", "In conflict"], ["disagree", "Disagreeing"]];

/* A blind session knows nothing of what others say. */
function shownStatuses() {
  return STATUSES.filter(([id]) => !session.blind || (id !== "conflict" && id !== "disagree"));
}

function isFiltered() {
  return Boolean(filter.set !== undefined || filter.category || filter.model || filter.noun || filter.image);
}

function showFilters(focus) {
  const panel = byId("filters");
  panel.hidden = focus ? false : !panel.hidden;
  byId("show-filters").setAttribute("aria-expanded", String(!panel.hidden));
  fit();
  if (!panel.hidden) {
    showCounts();
    if (focus) byId("f-noun").focus();
  }
}

async function showCounts() {
  try {
    const counts = await ask("/api/filters", filter);
    const statuses = shownStatuses().map(([id, text]) => [id, `${text} (${counts.status[id]})`]);
    fill("f-status", statuses, filter.status ?? "open");
    fill("f-set", [["", "All"], ...view.sets.map((set, place) => [String(place), `${set.name} (${set.pairs_done} of ${set.pairs})`])], String(filter.set ?? ""));
    fill("f-category", [["", "Any"], ...session.categories.map(({ id, label }) => [id, `${label} (${counts.category[id]})`])], filter.category ?? "");
    fill("f-model", [["", "Anybody"], ...counts.models.map(({ name, pairs }) => [name, `${name} (${pairs})`])], filter.model ?? "");
    byId("f-model").parentElement.hidden = session.blind;
    byId("f-image").parentElement.hidden = session.blind;
    byId("f-set").parentElement.hidden = session.sets.length < 2;
    fit();
  } catch (error) {
    tellSaved(error.message, true);
  }
}

function fill(id, choices, chosen) {
  const select = byId(id);
  select.replaceChildren(...choices.map(([value, textContent]) => element("option", { value, textContent })));
  select.value = chosen;
}

function takeFilter() {
  const value = (id) => byId(id).value;
  filter = { status: value("f-status") || "open" };
  if (value("f-set") !== "") filter.set = Number(value("f-set"));
  for (const name of ["category", "model", "noun", "image"]) {
    if (value(`f-${name}`)) filter[name] = value(`f-${name}`);
  }
  // A category is one of labelled pairs.
  if (filter.category && filter.status === "open") filter.status = "done";
  keep(sessionStorage, "filter", filter);
  step(null, { first: true }).then(showCounts);
}

for (const id of ["f-status", "f-set", "f-category", "f-model"]) byId(id).addEventListener("change", takeFilter);
let typing = 0;
for (const id of ["f-noun", "f-image"]) {
  byId(id).addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(takeFilter, 200);
  });
}
byId("f-clear").addEventListener("click", () => {
  for (const id of ["f-noun", "f-image", "f-set", "f-category", "f-model"]) byId(id).value = "";
  byId("f-status").value = "open";
  takeFilter();
});
byId("show-filters").addEventListener("click", () => showFilters(false));

/* Comparing with other files */

async function showCompare() {
  const place = byId("compared");
  place.replaceChildren();
  for (const [number, set] of session.sets.entries()) {
    if (set.compare.length === 0) continue;
    const { files } = await ask(`/api/compare?set=${number}`);
    for (const [index, file] of files.entries()) {
      place.append(element("h3", { textContent: session.sets.length > 1 ? `${set.name}: ${file.name}` : file.name }));
      const sense = file.tells_secondary ? "" : "; it does not tell subjects from things beside them, so right is right here";
      const agreement = file.agreement === null ? "nothing in common yet" : `${(file.agreement * 100).toFixed(1)} % of ${file.both} common pairs agree, ${file.conflicts} differ`;
      const kappa = file.kappa === null ? "" : `; Cohen’s kappa ${file.kappa.toFixed(3)}`;
      place.append(element("p", { textContent: agreement + kappa + sense }));
      const rows = file.categories.map(({ name, ours, theirs }) => element("tr", {},
        element("th", { scope: "row", textContent: labelOf(name) }),
        element("td", { className: "number", textContent: ours }),
        element("td", { className: "number", textContent: theirs })));
      const head = element("tr", {}, ...["Pairs", "Here", "There"].map((textContent, column) => element("th", { scope: "col", textContent, className: column > 0 ? "number" : "" })));
      place.append(element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)));
      const differing = element("button", { type: "button", textContent: "Show where they disagree" });
      differing.addEventListener("click", () => {
        byId("compare").close();
        filter = { status: "disagree", set: number };
        step(null, { first: true });
        showFilters(true);
      });
      const take = element("button", { type: "button", textContent: `Take over ${file.only_theirs} labels that only it has`, disabled: file.only_theirs === 0 || session.read_only });
      take.addEventListener("click", () => enqueue(async () => {
        const { taken } = await ask("/api/take", { set: number, file: index });
        show(await ask("/api/step", { at: view?.at ?? null, filter }));
        announce(`${taken} labels taken over; undo takes them back together`);
        await showCompare();
      }));
      place.append(element("div", { className: "tools" }, differing, take));
    }
  }
}

byId("show-compare").addEventListener("click", async () => {
  try {
    await showCompare();
    byId("compare").showModal();
  } catch (error) {
    tellSaved(error.message, true);
  }
});
byId("compare-close").addEventListener("click", () => byId("compare").close());

/* Buttons */

/* Whoever clicks goes on with keys: the focus must not stay on a button that
   Enter and the space bar would press. */
function release(event) {
  if (event.detail > 0) byId("noun").focus({ preventScroll: true });
}

function makeButtons() {
  byId("categories").replaceChildren(...session.categories.map(({ id, label, points }) => {
    const badge = mark(id);
    badge.setAttribute("aria-hidden", "true");
    const keys = keyNames(id);
    const key = element("kbd", { hidden: !keys[0] }, element("span", { className: "hidden", textContent: " key " }), keys[0] ?? "");
    const score = element("span", { className: "points" }, points.toFixed(1), element("span", { className: "hidden", textContent: " points" }));
    const button = element("button", { type: "button" }, badge, element("span", { textContent: label }), key, score);
    button.dataset.category = id;
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", (event) => {
      step(id);
      release(event);
    });
    return button;
  }));
  byId("extra-category").replaceChildren(...session.categories.map(({ id, label }) => element("option", { value: id, textContent: label })));
}

for (const [id, command] of [["undo", "undo"], ["redo", "redo"], ["previous", "previous_noun"], ["skip", "skip"], ["next-image", "next_image"]]) {
  byId(id).addEventListener("click", (event) => {
    step(command);
    release(event);
  });
}
byId("zoom-in").addEventListener("click", () => run("zoom_in"));
byId("zoom-out").addEventListener("click", () => run("zoom_out"));
byId("zoom-reset").addEventListener("click", () => run("zoom_reset"));
byId("show-help").addEventListener("click", showHelp);
byId("help-close").addEventListener("click", () => byId("help").close());
byId("help").addEventListener("close", () => { waitsForKey = null; });
byId("letters").addEventListener("change", () => {
  withLetters = byId("letters").checked;
  keep(localStorage, "letters", withLetters);
  makeButtons();
  showHelp();
  if (view) showNoun();
});
byId("keys-reset").addEventListener("click", () => {
  ownKeys = {};
  keep(localStorage, "keys", ownKeys);
  makeButtons();
  showHelp();
  if (view) showNoun();
});
byId("extra").addEventListener("submit", (event) => {
  event.preventDefault();
  const noun = byId("extra-noun").value.trim().replace(/\s+/g, " ");
  if (!noun || !view?.at) return;
  const { set, image } = view.at;
  const category = byId("extra-category").value;
  enqueue(async () => {
    await ask("/api/label", { set, image, noun, category, extra: true });
    show(await ask("/api/step", { at: view.at, filter }));
    announce(`labelled ${noun} as ${labelOf(category)}`);
    byId("extra-noun").value = "";
  });
});

function askToEnd() {
  const left = view ? view.total - view.done : 0;
  byId("finish-text").textContent = `${left === 0 ? "All pairs are labelled" : `${left} pairs are open`}. Everything is saved; the program ends.`;
  byId("finish").showModal();
}
byId("end").addEventListener("click", askToEnd);
byId("finish-no").addEventListener("click", () => byId("finish").close());
byId("finish-yes").addEventListener("click", () => {
  byId("finish").close();
  enqueue(async () => {
    await ask("/api/end", {});
    over();
  });
});

function over() {
  isOver = true;
  tellSaved("The session has ended; everything is saved");
  announce("The session has ended; everything is saved");
  for (const button of document.querySelectorAll("header button, main button")) button.disabled = button.id !== "theme";
}

const theme = byId("theme");
function setTheme(dark) {
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  theme.setAttribute("aria-pressed", String(dark));
}
setTheme(kept(localStorage, "dark") ?? matchMedia("(prefers-color-scheme: dark)").matches);
theme.addEventListener("click", () => {
  const dark = document.documentElement.dataset.theme !== "dark";
  keep(localStorage, "dark", dark);
  setTheme(dark);
});

/* News */

function listen() {
  const news = new EventSource("/api/events");
  let wasLost = false;
  news.addEventListener("open", () => {
    if (wasLost) step(null);
    wasLost = false;
  });
  news.addEventListener("error", () => {
    if (isOver) return;
    wasLost = true;
    tellSaved("The connection is lost; what was saved is safe", true);
  });
  news.addEventListener("changed", () => step(null).then(() => announce("The file was changed elsewhere; its labels are taken in")));
  news.addEventListener("progress", (event) => {
    // Another window has labelled something.
    if (view && JSON.parse(event.data).revision > view.revision) step(null);
  });
  news.addEventListener("save_error", (event) => tellSaved(`Not in the file yet: ${JSON.parse(event.data).message}`, true));
  news.addEventListener("written", () => {
    if (view?.save_errors.length > 0) step(null);
  });
  news.addEventListener("end", () => {
    news.close();
    over();
  });
}

async function begin() {
  // The token is a cookie by now; the address need not show it.
  if (location.search) history.replaceState(null, "", location.pathname);
  try {
    session = await ask("/api/session");
  } catch (error) {
    tellSaved(error.message, true);
    byId("noun").textContent = "No session";
    return;
  }
  document.title = `novic: ${session.sets.map((set) => set.name).join(", ")}`;
  byId("show-compare").hidden = session.blind || session.sets.every((set) => set.compare.length === 0);
  makeButtons();
  filter = kept(sessionStorage, "filter") ?? { status: session.review ? "all" : "open" };
  for (const name of ["noun", "image"]) byId(`f-${name}`).value = filter[name] ?? "";
  const at = kept(sessionStorage, "at");
  await step(null, { at, first: at === null });
  if (view && !view.noun) await step(null, { first: true });
  byId("noun").focus({ preventScroll: true });
  listen();
}

begin();
