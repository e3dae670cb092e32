// What keeps the page from showing what is collected now: said in a banner, with since when and what to do.

const at = (id) => document.getElementById(id);

// Of several the first is told: without a server nothing is known of the collector.
const ORDER = ["key", "server", "collector", "store", "market", "build"];
const told = new Map();

// An answer that is no answer: `status` is null where there was none at all, `wait_s` as the server asked for.
export class Refused extends Error {
  constructor(status, detail, wait_s = 0) {
    super(detail);
    this.status = status;
    this.wait_s = wait_s;
  }
}

// The banner's parts, for a request that failed.
export function failure(error) {
  const { status, message } = error;
  const again = error.wait_s > 0 ? `It is asked again in ${lasting(error.wait_s)}.` : "It is asked again by itself, every few seconds.";
  const log = "the log of `collector run --http`, or `collector serve`, says more";
  if (!(error instanceof Refused) || status === null) {
    return { word: "no answer", title: "Nobody answers.", text: `${again} See that the collector runs (with --http, or \`collector serve\` beside it) and that ${location.host} can be reached: network, tunnel.` };
  }
  if (status === 429) return { word: "wait", title: "Asked too often.", text: `The server says: ${message}. ${again} --requests-per-s sets how often.` };
  if (status === 421) return { word: "refused", title: "The server does not go by this name.", text: `It says: ${message}.` };
  if (status === 503) return { word: "error", title: "The server cannot answer now.", text: `It says: ${message}. ${again}` };
  if (status === 502 || status === 504) return { word: "no answer", title: `No answer from behind ${location.host}.`, text: `What stands in front of the collector answers with status ${status}. ${again} See that the collector runs.` };
  return { word: "error", title: "The server has failed.", text: `It says: ${message}. ${again} If it stays so, ${log}.` };
}

// `since` is a time of performance.now(): how old what is shown is. `word` stands beside the market, in the colour of `level`.
export function tell(kind, trouble) {
  told.set(kind, trouble);
  show();
}

export function clear(...kinds) {
  for (const kind of kinds) told.delete(kind);
  show();
}

export const trouble = (kind) => told.get(kind);

// The grade of the market, where nothing keeps it from being known.
let grade = ["none", "…"];
export function graded(level, word = level) {
  grade = [level, word];
  show();
}

function show() {
  const worst = ORDER.map((kind) => told.get(kind)).find((one) => one !== undefined);
  const named = ORDER.map((kind) => told.get(kind)).find((one) => one?.word !== undefined);
  const [level, word] = named ? [named.level, named.word] : grade;
  put(at("status"), word);
  document.title = `${word} · depth-collector`;
  at("status").className = level;
  // What was last seen of a run says nothing of now; what was stored stays what it was.
  document.body.classList.toggle("old", level === "stale" || level === "error");
  document.body.classList.toggle("ended", named?.ended === true);
  at("banner").hidden = worst === undefined;
  if (worst === undefined) return;
  at("banner").className = worst.level;
  put(at("trouble"), worst.title);
  put(at("since"), worst.since === undefined ? "" : since(worst.since));
  put(at("mend"), worst.text);
  at("unlock").hidden = !worst.locked;
}

// Only what is new, or a screen reader would tell it again.
function put(element, text) {
  if (element.dataset.text === text) return;
  element.dataset.text = text;
  // Between backticks is what somebody may type.
  element.replaceChildren(...text.split("`").map((part, number) => (number % 2 ? Object.assign(document.createElement("code"), { textContent: part }) : part)));
}

function since(then) {
  const age_s = Math.max(0, (performance.now() - then) / 1000);
  const moment = new Date(Date.now() - age_s * 1000).toISOString();
  const day = age_s < 86400 ? "" : `${moment.slice(0, 10)} `;
  return `What is shown is of ${day}${moment.slice(11, 19)} UTC, ${lasting(age_s)} ago.`;
}

export function lasting(seconds) {
  const [count, unit] = [[86400, "days"], [3600, "hours"], [60, "minutes"]].map(([length, name]) => [seconds / length, name])
    .find(([many]) => many >= 2) ?? [Math.max(1, seconds), "s"];
  return `${Math.floor(count)} ${unit}`;
}

setInterval(show, 1000); // ages grow
