// What stands beside the map, in words and numbers.
import { amount, clock, day, said, short } from "./numbers.js";

const at = (id) => document.getElementById(id);
const NO_FEATURES = ["exchange", "symbol", "feature_set", "epoch", "valid", "num_features"];

function table(rows) {
  const body = document.createElement("table");
  for (const [name, ...values] of rows) {
    const row = body.insertRow();
    row.append(Object.assign(document.createElement("th"), { scope: "row" }));
    row.firstChild.append(name);
    for (const value of values) row.insertCell().textContent = value;
  }
  return body;
}

export function showMarket(state) {
  const { best_bid: bid, best_ask: ask } = state;
  at("price").textContent = bid === null || ask === null ? "no book" : `${short(bid)} / ${short(ask)}${state.valid ? "" : "  not valid"}`;
  at("spread").textContent = bid === null || ask === null ? "" : `spread ${short(ask - bid, 6)} = ${short(((ask - bid) / ((ask + bid) / 2)) * 1e4, 3)} bps`;
  at("moment").textContent = state.epoch === null ? "" : `${clock(state.epoch)} UTC`;
  at("quality").replaceChildren(table([
    ["reasons", said(state.reasons) || "none"],
    ["streams down", said(state.down) || "none"],
    ["open gaps", said(state.open_gaps) || "none"],
    ["lag p50 / p99", state.lag_p50_ms === null ? "–" : `${short(state.lag_p50_ms, 2)} / ${short(state.lag_p99_ms, 2)} ms`],
  ]));
}

export function showProcess(state) {
  at("process").replaceChildren(table([
    ["frames received", state.frames.toLocaleString("en")],
    ["journal", state.journal_bytes === null ? "none" : `${(state.journal_bytes / 1e6).toFixed(1)} MB`],
    ["oldest row not stored yet", state.backend_lag_s === null ? "–" : `${state.backend_lag_s.toFixed(0)} s`],
    ["REST weight this minute", Object.values(state.rest_weight).map((one) => `${one.used} of ${one.limit}`).join(", ") || "–"],
    ["memory", state.memory_bytes === null ? "–" : `${(state.memory_bytes / 1e6).toFixed(0)} MB`],
  ]));
}

// Those of which something is missing still come first; each leads to its place on the map.
export function showGaps(gaps, go) {
  if (!gaps.length) return void (at("gaps").textContent = "none in this span");
  const found = [...gaps].reverse().sort((one, other) => one.healed - other.healed).slice(0, 8);
  at("gaps").replaceChildren(table(found.map((gap) => {
    const from_s = gap.from_ns / 1e9;
    const when = Date.now() / 1000 - from_s < 86400 ? clock(from_s) : `${day(from_s)} ${clock(from_s)}`;
    const button = Object.assign(document.createElement("button"), { className: "link", textContent: when, title: "show it" });
    button.addEventListener("click", () => go(gap.to_ns === null ? from_s : gap.to_ns / 1e9));
    const name = document.createElement("span");
    name.append(button, ` ${said([`${gap.stream} ${gap.reason}`])}`);
    return [name, gap.to_ns === null ? "open" : `${((gap.to_ns - gap.from_ns) / 1e9).toFixed(1)} s${gap.healed ? ", healed" : ""}`];
  })));
}

export function showFeatures(row) {
  if (!row) return void (at("features").textContent = "none stored");
  const found = Object.entries(row).filter(([name]) => !NO_FEATURES.includes(name));
  const known = found.filter(([, value]) => value !== null);
  at("features").replaceChildren(table(known.map(([name, value]) => [name, name === "cvd_anchor" ? (Date.now() / 1000 - value < 86400 ? clock(value) : day(value)) : short(value, 6)])));
  if (known.length < found.length) at("features").append(Object.assign(document.createElement("p"), { className: "small", textContent: `${found.length - known.length} more are not collected, or not known yet.` }));
}

export function showBars(bars) {
  if (!bars.length) return void (at("bars").textContent = "none stored");
  at("bars").replaceChildren(table([
    ["", "close", "volume", "delta"],
    ...bars.map((bar) => [bar.interval, short(bar.close), amount(bar.volume), short(bar.delta, 3)]),
  ]));
}
