// The live page. It asks the same questions as any other program, and no other host.
import { draw } from "./map.js";
import { Refused, clear, failure, graded, tell, trouble } from "./trouble.js";

const KEPT = 7200; // epochs that are kept to scroll in
const PAGE = 600; // epochs that are asked for at once
const TRADES = 2000; // trades that are asked for at once; five times as many are kept
const AGAIN_MS = 2000; // between two tries to reach the server
const LOCKED_MS = 10000; // the same while it wants a key: each try counts as a wrong one
const SILENT_MS = 15000; // a server that lives says something every five seconds
const STALE_MS = 6000; // a collector that lives says something every second

const at = (id) => document.getElementById(id);
const fresh = () => ({ epochs: new Map(), trades: new Map(), gaps: [], grades: new Map(), end: null, first: null, last: 0, whole: false, asked: false, known: false, missing: undefined });
const view = { ...fresh(), seconds: 300 };
let market = null; // {exchange, symbol}
let listening = null; // AbortController of the stream
let told = null; // the last word of the collector: when it was said, as performance.now(), and whether it was the last
let locked = false; // the server wants a key
let quietUntil = 0; // it wants no questions until then

const key = () => sessionStorage.getItem("key");
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

async function ask(path, { signal, knocking = false } = {}) {
  if (locked && !knocking) throw new Refused(401, "a key is needed"); // asking on would only count as more wrong keys
  const wait = quietUntil - performance.now();
  if (wait > 0) throw new Refused(429, "too many requests", wait / 1000);
  const headers = key() ? { "X-API-Key": key() } : {};
  const answer = await fetch(path, { headers, signal }).catch((error) => { throw error.name === "AbortError" ? error : new Refused(null, error.message); });
  if (answer.ok) return answer;
  const { detail } = await answer.json().catch(() => ({}));
  const refused = new Refused(answer.status, typeof detail === "string" ? detail : `status ${answer.status}`, Number(answer.headers.get("Retry-After") ?? 0));
  if (refused.status === 429) quietUntil = performance.now() + 1000 * Math.min(60, refused.wait_s || 1);
  if (refused.status === 401) lock();
  throw refused;
}

function lock() {
  if (!locked) at("ask").showModal();
  locked = true;
  at("why").textContent = key() ? "The server does not accept this key. It may have been replaced." : "The server answers only those who have a key.";
  tell("key", { level: "error", word: "locked", title: "A key is needed.", text: at("why").textContent, locked: true, since: told?.at });
}

function unlock() {
  locked = false;
  if (at("ask").open) at("ask").close();
  clear("key");
}

const json = async (path, knocking = false) => (await ask(path, { knocking })).json();
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
const short = (value, digits = 9) => (typeof value === "number" ? (Number.isInteger(value) ? value : Number(value.toPrecision(digits))).toLocaleString("en", { maximumFractionDigits: 8 }) : value ?? "–");

function showMarket(state) {
  graded(state.grade);
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
      const answer = await ask(`stream?symbol=${encodeURIComponent(market.symbol)}`, { signal: mine.signal, knocking: true });
      unlock();
      clear("server");
      history(null); // what was missed while nobody answered
      await readEvents(answer.body.getReader(), mine);
      throw new Refused(null, "the connection was lost");
    } catch (error) {
      if (mine.signal.aborted) return;
      lost(error);
    }
    await pause(locked ? LOCKED_MS : AGAIN_MS);
  }
}

// The server does not answer; of the collector nothing is known then.
function lost(error) {
  if (locked && [401, 429].includes(error.status)) return;
  unlock();
  clear("collector", "store");
  tell("server", { level: "error", ...failure(error), since: told?.at });
}

async function readEvents(reader, mine) {
  const decoder = new TextDecoder();
  let text = "";
  let heard = performance.now();
  const watch = setInterval(() => {
    judge();
    if (performance.now() - heard > SILENT_MS) reader.cancel(); // half a connection, which would never end by itself
  }, 1000);
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done || mine.signal.aborted) return;
      heard = performance.now();
      text += decoder.decode(value, { stream: true });
      const events = text.split("\n\n");
      text = events.pop();
      for (const event of events) {
        const data = event.split("\n").find((line) => line.startsWith("data: "));
        if (data) hear(JSON.parse(data.slice(6)));
      }
      judge();
    }
  } finally {
    clearInterval(watch);
  }
}

// Whether what is shown is of now.
function judge() {
  if (told === null) {
    tell("collector", { level: "none", word: "stored", title: "No collector runs on this data folder.", text: "This is what was stored. `collector run` collects more." });
  } else if (told.ended) {
    tell("collector", { level: "stale", word: "stopped", ended: true, title: "The collector has stopped.", since: told.at, text: "What was stored can be looked at. `collector run` goes on; this page follows by itself." });
  } else if (performance.now() - told.at > STALE_MS) {
    tell("collector", { level: "stale", word: "stale", title: "The collector stands still, or was killed.", since: told.at, text: "Time that is not collected becomes a gap. Its log says more; this page goes on by itself when it does." });
  } else if (!told.here) {
    tell("collector", { level: "none", word: "not collected", title: `${market.symbol} is not collected now.`, text: "This is what was stored of it." });
  } else clear("collector");
}

function hear(word) {
  const state = word.markets.find((one) => one.exchange === market.exchange && one.symbol === market.symbol);
  told = { at: performance.now() - 1000 * word.age_s, ended: word.stopping, here: state !== undefined };
  if (!state) return;
  showMarket(state);
  if (state.epoch !== null) {
    // Seconds that were not told here may be stored, with what was wrong with them.
    if (view.last && state.epoch > view.last + 2) setTimeout(() => history(null), 2000);
    remember({ ...state, price: mid(state.best_bid, state.best_ask), step_pct: state.step });
  }
  paint();
}

const mid = (bid, ask) => (bid === null || ask === null ? null : (bid + ask) / 2);

// -- what was stored

// A store that cannot be read is told of as such; that it has nothing of a market yet is no failure.
function storeFailed(error) {
  if ([400, 401, 404].includes(error.status) || trouble("server")) return;
  const { title, text } = failure(error);
  tell("store", { level: "degraded", title: "What was stored cannot be read.", text: `${title} ${text}` });
}

async function history(end) {
  if (view.asked) return;
  view.asked = true;
  const asked = market;
  const query = end === null ? { limit: PAGE } : { limit: PAGE, end_time: end };
  try {
    const rows = (await json(of("depth", query))).data;
    const quality = await json(of("tables/quality", query)).catch(() => ({ data: [] }));
    if (asked !== market) return;
    [view.missing, view.known] = [undefined, true];
    for (const row of quality.data) view.grades.set(row.epoch, row.grade);
    const heard = [...view.epochs.values()].filter((row) => row.grade !== undefined);
    keep(view.epochs, [...rows, ...heard], "epoch", KEPT);
    view.whole ||= end !== null && rows.length === 0;
    if (view.epochs.size) [view.first, view.last] = [Math.min(...view.epochs.keys()), Math.max(...view.epochs.keys())];
    paint();
  } catch (error) {
    if (asked !== market) return;
    if (![400, 404].includes(error.status)) view.missing = end; // `poll` asks again
    else view.known = true;
    storeFailed(error);
  } finally {
    if (asked === market) view.asked = false;
    paint();
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
  if (view.missing !== undefined) history(view.missing);
  const since = Math.floor(Math.min(view.first ?? Infinity, Date.now() / 1000 - 86400));
  const answers = await Promise.allSettled(
    [of("trades", { limit: 400 }), `gaps?symbol=${encodeURIComponent(market.symbol)}&exchange=${market.exchange}&limit=200&start_time=${since}`,
      "latest/features", "latest/bars", "state"].map((path) => json(path)));
  if (asked !== market) return;
  // Without a collector there is no state, which the stream tells too.
  const failed = answers.slice(0, -1).find((one) => one.status === "rejected" && ![400, 404].includes(one.reason.status));
  if (failed) storeFailed(failed.reason);
  else if (view.missing === undefined) clear("store");
  const [trades, gaps, features, bars, state] = answers.map((one) => one.value ?? null);
  if (trades) keep(view.trades, trades.data, "agg_trade_id", 5 * TRADES);
  if (gaps) {
    view.gaps = gaps.filter((gap) => !gap.healed);
    at("gaps").replaceChildren(gaps.length ? table(gaps.slice(-6).reverse().map((gap) =>
      [said([`${gap.stream} ${gap.reason}`]), gap.to_ns === null ? "open" : gap.healed ? "healed" : `${((gap.to_ns - gap.from_ns) / 1e9).toFixed(1)} s`])) : "none");
  } else if (answers[1].reason.status === 400) at("gaps").textContent = "none stored yet";
  const mine = (rows) => (rows ?? []).filter((row) => row.exchange === market.exchange && row.symbol === market.symbol);
  const [feature] = mine(features);
  if (feature) at("features").replaceChildren(table(Object.entries(feature)
    .filter(([name]) => !["exchange", "symbol", "feature_set", "epoch", "valid", "num_features"].includes(name)).sort(([, one], [, other]) => (one === null) - (other === null)).map(([name, value]) => [name, short(value, 6)])));
  else if (features) at("features").textContent = "none stored";
  const found = mine(bars);
  if (found.length) at("bars").replaceChildren(table(found.map((bar) => [bar.interval, `${short(bar.close)}  Δ ${short(bar.delta)}`])));
  else if (bars) at("bars").textContent = "none stored";
  if (state) showProcess(state);
  paint();
}

// -- hands

async function choose(chosen) {
  market = chosen;
  location.hash = `${market.exchange}/${market.symbol}`;
  Object.assign(view, fresh());
  told = null;
  clear("collector", "store", "market");
  graded("none", "…");
  for (const id of ["price", "quality", "features", "bars", "gaps"]) at(id).textContent = "";
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
  const [stored, state] = await Promise.allSettled([json("symbols", true), json("state", true)]);
  const found = new Map([...(state.value?.markets ?? []), ...(stored.value ?? [])].map((one) => [`${one.exchange} ${one.symbol}`, one]));
  if (!found.size && stored.reason) throw stored.reason; // that nothing is there would be a guess
  return [...found.values()].map(({ exchange, symbol }) => ({ exchange, symbol }));
}

// What the address names, as exchange/symbol.
function wanted() {
  try {
    return decodeURIComponent(location.hash).slice(1);
  } catch {
    return location.hash.slice(1);
  }
}

// Shows the market that the address names, or else what it shows already, or the first one, and says so.
async function follow(found) {
  const number = found.findIndex(({ exchange, symbol }) => `${exchange}/${symbol}` === wanted());
  if (number >= 0 && found[number] === market) return;
  const unknown = number < 0 ? wanted() : "";
  let shown = null;
  if (number >= 0 || market === null) {
    at("market").value = Math.max(0, number);
    shown = choose(found[Math.max(0, number)]);
  }
  if (unknown) tell("market", { level: "none", title: `${unknown} is neither collected nor stored here.`, text: `This is ${market.exchange}/${market.symbol}. The list above has all there are.` });
  await shown;
}

async function start() {
  hands(at("map"));
  paint();
  at("ask").querySelector("form").addEventListener("submit", () => { sessionStorage.setItem("key", at("key").value); location.reload(); });
  at("unlock").addEventListener("click", () => at("ask").showModal());
  for (;;) {
    try {
      const found = await markets();
      unlock();
      clear("server");
      if (found.length) {
        at("market").replaceChildren(...found.map(({ exchange, symbol }, number) => new Option(`${symbol} ${exchange}`, number)));
        at("market").addEventListener("change", (event) => choose(found[event.target.value]));
        addEventListener("hashchange", () => follow(found));
        at("market").hidden = false;
        clear("collector");
        await follow(found);
        break;
      }
      tell("collector", { level: "none", word: "nothing is collected yet", title: "There is nothing in this data folder.", text: "`collector run` collects into it; this page follows by itself." });
    } catch (error) {
      lost(error);
    }
    await pause(locked ? LOCKED_MS : AGAIN_MS);
  }
  setInterval(() => poll().catch(() => {}), 3000);
}

start();
