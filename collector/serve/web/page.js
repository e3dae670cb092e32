// The live page. It asks the same questions as any other program, and no other host.
import { draw } from "./map.js";

const KEPT = 7200; // epochs that are kept to scroll in
const PAGE = 600; // epochs that are asked for at once
const TRADES = 2000; // trades that are asked for at once; five times as many are kept

const at = (id) => document.getElementById(id);
const fresh = () => ({ epochs: new Map(), trades: new Map(), gaps: [], grades: new Map(), end: null, first: null, last: 0, whole: false, asked: false });
const view = { ...fresh(), seconds: 300 };
let market = null; // {exchange, symbol}
let listening = null; // AbortController of the stream
let stopped = false; // the collector said so

const key = () => sessionStorage.getItem("key");

async function ask(path, signal) {
  if (at("ask").open) throw new Error("a key is needed"); // asking on would only count as more wrong keys
  const headers = key() ? { "X-API-Key": key() } : {};
  const answer = await fetch(path, { headers, signal });
  if (answer.status === 401) {
    if (!at("ask").open) at("ask").showModal();
    throw new Error("a key is needed");
  }
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).detail ?? `status ${answer.status}`);
  return answer;
}

const json = async (path) => (await ask(path)).json();
const of = (path, query) => {
  const search = new URLSearchParams({ exchange: market.exchange, ...query });
  return `${path}/${encodeURIComponent(market.symbol)}?${search}`;
};

// -- what is shown

function keep(map, added, name, most) {
  for (const one of added) map.set(one[name], one);
  const sorted = [...map.values()].sort((a, b) => a[name] - b[name]).slice(-most);
  map.clear();
  for (const one of sorted) map.set(one[name], one);
}

function remember(row) {
  view.epochs.set(row.epoch, row);
  view.last = Math.max(view.last, row.epoch);
  view.first ??= row.epoch;
  if (view.epochs.size > KEPT) view.epochs.delete(view.epochs.keys().next().value);
}

function status(word, text = word) {
  at("status").className = word;
  at("status").textContent = text;
  document.body.classList.toggle("old", word === "stale" || word === "error");
}

function table(rows) {
  const body = document.createElement("table");
  for (const [name, value] of rows) {
    const row = body.insertRow();
    row.insertCell().textContent = name;
    row.insertCell().textContent = value;
  }
  return body;
}

const said = (words) => words.join(", ").replaceAll("_", " ");
const short = (value, digits = 9) => (typeof value === "number" ? Number(value.toPrecision(digits)).toLocaleString("en", { maximumFractionDigits: 8 }) : value ?? "–");

function showMarket(state) {
  status(state.grade);
  at("price").textContent = state.best_bid === null || state.best_ask === null ? "no book"
    : `${short(state.best_bid)} / ${short(state.best_ask)}${state.valid ? "" : "  not valid"}`;
  at("quality").replaceChildren(table([
    ["reasons", said(state.reasons) || "none"],
    ["down", said(state.down) || "nothing"],
    ["open gaps", said(state.open_gaps) || "none"],
    ["lag p50 / p99", state.lag_p50_ms === null ? "–" : `${short(state.lag_p50_ms, 2)} / ${short(state.lag_p99_ms, 2)} ms`],
  ]));
}

function showProcess(state) {
  at("process").replaceChildren(table([
    ["frames", state.frames.toLocaleString("en")],
    ["journal", state.journal_bytes === null ? "none" : `${(state.journal_bytes / 1e6).toFixed(1)} MB`],
    ["rows wait since", state.backend_lag_s === null ? "–" : `${state.backend_lag_s.toFixed(0)} s`],
    ["REST weight", Object.values(state.rest_weight).map((one) => `${one.used} of ${one.limit}`).join(", ") || "–"],
    ["memory", state.memory_bytes === null ? "–" : `${(state.memory_bytes / 1e6).toFixed(0)} MB`],
  ]));
}

function paint() {
  draw(at("map"), view);
  at("live").hidden = view.end === null;
}

// -- live

async function listen() {
  listening?.abort();
  const mine = (listening = new AbortController());
  while (listening === mine) {
    try {
      const answer = await ask(`stream?symbol=${encodeURIComponent(market.symbol)}`, mine.signal);
      history(null); // what was missed while nobody answered
      await readEvents(answer.body.getReader(), mine);
      if (!mine.signal.aborted) status("error", "the connection was lost; trying again");
    } catch (error) {
      if (mine.signal.aborted) return;
      status("error", error.message.slice(0, 60));
    }
    await new Promise((done) => setTimeout(done, 2000));
  }
}

async function readEvents(reader, mine) {
  const decoder = new TextDecoder();
  let text = "";
  let heard = performance.now();
  const watch = setInterval(() => performance.now() - heard > 6000 && !stopped && status("stale", "the collector stands still"), 1000);
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done || mine.signal.aborted) return;
      text += decoder.decode(value, { stream: true });
      const events = text.split("\n\n");
      text = events.pop();
      for (const event of events) {
        const data = event.split("\n").find((line) => line.startsWith("data: "));
        if (!data) continue;
        heard = performance.now();
        hear(JSON.parse(data.slice(6)));
      }
    }
  } finally {
    clearInterval(watch);
  }
}

function hear(told) {
  const state = told.markets.find((one) => one.exchange === market.exchange && one.symbol === market.symbol);
  if (!state) return;
  stopped = told.stopping;
  showMarket(state);
  if (stopped) status("stale", "the collector has stopped");
  if (state.epoch !== null) {
    // Seconds that were not told here may be stored, with what was wrong with them.
    if (view.last && state.epoch > view.last + 2) setTimeout(() => history(null), 2000);
    remember({ ...state, price: mid(state.best_bid, state.best_ask), step_pct: state.step });
  }
  paint();
}

const mid = (bid, ask) => (bid === null || ask === null ? null : (bid + ask) / 2);

// -- what was stored

async function history(end) {
  if (view.asked) return;
  view.asked = true;
  const asked = market;
  const query = end === null ? { limit: PAGE } : { limit: PAGE, end_time: end };
  try {
    const rows = (await json(of("depth", query))).data;
    const quality = await json(of("tables/quality", query)).catch(() => ({ data: [] }));
    if (asked !== market) return;
    for (const row of quality.data) view.grades.set(row.epoch, row.grade);
    const heard = [...view.epochs.values()].filter((row) => row.grade !== undefined);
    keep(view.epochs, [...rows, ...heard], "epoch", KEPT);
    view.whole ||= end !== null && rows.length === 0;
    if (view.epochs.size) [view.first, view.last] = [Math.min(...view.epochs.keys()), Math.max(...view.epochs.keys())];
    paint();
  } catch (error) {
    if (end === null && !view.epochs.size) status("none", error.message.slice(0, 60));
  } finally {
    view.asked = false;
  }
}

let waiting = null;
function tradesOf(end) {
  clearTimeout(waiting);
  waiting = setTimeout(async () => {
    const found = await json(of("trades", { limit: TRADES, end_time: Math.ceil(end) })).catch(() => ({ data: [] }));
    keep(view.trades, found.data, "agg_trade_id", 5 * TRADES);
    paint();
  }, 300);
}

async function poll() {
  const asked = market;
  const since = Math.floor(Math.min(view.first ?? Infinity, Date.now() / 1000 - 86400));
  const [trades, gaps, features, bars, state] = await Promise.all(
    [of("trades", { limit: 400 }), `gaps?symbol=${encodeURIComponent(market.symbol)}&exchange=${market.exchange}&limit=200&start_time=${since}`,
      "latest/features", "latest/bars", "state"].map((path) => json(path).catch(() => null)));
  if (asked !== market) return;
  if (trades) keep(view.trades, trades.data, "agg_trade_id", 5 * TRADES);
  if (gaps) {
    view.gaps = gaps.filter((gap) => !gap.healed);
    at("gaps").replaceChildren(gaps.length ? table(gaps.slice(-6).reverse().map((gap) =>
      [said([`${gap.stream} ${gap.reason}`]), gap.to_ns === null ? "open" : gap.healed ? "healed" : `${((gap.to_ns - gap.from_ns) / 1e9).toFixed(1)} s`])) : "none");
  }
  const mine = (rows) => (rows ?? []).filter((row) => row.exchange === market.exchange && row.symbol === market.symbol);
  const [feature] = mine(features);
  if (feature) at("features").replaceChildren(table(Object.entries(feature)
    .filter(([name]) => !["exchange", "symbol", "feature_set", "epoch", "valid", "num_features"].includes(name)).sort(([, one], [, other]) => (one === null) - (other === null)).map(([name, value]) => [name, short(value, 6)])));
  const found = mine(bars);
  if (found.length) at("bars").replaceChildren(table(found.map((bar) => [bar.interval, `${short(bar.close)}  Δ ${short(bar.delta)}`])));
  if (state) showProcess(state);
  paint();
}

// -- hands

async function choose(chosen) {
  market = chosen;
  location.hash = `${market.exchange}/${market.symbol}`;
  Object.assign(view, fresh());
  for (const id of ["features", "bars"]) at(id).textContent = "none stored";
  listen();
  await history(null);
  await poll();
}

function move(seconds) {
  const live = view.last;
  const end = Math.min(live, (view.end ?? live) + seconds);
  view.end = end >= live ? null : end;
  if (view.first !== null && !view.whole && end - view.seconds < view.first + 60) history(view.first);
  if (view.end !== null) tradesOf(view.end);
  paint();
}

function hands(canvas) {
  let from = null;
  const perPixel = () => view.seconds / canvas.clientWidth;
  canvas.addEventListener("pointerdown", (event) => { from = event.clientX; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointerup", () => { from = null; });
  canvas.addEventListener("pointermove", (event) => {
    if (from === null) return;
    move((from - event.clientX) * perPixel());
    from = event.clientX;
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (event.ctrlKey || event.shiftKey) view.seconds = Math.min(3600, Math.max(60, view.seconds * (event.deltaY > 0 ? 1.2 : 1 / 1.2)));
    else move((Math.abs(event.deltaX) > Math.abs(event.deltaY) ? event.deltaX : event.deltaY) * perPixel());
    paint();
  }, { passive: false });
  at("live").addEventListener("click", () => { view.end = null; paint(); });
  addEventListener("resize", paint);
}

async function markets() {
  const [stored, state] = await Promise.all([json("symbols").catch(() => []), json("state").catch(() => null)]);
  const found = new Map([...(state?.markets ?? []), ...stored].map((one) => [`${one.exchange} ${one.symbol}`, one]));
  return [...found.values()].map(({ exchange, symbol }) => ({ exchange, symbol }));
}

async function start() {
  hands(at("map"));
  paint();
  at("ask").addEventListener("close", () => { sessionStorage.setItem("key", at("key").value); location.reload(); });
  for (;;) {
    const found = await markets();
    if (found.length) {
      at("market").replaceChildren(...found.map(({ exchange, symbol }, number) => new Option(`${symbol} ${exchange}`, number)));
      at("market").addEventListener("change", (event) => choose(found[event.target.value]));
      const named = found.findIndex(({ exchange, symbol }) => `#${exchange}/${symbol}` === location.hash);
      at("market").value = Math.max(0, named);
      at("market").hidden = false;
      await choose(found[Math.max(0, named)]);
      break;
    }
    if (!at("ask").open) status("none", "nothing is collected yet");
    await new Promise((done) => setTimeout(done, 2000));
  }
  setInterval(() => poll().catch(() => {}), 3000);
}

start();
