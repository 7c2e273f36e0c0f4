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
    const picture = await createImageBitmap(new Blob([found.data], { type: "image/png" }), {
      colorSpaceConversion: "none", premultiplyAlpha: "none",
    });
    const canvas = new OffscreenCanvas(EDGE, EDGE);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(picture, 0, 0);
    const pixels = context.getImageData(0, 0, EDGE, EDGE).data;
    return Uint8Array.from({ length: EDGE * EDGE }, (_, at) => pixels[4 * at]);
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
    const made = new maplibregl.Map({
      container, style: style(), attributionControl: false, maxZoom: config.zoom + 3, fadeDuration: 0,
      dragRotate: false, pitchWithRotate: false, touchPitch: false, ...more,
    });
    made.on("error", ({ error }) => fail(`A part of the map cannot be read: ${error.message}`));
    return made;
  }
  const map = makeMap("map", camera ?? { bounds: config.bounds, fitBoundsOptions: { padding: 20 } });
  map.touchZoomRotate.disableRotation();
  map.keyboard.disableRotation();
  map.addControl(new maplibregl.NavigationControl({ showCompass: false }), "top-left");
  map.addControl(new maplibregl.ScaleControl(), "bottom-left");
  let other = null;

  function show(which, year) {
    const layer = layers.get(state.layer);
    const name = layer.files[year];
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
    find("year-shown").textContent = layer.files[state.year] ? state.year : `${state.year}: not mapped`;
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
    const on = state.swipe !== "";
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
    whenReady(other, () => { other.ready = true; if (state.swipe) show(other, state.swipe); });
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
  let asked = 0;
  async function inspect(place) {
    const turn = ++asked;
    const rows = await Promise.all(config.years.map(async (year) => [year, ...await Promise.all(
      config.layers.map(async (layer) => layer.files[year]
        ? words(layer, await valueAt(layer.files[year], place)) : "not mapped"),
    )]));
    if (turn !== asked) return;
    const where = `${place.lat.toFixed(4)}°, ${place.lng.toFixed(4)}°`;
    find("pixel").replaceChildren(makeTable(`At ${where}`, ["Year", ...config.layers.map((each) => each.title)], rows));
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
      row.append(make("th", name, { scope: "row" }), ...cells.map((text) => make("td", text)));
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
  const change = (name, value) => { state[name] = value; showAll(); };
  find("layer").addEventListener("change", ({ target }) => change("layer", target.value));
  find("year").addEventListener("input", ({ target }) => change("year", config.years[target.value]));
  find("opacity").addEventListener("input", ({ target }) => change("opacity", Number(target.value)));
  find("swipe").addEventListener("change", ({ target }) => change("swipe", target.checked ? anotherYear() : ""));
  find("other-year").addEventListener("change", ({ target }) => change("swipe", target.value));
  find("split").addEventListener("input", ({ target }) => change("split", Number(target.value)));
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
  showAll();
})();
