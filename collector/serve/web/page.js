// The live page. It asks the same questions as any other program, and no other host.
import { ask, json, lastWord, locked, sameBuild, unlock } from "./ask.js";
import { HUES } from "./cells.js";
import { hands } from "./hands.js";
import { underneath } from "./hover.js";
import { cover, lacking, within } from "./loaded.js";
import { draw } from "./map.js";
import { Markets } from "./markets.js";
import { amount } from "./numbers.js";
import { showBars, showFeatures, showGaps, showMarket, showProcess } from "./panels.js";
import { Refused, clear, failure, graded, tell, trouble } from "./trouble.js";

const SETTLED_S = 10; // after which a second is stored, if it ever will be
const KEPT_S = 7200; // around what is shown; the rest is asked for again
const PAGE = 600; // epochs that are asked for at once
const TRADES = 2000; // trades that are asked for at once; five times as many are kept
const LEAST_S = 60; // seconds that are shown
const MOST_S = 3600;
const AGAIN_MS = 2000; // between two tries to reach the server
const LOCKED_MS = 10000; // the same while it wants a key: each try counts as a wrong one
const SILENT_MS = 15000; // a server that lives says something every five seconds
const STALE_MS = 6000; // a collector that lives says something every second
const POLL_MS = 3000;
const STORED_MS = 60000; // between two looks at which markets are stored; those that are collected come with each poll

const at = (id) => document.getElementById(id);
const fresh = () => ({ epochs: new Map(), trades: new Map(), gaps: [], grades: new Map(), end: null, last: 0, loaded: [], asked: false, known: false, missing: undefined, quote: "quote", pointed: null });
const view = {
  ...fresh(),
  seconds: 300,
  // What is shown. A market that is young fills the width too.
  get window() {
    const end = this.end ?? this.last;
    const begin = this.loaded[0]?.[0] === -Infinity ? Math.min(...this.epochs.keys(), end) : -Infinity;
    return { start: Math.max(end - this.seconds, Math.min(begin - 1, end - LEAST_S)), end };
  },
};
const markets = new Markets(at("market"));
let market = null; // {exchange, symbol}
let listening = null; // AbortController of the stream
let told = null; // the last word of the collector: when it was said, as performance.now(), and whether it was the last
let drawn = null; // where what lies on the map
let painting = false;

const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const of = (path, query) => {
  const search = new URLSearchParams({ exchange: market.exchange, ...query });
  return `${path}/${encodeURIComponent(market.symbol)}?${search}`;
};

// -- what is shown

function paint() {
  if (painting) return;
  painting = true;
  requestAnimationFrame(() => {
    painting = false;
    drawn = draw(at("map"), view);
    at("live").hidden = view.end === null;
    at("full").textContent = drawn ? `≥ ${amount(drawn.top)}` : "";
    at("unit").textContent = `${view.quote} a bucket`;
    point();
  });
}

function point() {
  const lines = drawn && view.pointed ? underneath(drawn, view, ...view.pointed) : [];
  at("readout").hidden = !lines.length;
  at("readout").textContent = lines.join("\n");
  if (!lines.length) return;
  const right = view.pointed[0] > at("map").clientWidth / 2;
  at("readout").style.cssText = right ? `left: ${drawn.plot.x + 6}px` : "right: 10px";
}

function remember(row) {
  if (view.loaded.length && row.epoch <= view.last + 1) view.loaded = cover(view.loaded, view.last, row.epoch);
  else view.loaded = cover(view.loaded, row.epoch - 1, row.epoch);
  view.epochs.set(row.epoch, row);
  view.last = Math.max(view.last, row.epoch);
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
      sameBuild();
      need(); // what was missed while nobody answered
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
  lastWord.at = told.at;
  if (!state) return;
  graded(state.grade);
  showMarket(state);
  view.quote = state.name.split("/")[1]?.split(":")[0] ?? view.quote;
  if (state.epoch !== null) {
    // Seconds that were not told here may be stored, with what was wrong with them.
    if (view.last && state.epoch > view.last + 1) setTimeout(need, 2000);
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

// Asks for what is shown, or soon will be, and is not here.
function need() {
  if (view.asked || market === null) return;
  if (!view.known) return history(null, PAGE);
  if (!view.last) return;
  const { end } = view.window;
  const found = lacking(view.loaded, end - view.seconds - LEAST_S, end);
  if (found) history(found[1], Math.min(PAGE, Math.ceil(found[1] - found[0]) + 5));
}

async function history(end, limit) {
  view.asked = true;
  const asked = market;
  const query = end === null ? { limit } : { limit, end_time: Math.ceil(end) };
  try {
    const rows = (await json(of("depth", query))).data;
    const quality = await json(of("tables/quality", query)).catch(() => ({ data: [] }));
    if (asked !== market) return;
    [view.missing, view.known] = [undefined, true];
    for (const row of quality.data) view.grades.set(row.epoch, row.grade);
    // What was heard has a grade, which rows have not.
    for (const row of rows) if (view.epochs.get(row.epoch)?.grade === undefined) view.epochs.set(row.epoch, row);
    if (rows.length && end === null) view.last = Math.max(view.last, rows.at(-1).epoch);
    const from = rows.length < limit ? -Infinity : rows[0].epoch - 1;
    // The newest seconds may not be stored yet.
    const settled = end !== null && end < view.last - SETTLED_S;
    view.loaded = cover(view.loaded, from, settled ? end : Math.max(rows.at(-1)?.epoch ?? 0, from));
    forget();
    if (rows.length === limit || settled) setTimeout(need, 0);
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

// What is far from what is shown, so that days can be walked through.
function forget() {
  if (view.epochs.size < 2 * KEPT_S) return;
  const { start, end } = view.window;
  const [from, to] = [start - KEPT_S, end + KEPT_S];
  view.loaded = within(view.loaded, from, to);
  for (const map of [view.epochs, view.grades]) for (const epoch of map.keys()) if (epoch < from || epoch > to) map.delete(epoch);
}

let waiting = null;
function tradesOf(end) {
  clearTimeout(waiting);
  waiting = setTimeout(async () => {
    const asked = market;
    const found = await json(of("trades", end === null ? { limit: TRADES } : { limit: TRADES, end_time: Math.ceil(end) })).catch(() => ({ data: [] }));
    if (asked === market) keepTrades(found.data);
    paint();
  }, 300);
}

function keepTrades(added) {
  for (const trade of added) view.trades.set(trade.agg_trade_id, trade);
  const { end } = view.window;
  if (view.trades.size <= 5 * TRADES) return;
  const near = [...view.trades.values()].sort((one, other) => Math.abs(one.timestamp / 1000 - end) - Math.abs(other.timestamp / 1000 - end)).slice(0, 5 * TRADES);
  view.trades = new Map(near.map((trade) => [trade.agg_trade_id, trade]));
}

// Grades are stored some seconds after their rows, since they hold how long those took.
function ungraded() {
  const { start, end } = view.window;
  const late = [...view.epochs.values()].filter((row) => row.epoch > start && row.epoch <= end && row.grade === undefined && !view.grades.has(row.epoch)).map((row) => row.epoch);
  return late.length ? of("tables/quality", { limit: Math.min(PAGE, Math.max(...late) - Math.min(...late) + 5), end_time: Math.max(...late) + 1 }) : null;
}

async function poll() {
  const asked = market;
  if (view.missing !== undefined) history(view.missing, PAGE);
  else need();
  const since = Math.max(0, Math.floor(Math.min(view.window.start, Date.now() / 1000 - 86400)));
  const only = `symbol=${encodeURIComponent(market.symbol)}&exchange=${market.exchange}`;
  const late = ungraded();
  const answers = await Promise.allSettled(
    [of("trades", { limit: 400 }), `gaps?${only}&limit=200&start_time=${since}`, `latest/features?${only}`, `latest/bars?${only}`, "state", ...(late ? [late] : [])].map((path) => json(path)));
  if (asked !== market) return;
  const [trades, gaps, features, bars, state, grades] = answers.map((one) => one.value ?? null);
  // Without a collector there is no state, which the stream tells too.
  const failed = answers.slice(0, 4).find((one) => one.status === "rejected" && ![400, 404].includes(one.reason.status));
  if (failed) storeFailed(failed.reason);
  else if (view.missing === undefined) clear("store");
  if (trades) keepTrades(trades.data);
  for (const row of grades?.data ?? []) view.grades.set(row.epoch, row.grade);
  if (gaps) {
    view.gaps = gaps.filter((gap) => !gap.healed);
    showGaps(gaps, (end) => show(end + view.seconds / 2));
  } else if (answers[1].reason.status === 400) at("gaps").textContent = "none stored yet";
  if (features) showFeatures(features[0]);
  if (bars) showBars(bars);
  if (state) showProcess(state);
  if (state || answers[4].reason.status === 503) markets.update({ collected: state?.markets ?? [] });
  paint();
}

// -- hands

async function choose(chosen) {
  market = chosen;
  markets.show(market);
  location.hash = `${market.exchange}/${market.symbol}`;
  Object.assign(view, fresh());
  told = null;
  lastWord.at = undefined;
  clear("collector", "store", "market");
  graded("none", "…");
  for (const id of ["price", "spread", "moment", "quality", "features", "bars", "gaps"]) at(id).textContent = "";
  listen();
  await history(null, PAGE);
  tradesOf(null);
  await poll();
}

// Makes a second the right edge; null, or one that is yet to come, follows what is live.
function show(end) {
  view.end = end === null || end >= view.last ? null : end;
  need();
  if (view.end !== null) tradesOf(view.end);
  paint();
}

function zoom(factor) {
  view.seconds = Math.min(MOST_S, Math.max(LEAST_S, view.seconds * factor));
  need();
  paint();
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
async function follow() {
  const named = markets.find(wanted());
  if (named && market && named.exchange === market.exchange && named.symbol === market.symbol) return;
  const unknown = named ? "" : wanted();
  const shown = named || market === null ? choose(named ?? markets.first) : null;
  if (unknown) tell("market", { level: "none", title: `${unknown} is neither collected nor stored here.`, text: `This is ${market.exchange}/${market.symbol}. The list above has all there are.` });
  await shown;
}

// Looks which markets there are; that nothing is there would be a guess where nobody answers.
async function look() {
  const [stored, state] = await Promise.allSettled([json("symbols", true), json("state", true)]);
  markets.update({ ...(stored.value && { stored: stored.value }), ...(state.value && { collected: state.value.markets }) });
  if (!markets.size && stored.reason) throw stored.reason;
}

function handle() {
  const act = { move: (seconds) => show((view.end ?? view.last) + seconds), zoom, live: () => show(null), point: (...place) => { view.pointed = place; point(); }, leave: () => { view.pointed = null; point(); } };
  hands(at("map"), () => view.seconds, act);
  addEventListener("resize", paint);
  for (const [id, done] of Object.entries({ live: act.live, closer: () => zoom(1 / 1.5), farther: () => zoom(1.5), unlock: () => at("ask").showModal() })) at(id).addEventListener("click", done);
  at("when").addEventListener("change", (event) => {
    const second = Date.parse(`${event.target.value}Z`) / 1000;
    if (Number.isFinite(second)) show(second + view.seconds / 2);
  });
  at("ask").querySelector("form").addEventListener("submit", () => { sessionStorage.setItem("key", at("key").value); location.reload(); });
  at("market").addEventListener("change", (event) => choose(markets.find(event.target.value)));
  addEventListener("hashchange", () => { if (market) follow(); });
  for (const [side, hue] of Object.entries(HUES)) document.documentElement.style.setProperty(`--${side}`, hue);
}

async function start() {
  handle();
  paint();
  while (market === null) {
    try {
      await look();
      unlock();
      clear("server");
      if (markets.size) {
        clear("collector");
        await follow();
        break;
      }
      tell("collector", { level: "none", word: "nothing is collected yet", title: "There is nothing in this data folder.", text: "`collector run` collects into it; this page follows by itself." });
    } catch (error) {
      lost(error);
    }
    await pause(locked ? LOCKED_MS : AGAIN_MS);
  }
  setInterval(() => poll().catch(() => {}), POLL_MS);
  setInterval(() => json("symbols").then((stored) => markets.update({ stored }), () => {}), STORED_MS);
}

start();
