// Numbers and times for people. All times are UTC.

export const short = (value, digits = 9) => (typeof value === "number" ? (Number.isInteger(value) ? value : Number(value.toPrecision(digits))).toLocaleString("en", { maximumFractionDigits: 8 }) : value ?? "–");
export const said = (words) => words.join(", ").replaceAll("_", " ");
export const clock = (seconds) => new Date(seconds * 1000).toISOString().slice(11, 19);
export const day = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 10);

export function amount(value) {
  const [unit, name] = [[1e9, "B"], [1e6, "M"], [1e3, "k"]].find(([least]) => value >= least) ?? [1, ""];
  return `${Number((value / unit).toPrecision(3))}${name}`;
}

// With as many decimals as it takes to tell `step` apart.
export function price(value, step) {
  const digits = Math.max(0, Math.min(8, Math.ceil(-Math.log10(step) - 1e-9)));
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

// Round numbers between two ends, about `count` of them.
export function marks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
  const found = [];
  for (let number = Math.ceil(low / step); number * step <= high; number++) found.push(number * step);
  return { step, found };
}
