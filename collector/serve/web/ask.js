// Questions to the server, with the key if there is one.
import { Refused, clear, tell } from "./trouble.js";

const at = (id) => document.getElementById(id);
export const key = () => sessionStorage.getItem("key");

export let locked = false; // the server wants a key
export const lastWord = { at: undefined }; // when what is shown was told, as performance.now()
let quietUntil = 0; // the server wants no questions until then

export async function ask(path, { signal, knocking = false } = {}) {
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

export const json = async (path, knocking = false) => (await ask(path, { knocking })).json();

function lock() {
  if (!locked) at("ask").showModal();
  locked = true;
  at("why").textContent = key() ? "The server does not accept this key. It may have been replaced." : "The server answers only those who have a key.";
  tell("key", { level: "error", word: "locked", title: "A key is needed.", text: at("why").textContent, locked: true, since: lastWord.at });
}

export function unlock() {
  locked = false;
  if (at("ask").open) at("ask").close();
  clear("key");
}

// An open page outlives an update of the server that it came from.
let build = null;
export async function sameBuild() {
  const answer = await fetch("./", { method: "HEAD", cache: "no-store" }).catch(() => null);
  const found = answer?.ok ? answer.headers.get("ETag") : null;
  if (found === null) return;
  build ??= found;
  if (found !== build) tell("build", { level: "none", title: "The server was updated.", text: "Load this page anew to have the new one." });
}
