// The description of the interface for people, from openapi.json.

const at = (id) => document.getElementById(id);
const element = (name, text, more = {}) => Object.assign(document.createElement(name), { textContent: text, ...more });
const key = () => sessionStorage.getItem("key");

const kind = (schema) => (schema.anyOf ?? [schema]).filter((one) => one.type !== "null").map((one) => one.enum?.join(" or ") ?? one.type).join(" or ");
function bounds(schema) {
  const one = (schema.anyOf ?? [schema]).find((any) => any.type !== "null") ?? schema;
  const [least, most] = [one.minimum ?? one.exclusiveMinimum, one.maximum];
  return [least !== undefined && `from ${least}`, most !== undefined && `to ${most}`, schema.default !== undefined && schema.default !== null && `default ${schema.default}`].filter(Boolean).join(" ");
}

const value = ({ schema }) => schema.examples?.[0] ?? (schema.anyOf ?? [schema]).map((one) => one.examples?.[0]).find((one) => one !== undefined) ?? schema.enum?.[0];

// An address that can be asked: what must be named is, by its example.
export function address(path, parameters) {
  const filled = path.replace(/\{(\w+)(:path)?\}/g, (_, name) => value(parameters.find((one) => one.name === name)));
  const query = parameters.filter((one) => one.in === "query" && one.required).map((one) => `${one.name}=${encodeURIComponent(value(one) ?? "")}`).join("&");
  return filled + (query && `?${query}`);
}

function question(path, method, described) {
  const parameters = described.parameters ?? [];
  const box = element("details", "");
  const asked = address(path, parameters);
  const title = element("summary", "");
  title.append(element("code", `${method.toUpperCase()} ${path.replace(":path", "")}`), ` ${described.summary ?? ""}`);
  box.append(title);
  const table = document.createElement("table");
  for (const one of parameters) {
    const row = table.insertRow();
    row.append(element("th", `${one.name}${one.required ? "" : " (optional)"}`));
    row.insertCell().textContent = [kind(one.schema), bounds(one.schema), one.description ?? one.schema.description ?? ""].filter(Boolean).join("; ");
  }
  box.append(table, element("pre", `curl ${method === "get" ? "" : `-X ${method.toUpperCase()} `}'${location.origin}${asked}'${key() ? " -H \"X-API-Key: $KEY\"" : ""}`));
  const answer = element("pre", "");
  for (const [type, { example }] of Object.entries(described.responses[200]?.content ?? {})) {
    if (example !== undefined) answer.textContent = `${type}\n${typeof example === "string" ? example : JSON.stringify(example, null, 1)}`;
  }
  const live = asked.startsWith("/stream");
  if (method === "get" && !live) {
    const button = element("button", "ask it now");
    button.addEventListener("click", async () => {
      const found = await fetch(`.${asked}`, { headers: key() ? { "X-API-Key": key() } : {} }).catch((error) => error);
      answer.textContent = found instanceof Response ? `status ${found.status}\n${(await found.text()).slice(0, 5000)}` : String(found);
    });
    box.append(button);
  }
  box.append(answer);
  return box;
}

async function start() {
  at("unlock").addEventListener("submit", (event) => { event.preventDefault(); sessionStorage.setItem("key", at("key").value); start(); });
  const answer = await fetch("openapi.json", { headers: key() ? { "X-API-Key": key() } : {} }).catch((error) => ({ ok: false, statusText: error.message }));
  at("unlock").hidden = answer.status !== 401;
  if (!answer.ok) return void (at("about").textContent = answer.status === 401 ? "The server answers only those who have a key." : `No answer: ${answer.status ?? ""} ${answer.statusText}`);
  const described = await answer.json();
  at("about").textContent = `Version ${described.info.version}. ${described.info.description}`;
  at("questions").replaceChildren(...Object.entries(described.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, one]) => question(path, method, one))));
}

start();
