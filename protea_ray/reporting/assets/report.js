"use strict";
// The page's own script: reads the packed data, embeds the charts, and makes the map answer.
(() => {
  const KINDS = { float32: Float32Array, int32: Int32Array, uint16: Uint16Array };
  const elements = new Map([...document.querySelectorAll("script[data-name]")].map((e) => [e.dataset.name, e]));

  async function read(name) {
    const element = elements.get(name);
    if (!element) return null;
    const packed = Uint8Array.from(atob(element.textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const buffer = await new Response(stream).arrayBuffer();
    const kind = element.dataset.kind;
    return kind === "json" ? JSON.parse(new TextDecoder().decode(buffer)) : new KINDS[kind](buffer);
  }

  // ---- light and dark -------------------------------------------------------------------------------------------
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const dark = () => {
    const chosen = root.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };

  function paint() {
    const style = getComputedStyle(root);
    const [ink, line] = ["--ink", "--line"].map((name) => style.getPropertyValue(name).trim());
    button.textContent = dark() ? "Light" : "Dark";
    button.setAttribute("aria-pressed", String(dark()));
    for (const doc of window.Bokeh ? Bokeh.documents : []) {
      for (const plot of doc.roots()) {
        for (const axis of [...plot.below, ...plot.left]) {
          axis.setv({ major_label_text_color: ink, axis_label_text_color: ink, axis_line_color: line, major_tick_line_color: line });
        }
        for (const legend of plot.above) if ("label_text_color" in legend) legend.label_text_color = ink;
        for (const grid of plot.center) if ("grid_line_color" in grid) grid.grid_line_color = line;
        const dots = plot.renderers.find((r) => r.name === "map-dots");
        const rings = plot.renderers.find((r) => r.name === "map-rings");
        if (dots) dots.selection_glyph.line_color = ink;
        if (rings) rings.glyph.line_color = ink;
      }
    }
  }
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    paint();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);

  // ---- the map --------------------------------------------------------------------------------------------------
  // from blue to ochre, each with a contrast of 3 to both backgrounds: the ends of the usual scales vanish in one of them
  const SCALE = ["#2a7fd4", "#6a76d8", "#9a66cc", "#c4569f", "#d6546c", "#d06a2c", "#a88000"];
  const STEPS = 256;
  const UNKNOWN = "#6c6c6c";
  const format = (value, whole) => value.toLocaleString("en", { maximumFractionDigits: whole ? 0 : 3 });
  const $ = (id) => document.getElementById(id);

  const ramp = Array.from({ length: STEPS }, (_, step) => {
    const place = (step / (STEPS - 1)) * (SCALE.length - 1);
    const low = Math.min(Math.floor(place), SCALE.length - 2);
    const channel = (text, at) => parseInt(text.slice(at, at + 2), 16);
    const mix = [1, 3, 5].map((at) => Math.round(channel(SCALE[low], at) + (place - low) * (channel(SCALE[low + 1], at) - channel(SCALE[low], at))));
    return "#" + mix.map((v) => v.toString(16).padStart(2, "0")).join("");
  });

  function coloured(column, values) {
    const colours = new Array(values.length), texts = new Array(values.length);
    if (column.classes) {
      for (let i = 0; i < values.length; i++) {
        colours[i] = column.colours[values[i]];
        texts[i] = column.name + ": " + column.classes[values[i]];
      }
      return [colours, texts];
    }
    const bend = column.log ? Math.log : (v) => v;
    const low = bend(column.low), span = bend(column.high) - low || 1;
    for (let i = 0; i < values.length; i++) {
      const value = values[i], known = Number.isFinite(value);
      colours[i] = known ? ramp[Math.max(0, Math.min(STEPS - 1, Math.round(((bend(value) - low) / span) * (STEPS - 1))))] : UNKNOWN;
      texts[i] = column.name + ": " + (known ? format(value, column.whole) : "no value");
    }
    return [colours, texts];
  }

  function legend(column) {
    const list = $("map-legend");
    list.replaceChildren();
    const item = (...parts) => {
      const line = document.createElement("li");
      line.append(...parts);
      list.append(line);
    };
    const swatch = (colour) => {
      const dot = document.createElement("span");
      dot.className = "swatch";
      dot.style.background = colour;
      return dot;
    };
    if (column.classes) {
      column.classes.forEach((name, i) => item(swatch(column.colours[i]), `${name} (${format(column.counts[i], true)})`));
      return;
    }
    const bar = document.createElement("span");
    bar.className = "scale";
    bar.style.background = `linear-gradient(to right, ${SCALE.join(", ")})`;
    item(`${column.name}: ${format(column.low, column.whole)}`, bar, format(column.high, column.whole) + (column.log ? ", logarithmic" : ""));
    if (column.unknown) item(swatch(UNKNOWN), `no value (${format(column.unknown, true)})`);
  }

  async function startMap() {
    const about = await read("map");
    const [x, y, ids, descriptions, near] = await Promise.all(["map-x", "map-y", "map-ids", "map-descriptions", "map-near"].map(read));
    const [neighbours, cosines] = await Promise.all(["map-neighbours", "map-cosines"].map(read));
    const lengths = await read("map-column-" + about.columns.findIndex((c) => c.name === "length"));
    const plot = Bokeh.documents.flatMap((d) => d.roots()).find((r) => r.name === "map");
    const points = plot.renderers.find((r) => r.name === "map-dots").data_source;
    const rings = plot.renderers.find((r) => r.name === "map-rings").data_source;
    const start = { x: [plot.x_range.start, plot.x_range.end], y: [plot.y_range.start, plot.y_range.end] };
    const visited = [];

    async function colour(number) {
      const column = about.columns[number];
      const [colours, texts] = coloured(column, await read("map-column-" + number));
      points.data = { x, y, id: ids, description: descriptions, length: lengths, value: texts, colour: colours };
      legend(column);
      document.body.dataset.mapColour = column.name;
    }

    function show(point, remember = true) {
      if (remember && visited.at(-1) !== point) visited.push(point);
      $("neighbours").hidden = false;
      $("neighbours-back").disabled = visited.length < 2;
      $("neighbours-title").textContent = ids[point];
      $("neighbours-about").textContent = `${format(lengths[point], true)} residues. ${descriptions[point]}`;
      const rows = $("neighbours-rows");
      rows.replaceChildren();
      const found = [];
      for (let rank = 0; near && rank < near.k; rank++) {
        const other = neighbours[point * near.k + rank];
        if (other < 0) continue;
        found.push(other);
        const row = document.createElement("tr");
        const cell = (content, right) => {
          const made = document.createElement("td");
          if (right) made.className = "n";
          made.append(content);
          row.append(made);
        };
        const go = document.createElement("button");
        go.type = "button";
        go.className = "link";
        go.textContent = ids[other];
        go.addEventListener("click", () => show(other));
        cell(String(rank + 1), true);
        cell(go);
        cell(((cosines[point * near.k + rank] / 65535) * 2 - 1).toFixed(4), true);
        cell(format(lengths[other], true), true);
        cell(descriptions[other]);
        rows.append(row);
      }
      $("neighbours-note").textContent = !near ? "Neighbours were not computed." : near.recall < 1
        ? `The nearest by cosine of the whole vectors, found in lists: ${(near.recall * 100).toFixed(1)} % of the true ones, measured on a sample.`
        : "The nearest by cosine of the whole vectors, among the points of this map.";
      const marked = [point, ...found];
      rings.data = { x: marked.map((i) => x[i]), y: marked.map((i) => y[i]), kind: marked.map((i) => i) };
      document.body.dataset.mapShown = String(point);
    }

    function centre(point) {
      const width = (start.x[1] - start.x[0]) / 3, height = (start.y[1] - start.y[0]) / 3;
      plot.x_range.setv({ start: x[point] - width / 2, end: x[point] + width / 2 });
      plot.y_range.setv({ start: y[point] - height / 2, end: y[point] + height / 2 });
    }

    function find(text) {
      const wanted = text.trim().toLowerCase();
      if (!wanted) return [];
      const exact = ids.findIndex((id) => id.toLowerCase() === wanted);
      if (exact >= 0) return [exact, 1];
      const matches = ids.reduce((all, id, i) => (id.toLowerCase().includes(wanted) ? [...all.slice(0, 999), i] : all), []);
      return [matches[0], matches.length];
    }

    $("map-search").addEventListener("submit", (event) => {
      event.preventDefault();
      const [point, count] = find($("map-query").value);
      if (point === undefined) {
        $("map-found").textContent = `No protein on this map has an id like ${$("map-query").value.trim()}.`;
        return;
      }
      $("map-found").textContent = count > 1 ? `${ids[point]}, the first of ${count >= 1000 ? "1,000 or more" : count} ids that hold these letters.` : `${ids[point]} found.`;
      centre(point);
      show(point);
      $("neighbours-title").focus();
    });
    $("neighbours-back").addEventListener("click", () => {
      visited.pop();
      show(visited.at(-1), false);
    });
    $("map-colour").addEventListener("change", (event) => colour(Number(event.target.value)));
    points.selected.change.connect(() => {
      const chosen = points.selected.indices;
      if (chosen.length) show(chosen[0]);
    });

    $("map-colour").value = String(about.first);
    await colour(about.first);
    if (matchMedia("(pointer: coarse)").matches) plot.toolbar.gestures.pan.active = null; // a finger scrolls the page
    window.protea = { points: ids.length, plot, centre, show };
  }

  async function start() {
    paint();
    const charts = (await read("charts")) || {};
    for (const [name, item] of Object.entries(charts)) await Bokeh.embed.embed_item(item, "chart-" + name);
    if (charts.map) await startMap();
    paint();
    document.body.dataset.ready = "true";
  }
  start().catch((error) => {
    document.body.dataset.ready = "failed";
    console.error(error);
    const note = document.createElement("p");
    note.className = "note";
    note.textContent = `The pictures could not be drawn here (${error.message}); every table is below.`;
    document.getElementById("main").prepend(note);
  });
})();
