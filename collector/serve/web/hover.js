// What lies under the pointer, in words.
import { bucketAt } from "./cells.js";
import { amount, clock, day, price, said, short } from "./numbers.js";

// Lines of text for a place of what `draw` gave; none outside of the plot.
export function underneath(drawn, view, x, y) {
  const { plot, range, start, seconds } = drawn;
  if (x < plot.x || x > plot.x + plot.width || y < plot.y || y > plot.y + plot.height + 12) return [];
  const second = start + ((x - plot.x) / plot.width) * seconds;
  const row = view.epochs.get(Math.floor(second) + 1);
  const lines = [`${day(second)} ${clock(row ? row.epoch : second)} UTC`];
  if (!row) lines.push("no row");
  else if (row.best_bid === null || row.best_ask === null) lines.push("no book");
  else {
    const level = range.high - ((y - plot.y) / plot.height) * (range.high - range.low);
    const mid = (row.best_bid + row.best_ask) / 2;
    lines.push(`${price(level, (range.high - range.low) / plot.height)}, ${short(1e4 * (level / mid - 1), 3)} bps from mid ${short(mid)}`);
    const bucket = bucketAt(row, level);
    const where = bucket && `${bucket.side}s ${short(bucket.number * row.step_pct * 1e4, 4)}–${short((bucket.number + 1) * row.step_pct * 1e4, 4)} bps from the best`;
    if (bucket) lines.push(bucket.value === null ? `${where}: beyond the known book` : `${where}: ${amount(bucket.value)} ${view.quote}`);
  }
  const grade = row && (row.grade ?? view.grades.get(row.epoch));
  if (row) lines.push(`${row.valid ? "valid" : "not valid"}, quality ${grade ?? "not known"}`);
  for (const gap of view.gaps) {
    if (gap.from_ns / 1e9 <= second + 1 && (gap.to_ns === null || second <= gap.to_ns / 1e9)) lines.push(`gap: ${said([`${gap.stream} ${gap.reason}`])}`);
  }
  return lines;
}
