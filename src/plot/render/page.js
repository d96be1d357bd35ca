// Zoom, move and read off a figure. Each panel holds a grid, its data and its axes; the data are moved by a transform,
// grid and axes are drawn again for what is seen.
"use strict";
const SVG = "http://www.w3.org/2000/svg";
const note = document.querySelector("output");

// From a share of the axis, 0 to 1, to its value and back.
const value = (a, t) => a.log ? Math.exp(Math.log(a.lo) * (1 - t) + Math.log(a.hi) * t) : a.lo * (1 - t) + a.hi * t;
const share = (a, v) => a.log ? Math.log(v / a.lo) / Math.log(a.hi / a.lo) : (v - a.lo) / (a.hi - a.lo);

// A number with as many digits as a length of `span` on a screen can show.
function say(v, span) {
  if (!isFinite(v)) return "none";
  const digits = Math.ceil(-Math.log10(span / 1000));
  const plain = Math.abs(v) < 1e5 && digits <= 6;
  const text = plain ? v.toFixed(Math.max(0, Math.min(digits, 6))) : v.toPrecision(4);
  return text.replace(/-/g, "−");
}

function name(a, t, width) {
  const v = value(a, t);
  if (a.kind === "names") return a.names[Math.round(v)] ?? "";
  if (a.kind === "integers") return String(Math.round(v)).replace("-", "−");
  const span = Math.abs(value(a, Math.min(t + width / 2, 1e6)) - value(a, t - width / 2));
  return say(v, span);
}

// Round values between two ends: [value, text].
function ticks(a, from, to, count) {
  let lo = value(a, from), hi = value(a, to);
  if (lo > hi) [lo, hi] = [hi, lo];
  if (a.log && hi / lo > 100) {
    const every = Math.max(1, Math.ceil(Math.log10(hi / lo) / count)), list = [];
    for (let p = Math.ceil(Math.log10(lo)); p <= Math.log10(hi); p++)
      if (p % every === 0) list.push([10 ** p, p > -4 && p < 5 ? String(10 ** p) : `1e${p}`.replace("-", "−")]);
    return list;
  }
  const raw = (hi - lo) / count, power = 10 ** Math.floor(Math.log10(raw)), r = raw / power;
  let step = (r < 1.5 ? 1 : r < 3.5 ? 2 : r < 7.5 ? 5 : 10) * power;
  if (a.kind === "integers" || a.kind === "names") step = Math.max(1, Math.round(step));
  const list = [];
  for (let i = Math.ceil(lo / step); i * step <= hi && list.length < 50; i++) {
    const v = i * step;
    list.push([v, a.kind === "names" ? a.names[v] ?? "" : say(v, step * 1000)]);
  }
  return list;
}

function panel(root, group) {
  const [left, top, width, height] = JSON.parse(group.dataset.box);
  const x = JSON.parse(group.dataset.x), y = JSON.parse(group.dataset.y);
  const cells = JSON.parse(group.dataset.cells), columns = Number(group.dataset.columns);
  const [grid, , axes] = [".grid", ".data", ".axes"].map(c => group.querySelector(c));
  const data = group.querySelector(".data");
  const still = [grid.innerHTML, axes.innerHTML];
  const sample = axes.querySelector("text"), line = axes.querySelector("polyline"), rule = grid.querySelector("polyline");
  // What keeps its size on the screen when the data grow.
  const sized = [];
  for (const e of data.querySelectorAll("*"))
    for (const key of ["r", "stroke-width", "font-size"])
      if (e.hasAttribute(key)) sized.push([e, key, parseFloat(e.getAttribute(key))]);
  // The points that can be read off, in the coordinates of the picture.
  let places = null;
  const points = () => places ??= [...data.querySelectorAll("circle, polyline, rect")].flatMap(e => {
    const number = key => Number(e.getAttribute(key)), get = key => e.closest(`[${key}]`)?.getAttribute(key);
    const color = e.tagName === "polyline" ? get("stroke") : get("fill");
    if (e.tagName === "circle") return [[number("cx"), number("cy"), color]];
    if (e.tagName === "rect") return [[number("x") + number("width") / 2, number("y"), color]];
    return e.getAttribute("points").trim().split(/\s+/).map(p => [...p.split(",").map(Number), color]);
  });
  let view = { k: 1, x: 0, y: 0 }, marked = -1;

  function draw() {
    // Nothing is seen beyond the data: moving stops at their ends.
    view.k = Math.max(1, Math.min(view.k, 1e5));
    view.x = Math.min(0, Math.max(view.x, width * (1 - view.k)));
    view.y = Math.min(0, Math.max(view.y, height * (1 - view.k)));
    const { k } = view;
    const shift = [left + view.x - k * left, top + view.y - k * top];
    data.setAttribute("transform", `matrix(${k} 0 0 ${k} ${shift[0]} ${shift[1]})`);
    for (const [e, key, size] of sized) e.setAttribute(key, size / k);
    if (k === 1) { [grid.innerHTML, axes.innerHTML] = still; return; }
    grid.replaceChildren(); axes.replaceChildren();
    side(x, true); side(y, false);
  }

  // One axis for what is seen.
  function side(a, across) {
    if (a.kind === "none") return;
    const make = (parent, tag, from) => {
      const e = from?.tagName === tag ? from.cloneNode(false) : document.createElementNS(SVG, tag);
      return parent.appendChild(e);
    };
    const stroke = (parent, from, ...p) => make(parent, "polyline", from).setAttribute("points", p.join(" "));
    const bottom = top + height, right = left + width;
    if (across) stroke(axes, line, `${left},${bottom}`, `${right},${bottom}`);
    else stroke(axes, line, `${left},${top}`, `${left},${bottom}`);
    const length = across ? width : height, offset = across ? view.x : view.y;
    const [from, to] = across ? [-offset / length / view.k, (length - offset) / length / view.k]
      : [1 - (length - offset) / length / view.k, 1 + offset / length / view.k];
    for (const [v, text] of ticks(a, from, to, Math.max(2, Math.floor(length / (across ? 700 : 520))))) {
      const t = share(a, v), at = (across ? left : top) + (across ? t : 1 - t) * length * view.k + offset;
      if (a.grid && rule) stroke(grid, rule, ...(across ? [`${at},${top}`, `${at},${bottom}`] : [`${left},${at}`, `${right},${at}`]));
      stroke(axes, line, ...(across ? [`${at},${bottom}`, `${at},${bottom + 40}`] : [`${left - 40},${at}`, `${left},${at}`]));
      const e = make(axes, "text", sample);
      e.removeAttribute("dy");
      e.setAttribute("text-anchor", across ? "middle" : "end");
      e.setAttribute("x", across ? at : left - 80);
      e.setAttribute("y", across ? bottom + 170 : at + 42);
      e.textContent = text;
    }
  }

  // What stands at a place of the picture, and where to say so.
  function read(px, py, color) {
    const u = (px - left) / width, v = 1 - (py - top) / height;
    const label = (a, other) => a.label || other;
    const lines = [];
    if (x.kind !== "none") lines.push(`${label(x, "x")}: ${name(x, u, 1 / view.k)}`);
    if (y.kind !== "none") lines.push(`${label(y, "y")}: ${name(y, v, 1 / view.k)}`);
    if (cells.length && columns) {
      const rows = cells.length / columns;
      const cell = cells[Math.floor((1 - v) * rows) * columns + Math.floor(u * columns)];
      if (cell != null) lines.push(`value: ${String(cell).replace("-", "−")}`);
    }
    note.textContent = lines.join("\n");
    note.style.borderLeft = color ? `4px solid ${color}` : "none";
    const box = root.getBoundingClientRect(), unit = box.width / root.viewBox.baseVal.width;
    const [sx, sy] = [left + view.x + (px - left) * view.k, top + view.y + (py - top) * view.k];
    note.style.display = lines.length ? "block" : "none";
    note.style.left = Math.min(box.left + sx * unit + 12, innerWidth - note.offsetWidth - 4) + "px";
    note.style.top = Math.max(box.top + sy * unit - note.offsetHeight - 8, 4) + "px";
  }

  // The place of the picture under a place of the screen, as it was before zoom.
  const unzoom = ([sx, sy]) => [left + (sx - left - view.x) / view.k, top + (sy - top - view.y) / view.k];
  return {
    holds: ([sx, sy]) => sx >= left && sx <= left + width && sy >= top && sy <= top + height,
    zoom(factor, [sx, sy] = [left + width / 2, top + height / 2]) {
      const k = Math.max(1, Math.min(view.k * factor, 1e5)), f = k / view.k;
      view = { k, x: sx - left - (sx - left - view.x) * f, y: sy - top - (sy - top - view.y) * f };
      draw();
    },
    move(dx, dy) { view.x += dx; view.y += dy; draw(); },
    reset() { view = { k: 1, x: 0, y: 0 }; draw(); },
    point(place) {
      const [px, py] = unzoom(place);
      let best = null, least = (300 / view.k) ** 2;
      points().forEach(([qx, qy, color], i) => {
        const d = (qx - px) ** 2 + (qy - py) ** 2;
        if (d < least) { least = d; best = [qx, qy, color]; marked = i; }
      });
      if (best) read(...best); else if (cells.length) read(px, py); else note.style.display = "none";
    },
    step(by) {
      const n = points().length;
      if (!n) return;
      marked = (marked + by + n) % n;
      read(...points()[marked]);
    },
  };
}

for (const root of document.querySelectorAll("svg[tabindex]")) {
  const panels = [...root.querySelectorAll(".panel")].map(g => panel(root, g));
  const place = event => {
    const box = root.getBoundingClientRect(), unit = root.viewBox.baseVal.width / box.width;
    return [(event.clientX - box.left) * unit, (event.clientY - box.top) * unit];
  };
  let active = panels[0], held = null;
  const under = at => panels.find(p => p.holds(at));
  root.addEventListener("wheel", event => {
    const at = place(event), hit = under(at);
    if (!hit) return;
    event.preventDefault();
    hit.zoom(Math.exp(-event.deltaY * 0.0015), at);
  }, { passive: false });
  root.addEventListener("pointerdown", event => {
    const at = place(event), hit = under(at);
    if (hit) { active = hit; held = at; root.setPointerCapture(event.pointerId); }
  });
  root.addEventListener("pointermove", event => {
    const at = place(event);
    if (held) { active.move(at[0] - held[0], at[1] - held[1]); held = at; note.style.display = "none"; return; }
    const hit = under(at);
    if (hit) hit.point(at); else note.style.display = "none";
  });
  root.addEventListener("pointerup", () => { held = null; });
  root.addEventListener("pointerleave", () => { if (!held) note.style.display = "none"; });
  root.addEventListener("dblclick", event => under(place(event))?.reset());
  root.addEventListener("keydown", event => {
    const act = {
      "+": () => active.zoom(1.4), "=": () => active.zoom(1.4), "-": () => active.zoom(1 / 1.4),
      "0": () => active.reset(), "ArrowLeft": () => active.move(300, 0), "ArrowRight": () => active.move(-300, 0),
      "ArrowUp": () => active.move(0, 300), "ArrowDown": () => active.move(0, -300),
      "n": () => active.step(1), "p": () => active.step(-1), "Escape": () => { note.style.display = "none"; },
    }[event.key];
    if (act && active && !event.ctrlKey && !event.metaKey) { event.preventDefault(); act(); }
  });
}
