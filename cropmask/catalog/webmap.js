"use strict";
/* The page of a map: what is shown is in the address, what a pixel is comes from the tiles. */
(() => {
  const EDGE = 512;
  const MOST_TILES = 96; // decoded, in memory
  const config = JSON.parse(document.getElementById("config").textContent);
  const find = (id) => document.getElementById(id);
  const make = (name, text, more = {}) =>
    Object.assign(document.createElement(name), { textContent: text ?? "" }, more);
  const layers = new Map(config.layers.map((layer) => [layer.name, layer]));

  // Archives: read in spans from beside the page, or whole from within it.
  class Fetched {
    constructor(url) { this.url = url; }
    getKey() { return this.url; }
    async getBytes(offset, length, signal) {
      if (!this.whole) {
        const range = `bytes=${offset}-${offset + length - 1}`;
        // In the browser's cache spans of one file would wait for each other.
        const answer = await fetch(this.url, { headers: { range }, cache: "no-store", signal });
        if (!answer.ok) throw new Error(`${this.url}: ${answer.status} ${answer.statusText}`);
        const data = await answer.arrayBuffer();
        if (answer.status === 206) return { data };
        this.whole = data; // of a server that knows no spans
      }
      return { data: this.whole.slice(offset, offset + length) };
    }
  }
  class Inlined {
    constructor(name, element) {
      this.name = name;
      const text = atob(element.textContent);
      this.bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
    }
    getKey() { return this.name; }
    async getBytes(offset, length) {
      return { data: this.bytes.slice(offset, offset + length).buffer };
    }
  }
  const archives = new Map();
  function open(name) {
    if (!archives.has(name)) {
      const element = find(`archive-${name}`);
      const source = element ? new Inlined(name, element) : new Fetched(new URL(name, location.href).href);
      archives.set(name, new pmtiles.PMTiles(source));
    }
    return archives.get(name);
  }

  const decoded = new Map();
  function readTile(name, z, x, y) {
    const key = `${name}/${z}/${x}/${y}`;
    if (!decoded.has(key)) {
      const reading = decode(name, z, x, y);
      decoded.set(key, reading);
      reading.catch(() => decoded.delete(key));
      if (decoded.size > MOST_TILES) decoded.delete(decoded.keys().next().value);
    }
    return decoded.get(key);
  }
  async function decode(name, z, x, y) {
    const found = await open(name).getZxy(z, x, y);
    if (!found) return null;
    return decodeGray(new Uint8Array(found.data));
  }
  // Values of a gray PNG, of one or two bytes. Not by a canvas: browsers that guard against being
  // recognized mix noise into what a page reads of one.
  async function decodeGray(file) {
    const view = new DataView(file.buffer, file.byteOffset);
    const parts = [];
    for (let at = 8; at < file.length; at += 12 + view.getUint32(at)) {
      const isData = view.getUint32(at + 4) === 0x49444154; // IDAT
      if (isData) parts.push(file.subarray(at + 8, at + 8 + view.getUint32(at)));
    }
    const inflated = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate"));
    const lines = new Uint8Array(await new Response(inflated).arrayBuffer());
    const size = file[24] / 8; // bytes of a value
    const length = EDGE * size;
    const values = new Uint16Array(EDGE * EDGE);
    let above = new Uint8Array(length);
    for (let y = 0; y < EDGE; y++) {
      const start = y * (length + 1);
      const row = lines.subarray(start + 1, start + 1 + length);
      unfilter(lines[start], row, above, size);
      for (let x = 0; x < EDGE; x++) {
        values[y * EDGE + x] = size === 1 ? row[x] : (row[2 * x] << 8) | row[2 * x + 1];
      }
      above = row;
    }
    return values;
  }
  function unfilter(filter, row, above, size) {
    for (let x = 0; x < row.length; x++) {
      const left = x < size ? 0 : row[x - size];
      const up = above[x];
      if (filter === 1) row[x] += left;
      else if (filter === 2) row[x] += up;
      else if (filter === 3) row[x] += (left + up) >> 1;
      else if (filter === 4) row[x] += nearest(left, up, x < size ? 0 : above[x - size]);
    }
  }
  function nearest(left, up, corner) { // Paeth's choice
    const fromLeft = Math.abs(up - corner);
    const fromUp = Math.abs(left - corner);
    const fromCorner = Math.abs(left + up - 2 * corner);
    if (fromLeft <= fromUp && fromLeft <= fromCorner) return left;
    return fromUp <= fromCorner ? up : corner;
  }

  function paint(values, palette) {
    const colors = new Uint32Array(256); // little-endian RGBA, as every browser's machine is
    for (const [value, [red, green, blue, alpha]] of Object.entries(palette)) {
      colors[value] = ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;
    }
    const picture = new ImageData(EDGE, EDGE);
    const pixels = new Uint32Array(picture.data.buffer);
    if (values) values.forEach((value, at) => { pixels[at] = colors[value]; });
    return createImageBitmap(picture);
  }
  maplibregl.addProtocol("values", async ({ url }) => {
    const [layer, name, z, x, y] = url.replace("values://", "").split("/");
    const values = await readTile(name, Number(z), Number(x), Number(y));
    return { data: await paint(values, layers.get(layer).palette) };
  });

  // What is shown, in the part of the address behind the #.
  const state = { layer: config.layers[0].name, year: config.years.at(-1), opacity: 90, swipe: "", split: 50 };
  let camera = null;
  function readAddress() {
    const said = new URLSearchParams(location.hash.slice(1));
    if (layers.has(said.get("layer"))) state.layer = said.get("layer");
    if (config.years.includes(said.get("year"))) state.year = said.get("year");
    state.swipe = config.years.includes(said.get("swipe")) ? said.get("swipe") : "";
    for (const name of ["opacity", "split"]) {
      const number = Number(said.get(name) ?? state[name]);
      if (number >= 0 && number <= 100) state[name] = number;
    }
    const [zoom, latitude, longitude] = (said.get("map") ?? "").split("/").map(Number);
    const isPlace = Math.abs(latitude) <= 85 && Math.abs(longitude) <= 180 && zoom >= 0 && zoom <= 22;
    camera = isPlace ? { zoom, center: [longitude, latitude] } : null;
  }
  function writeAddress() {
    const { lat, lng } = map.getCenter();
    const place = `${map.getZoom().toFixed(2)}/${lat.toFixed(5)}/${lng.toFixed(5)}`;
    const words = [`map=${place}`, ...Object.entries(state).filter(([, value]) => value !== "")
      .map(([name, value]) => `${name}=${encodeURIComponent(value)}`)];
    history.replaceState(null, "", `#${words.join("&")}`);
  }

  function fail(text) {
    find("problem").textContent = text;
    find("problem").hidden = false;
  }
  readAddress();
  // Before the map is made: they say how much room it has.
  document.title = find("title").textContent = config.title;
  find("synthetic").hidden = !config.synthetic;
  find("credit").textContent = `${config.credit} · drawn with MapLibre`;
  const style = () => ({
    version: 8,
    sources: { outline: { type: "geojson", data: config.outline } },
    layers: [
      { id: "ground", type: "background", paint: { "background-color": "#dfe4e8" } },
      { id: "outline", type: "line", source: "outline", paint: { "line-color": "#5b6670", "line-width": 1 } },
    ],
  });
  function makeMap(container, more) {
    let made;
    try {
      made = new maplibregl.Map({
        container, style: style(), attributionControl: false, maxZoom: config.zoom + 3, fadeDuration: 0,
        dragRotate: false, pitchWithRotate: false, touchPitch: false, ...more,
      });
    } catch (error) {
      fail("This browser draws no maps: WebGL is missing or switched off.");
      throw error;
    }
    made.on("error", ({ error }) => fail(`A part of the map cannot be read: ${error.message}`));
    return made;
  }
  const map = makeMap("map", camera ?? { bounds: config.bounds, fitBoundsOptions: { padding: 20 } });
  map.touchZoomRotate.disableRotation();
  map.keyboard.disableRotation();
  map.addControl(new maplibregl.NavigationControl({ showCompass: false }), "top-left");
  map.addControl(new maplibregl.ScaleControl(), "bottom-left");
  let other = null;

  // A layer of several years together has one file, any other one a year.
  const fileOf = (layer, year) => (layer.span ? layer.file : layer.files[year]);
  const isComparing = () => state.swipe !== "" && !layers.get(state.layer).span;
  function show(which, year) {
    const layer = layers.get(state.layer);
    const name = fileOf(layer, year);
    const url = name && `values://${layer.name}/${name}/{z}/{x}/{y}`;
    if (which.shown === url && which.getLayer("values")) {
      which.setPaintProperty("values", "raster-opacity", state.opacity / 100);
      return;
    }
    which.shown = url;
    if (which.getLayer("values")) { which.removeLayer("values"); which.removeSource("values"); }
    if (!url) return;
    which.addSource("values", {
      type: "raster", tiles: [url], tileSize: EDGE, minzoom: 0, maxzoom: config.zoom, bounds: config.bounds,
    });
    which.addLayer({
      id: "values", type: "raster", source: "values",
      paint: { "raster-opacity": state.opacity / 100, "raster-resampling": "nearest", "raster-fade-duration": 0 },
    }, "outline");
  }
  const whenReady = (which, act) => (which.isStyleLoaded() || which.ready ? act() : which.once("load", act));

  function showAll() {
    const layer = layers.get(state.layer);
    whenReady(map, () => { map.ready = true; show(map, state.year); });
    find("layer").value = state.layer;
    find("year").value = config.years.indexOf(state.year);
    find("year").setAttribute("aria-valuetext", state.year);
    find("year").disabled = find("swipe").disabled = Boolean(layer.span);
    find("year-shown").textContent = layer.span ? `${layer.span}, all years together`
      : layer.files[state.year] ? state.year : `${state.year}: not mapped`;
    find("opacity").value = state.opacity;
    find("opacity-shown").textContent = `${state.opacity} %`;
    find("about").textContent = layer.description;
    find("legend").replaceChildren(...layer.legend.map(({ color, text }) => {
      const line = make("li");
      const swatch = make("i");
      swatch.style.background = color;
      line.append(swatch, make("span", text));
      return line;
    }));
    showDistricts();
    compare();
    writeAddress();
  }

  function compare() {
    const on = isComparing();
    find("swipe").checked = on;
    find("comparing").hidden = !on;
    find("split-line").hidden = !on;
    find("other").classList.toggle("on", on);
    if (!on) return;
    find("other-year").value = state.swipe;
    find("split").value = state.split;
    find("other").style.clipPath = `inset(0 0 0 ${state.split}%)`;
    find("split-line").style.left = `${state.split}%`;
    if (!other) {
      other = makeMap("other", { interactive: false, center: map.getCenter(), zoom: map.getZoom() });
      map.on("move", () => other.jumpTo({ center: map.getCenter(), zoom: map.getZoom() }));
      find("other").querySelector("canvas").tabIndex = -1;
    }
    whenReady(other, () => { other.ready = true; if (isComparing()) show(other, state.swipe); });
  }

  // Values of a pixel in every layer and year, as a table that is read aloud.
  const words = (layer, value) => {
    if (value === undefined || value === 255) return "no data";
    return layer.values[value] ?? `${value}${layer.unit === "percent" ? " %" : ""}`;
  };
  async function valueAt(name, { lng, lat }) {
    const turns = 2 ** config.zoom;
    const across = ((lng + 180) / 360) * turns;
    const down = ((1 - Math.asinh(Math.tan((lat * Math.PI) / 180)) / Math.PI) / 2) * turns;
    const [x, y] = [Math.floor(across), Math.floor(down)];
    if (x < 0 || y < 0 || x >= turns || y >= turns) return undefined;
    const values = await readTile(name, config.zoom, x, y);
    return values?.[Math.floor((down - y) * EDGE) * EDGE + Math.floor((across - x) * EDGE)];
  }
  const yearly = config.layers.filter((layer) => !layer.span);
  const change = config.layers.find((layer) => layer.span);
  const formatPlace = ({ lng, lat }) => {
    const [north, east] = [lat < 0 ? "S" : "N", lng < 0 ? "W" : "E"];
    return `${Math.abs(lat).toFixed(4)}° ${north}, ${Math.abs(lng).toFixed(4)}° ${east}`;
  };
  let asked = 0;
  async function inspect(place) {
    const turn = ++asked;
    const given = change && await inspectChange(place);
    const years = [...new Set([...config.years, ...(change?.years ?? [])])].sort();
    const rows = await Promise.all(years.map(async (year) => [year, ...await Promise.all(
      yearly.map(async (layer) => layer.files[year]
        ? words(layer, await valueAt(layer.files[year], place)) : "not mapped"),
    ), ...(given ? [given.states.get(year) ?? ""] : [])]));
    if (turn !== asked) return;
    const heads = ["Year", ...yearly.map((each) => each.title), ...(given ? ["Given all years"] : [])];
    const tables = [makeTable(`At ${formatPlace(place)}`, heads, rows)];
    if (given) tables.push(makeTable(`Change, ${change.span}`, ["Class", "Last change", "Flickers"], [given.facts]));
    find("pixel").replaceChildren(...tables);
  }
  // State of a pixel in each year of a series, and what became of it.
  const NO_HISTORY = 65535;
  async function inspectChange(place) {
    const names = [change.file, change.history, change.flickers];
    const [kind, bits, flickers] = await Promise.all(names.map((name) => valueAt(name, place)));
    if (bits === undefined || bits === NO_HISTORY) {
      return { states: new Map(change.years.map((year) => [year, "no data"])), facts: ["no data", "", ""] };
    }
    const states = change.years.map((year, at) => [year, (bits >> at) & 1 ? "Cropland" : "Not cropland"]);
    const turn = states.findLast(([, is], at) => at > 0 && is !== states[at - 1][1]);
    return { states: new Map(states), facts: [words(change, kind), turn?.[0] ?? "none", String(flickers)] };
  }
  const tryInspect = (place) => inspect(place.wrap()).catch((error) => fail(`The values cannot be read: ${error.message}`));

  function makeTable(caption, heads, rows) {
    const table = make("table");
    table.append(make("caption", caption));
    const head = make("tr");
    head.append(...heads.map((text) => make("th", text, { scope: "col" })));
    table.append(make("thead"), make("tbody"));
    table.tHead.append(head);
    for (const [name, ...cells] of rows) {
      const row = make("tr");
      const start = make("th", "", { scope: "row" });
      // On a phone a season such as 2019/20 goes on below its first year.
      start.append(...name.split(/(?<=\/)/).flatMap((part, at) => (at ? [make("wbr"), part] : [part])));
      row.append(start, ...cells.map((text) => make("td", text)));
      table.tBodies[0].append(row);
    }
    return table;
  }
  const hectares = (number) => (number === null || number === undefined ? "too few points" : Math.round(number).toLocaleString("en"));
  function showDistricts() {
    const report = config.reports.find((each) => each.year === state.year) ?? config.reports[0];
    find("districts").hidden = !report;
    if (!report) return;
    const level = `${Math.round(report.level * 100)} %`;
    find("districts-about").textContent =
      `Cropland of ${report.year}, estimated from labeled points with its ${level} interval; not a count of pixels.`;
    const table = makeTable("Hectares", ["District", "Cropland", "from", "to"],
      report.districts.map(({ name, estimate, low, high }) => [name, hectares(estimate),
        estimate === null ? "" : hectares(low), estimate === null ? "" : hectares(high)]));
    table.id = "districts-table";
    find("districts-table").replaceWith(table);
  }
  function showChange() {
    const found = config.change;
    find("changes").hidden = !found && !change;
    find("changes-about").textContent = found
      ? `From ${found.since} to ${found.year}, estimated from points labeled in both years with its `
        + `${Math.round(found.level * 100)} % interval; not a count of flags.`
      : "The layer has flags and no areas: some change is missed, and some flags are wrong. An area of "
        + "change, with its interval, comes from a sample: 'cropmask area --change'.";
    find("changes-wide").hidden = !found;
    if (!found) return;
    find("changes-wide").append(makeTable("Hectares", ["Change", "Area", "from", "to"], found.areas.map(
      ({ name, estimate, low, high }) => [name, hectares(estimate), hectares(low), hectares(high)],
    )));
  }

  async function share() {
    writeAddress();
    try {
      await navigator.clipboard.writeText(location.href);
      find("shared").textContent = "Copied.";
    } catch {
      find("shared").textContent = `The link: ${location.href}`;
    }
  }

  // The controls.
  for (const { name, title } of config.layers) find("layer").append(make("option", title, { value: name }));
  for (const year of config.years) find("other-year").append(make("option", year, { value: year }));
  find("year").max = config.years.length - 1;
  const anotherYear = () => config.years.find((year) => year !== state.year) ?? state.year;
  const set = (name, value) => { state[name] = value; showAll(); };
  find("layer").addEventListener("change", ({ target }) => set("layer", target.value));
  find("year").addEventListener("input", ({ target }) => set("year", config.years[target.value]));
  find("opacity").addEventListener("input", ({ target }) => set("opacity", Number(target.value)));
  find("swipe").addEventListener("change", ({ target }) => set("swipe", target.checked ? anotherYear() : ""));
  find("other-year").addEventListener("change", ({ target }) => set("swipe", target.value));
  find("split").addEventListener("input", ({ target }) => set("split", Number(target.value)));
  find("share").addEventListener("click", share);
  find("inspect").addEventListener("click", () => tryInspect(map.getCenter()));
  map.on("click", ({ lngLat }) => tryInspect(lngLat));
  map.getCanvas().addEventListener("keydown", ({ key }) => { if (key === "Enter") tryInspect(map.getCenter()); });
  map.on("moveend", writeAddress);
  map.on("idle", () => { document.body.dataset.idle = String(Math.round(performance.now())); });
  addEventListener("hashchange", () => {
    readAddress();
    if (camera) map.jumpTo(camera);
    showAll();
  });
  if (location.protocol === "file:" && !document.querySelector("[id^='archive-']")) {
    if (config.offline) location.replace(`${config.offline}${location.hash}`);
    else fail("Browsers read no tiles from a disk: open this folder through a server, such as 'cropmask browse'.");
  }
  showChange();
  showAll();
})();
