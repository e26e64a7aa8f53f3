/* Faults of a page that people would meet who use a keyboard, a screen reader
   or weak eyes: WCAG 2.2 AA, as far as it can be computed. */
(() => {
  const faults = [];
  const isShown = (e) => e.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && !e.closest(".hidden, .skip, [inert]");
  const where = (e) => `${e.tagName.toLowerCase()}${e.id ? `#${e.id}` : ""} ${JSON.stringify(e.textContent.trim().slice(0, 30))}`;
  const text = (e) => e.textContent.trim();

  if (!document.documentElement.lang) faults.push("the page has no language");
  if (!document.title) faults.push("the page has no title");
  if (document.querySelectorAll("h1").length !== 1) faults.push("the page has not one h1");
  if (!document.querySelector("main")) faults.push("the page has no main part");
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) faults.push(`id ${id} is there twice`);
  for (const name of ["aria-labelledby", "aria-controls", "aria-describedby"]) {
    for (const e of document.querySelectorAll(`[${name}]`)) {
      for (const id of e.getAttribute(name).split(/\s+/)) if (!ids.includes(id)) faults.push(`${where(e)}: ${name} leads nowhere`);
    }
  }
  for (const image of document.querySelectorAll("img")) if (!image.hasAttribute("alt")) faults.push(`${where(image)}: no alt`);

  const named = (e) => e.getAttribute("aria-label") || text(e) || e.title
    || e.getAttribute("aria-labelledby")?.split(/\s+/).map((id) => text(document.getElementById(id))).join("")
    || [...(e.labels ?? [])].map(text).join("") || e.querySelector?.("img[alt]:not([alt=''])")?.alt;
  for (const e of document.querySelectorAll("button, a[href], input, select, textarea, summary, progress, dialog[open], [role=region], [role=group]")) {
    if (isShown(e) && e.type !== "file" && !named(e)) faults.push(`${where(e)}: no name`);
  }
  // Whoever speaks to a page says what is written on it.
  for (const e of document.querySelectorAll("button[aria-label], a[aria-label]")) {
    const [spoken, written] = [e.getAttribute("aria-label"), text(e)].map((words) => words.toLowerCase());
    if (isShown(e) && /[\p{L}\p{N}]/u.test(written) && !spoken.includes(written)) faults.push(`${where(e)}: is called ${spoken}`);
  }
  for (const e of document.querySelectorAll("button, select, input:not([type=file]), summary")) {
    if (!isShown(e)) continue;
    const { width, height } = e.getBoundingClientRect();
    if (width < 24 || height < 24) faults.push(`${where(e)}: ${Math.round(width)} × ${Math.round(height)} is too small to hit`);
  }
  if ([...document.querySelectorAll("[tabindex]")].some((e) => e.tabIndex > 0)) faults.push("a tabindex changes the order");

  const colour = (value) => {
    const [r, g, b, a = 1] = value.match(/[\d.]+/g).map(Number);
    return { r, g, b, a };
  };
  const light = ({ r, g, b }) => {
    const [x, y, z] = [r, g, b].map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (e) => {
    for (let at = e; at; at = at.parentElement) {
      const own = colour(getComputedStyle(at).backgroundColor);
      if (own.a === 1) return own;
    }
    return { r: 255, g: 255, b: 255, a: 1 };
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const e = node.parentElement;
    if (!node.textContent.trim() || !isShown(e) || e.closest("script, style, template, option, :disabled")) continue;
    if (document.querySelector("dialog[open]") && !e.closest("dialog[open]")) continue;
    const style = getComputedStyle(e);
    const [fore, back] = [light(colour(style.color)), light(ground(e))];
    const contrast = (Math.max(fore, back) + 0.05) / (Math.min(fore, back) + 0.05);
    const size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (contrast < (isLarge ? 3 : 4.5)) faults.push(`${where(e)}: contrast ${contrast.toFixed(2)}`);
  }
  return faults;
})()
