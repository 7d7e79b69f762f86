// SPDX-License-Identifier: Apache-2.0
// Draws the figures in the colours of the page, again whenever the colour scheme changes or the page is printed.
(() => {
  "use strict";
  const root = document.documentElement;
  const errors = [];
  const failed = (message) => { errors.push(String(message)); root.dataset.errors = errors.join(" | "); };
  window.addEventListener("error", (event) => failed(event.message));
  window.addEventListener("unhandledrejection", (event) => failed(event.reason));
  window.addEventListener("securitypolicyviolation", (event) => failed(`blocked ${event.blockedURI}`));

  const colour = (name) => getComputedStyle(root).getPropertyValue("--" + name).trim();
  const channels = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  const ramp = (share) => {
    const place = Math.min(Math.max(share, 0), 1) * 4;
    const low = Math.min(Math.floor(place), 3);
    const [a, b] = [channels(colour("ramp" + low)), channels(colour("ramp" + (low + 1)))];
    return "rgb(" + a.map((value, i) => Math.round(value + (place - low) * (b[i] - value))).join(",") + ")";
  };
  // "@name" is a variable of the style sheet, {ramp: share} a colour of the ramp.
  const resolve = (value) => {
    if (typeof value === "string") return /^@[a-z]+[0-9]*$/.test(value) ? colour(value.slice(1)) || value : value;
    if (Array.isArray(value)) return value.map(resolve);
    if (value === null || typeof value !== "object") return value;
    if (Object.keys(value).length === 1 && "ramp" in value) return ramp(value.ramp);
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, resolve(item)]));
  };

  const template = JSON.parse(document.getElementById("template").textContent);
  const figures = [...document.querySelectorAll("script[data-figure]")].map((block) => ({
    place: document.getElementById(block.dataset.figure),
    spec: JSON.parse(block.textContent),
  }));
  const config = { responsive: true, displaylogo: false, displayModeBar: true,
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]] };
  const draw = () => Promise.all(figures.map(({ place, spec }) => {
    const { data, layout } = resolve(spec);
    layout.template = resolve(template);
    layout.autosize = true;
    config.toImageButtonOptions = { format: "svg", filename: place.id };
    return Plotly.react(place, data, layout, { ...config });
  })).then(() => { root.dataset.figures = figures.length; }).catch(failed);
  draw();
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

  // Paper is light and narrow, and folded parts cannot be opened on it.
  let closed = [];
  window.addEventListener("beforeprint", () => {
    root.classList.add("print");
    closed = [...document.querySelectorAll("details:not([open])")];
    closed.forEach((part) => { part.open = true; });
    draw();
  });
  window.addEventListener("afterprint", () => {
    root.classList.remove("print");
    closed.forEach((part) => { part.open = false; });
    draw();
  });

  document.querySelectorAll("button[data-copy]").forEach((button) => {
    button.addEventListener("click", () => {
      const source = document.getElementById(button.dataset.copy);
      const done = () => { button.textContent = "Copied"; setTimeout(() => { button.textContent = "Copy"; }, 1500); };
      const select = () => {
        window.getSelection().selectAllChildren(source);
        if (document.execCommand("copy")) done();
      };
      if (navigator.clipboard) navigator.clipboard.writeText(source.textContent).then(done, select);
      else select();
    });
  });

  // The table of contents marks where the reader is.
  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      links.forEach((link) => link.removeAttribute("aria-current"));
      links.get(entry.target.id)?.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-10% 0px -75% 0px" });
  document.querySelectorAll("main > section").forEach((section) => watcher.observe(section));
})();
