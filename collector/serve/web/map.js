// Draws the depth map with all that lies over it.
import { cells, fullest } from "./cells.js";
import { clock, day, marks, price, said } from "./numbers.js";

const MARGIN = { left: 74, bottom: 24, strip: 6 };
const GRADES = { ok: "#66c2a5", degraded: "#e69f00", bad: "#ef5a5a" };
const TEXT = "#a3a9b4";
const FONT = "11px system-ui, sans-serif";

// Gives where what lies, for whoever points at it; null where there is nothing to show.
export function draw(canvas, view) {
  const scale = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const [wide, high] = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  const { start, end } = view.window;
  const seconds = end - start;
  const rows = [...view.epochs.values()].filter((row) => row.epoch > start - 1 && row.epoch <= end + 1).sort((one, other) => one.epoch - other.epoch);
  const range = prices(rows);
  pen.font = FONT;
  pen.fillStyle = TEXT;
  if (!range) {
    pen.textAlign = "left";
    pen.font = "13px system-ui, sans-serif";
    pen.fillText(nothing(view), 12, 24);
    return null;
  }
  const plot = { x: MARGIN.left, y: 4, width: width - MARGIN.left - 4, height: height - MARGIN.bottom - MARGIN.strip - 8 };
  const across = (second) => plot.x + ((second - start) / seconds) * plot.width;
  const down = (value) => plot.y + ((range.high - value) / (range.high - range.low)) * plot.height;
  const column = plot.width / seconds + 0.5;
  const top = fullest(rows);

  pen.save();
  pen.beginPath();
  pen.rect(plot.x, plot.y, plot.width, plot.height + MARGIN.strip + 4);
  pen.clip();
  cells(pen, rows, { start, seconds, top, range, place: plot });
  for (const row of rows) if (!row.valid) hatch(pen, across(row.epoch - 1), column, plot, -1);
  gaps(pen, view.gaps, start, end, across, plot);
  line(pen, rows, across, down);
  trades(pen, view.trades.values(), start, end, across, down);
  for (const row of rows) {
    pen.fillStyle = GRADES[row.grade ?? view.grades.get(row.epoch)] ?? "#3a3f48";
    pen.fillRect(across(row.epoch - 1), plot.y + plot.height + 4, column, MARGIN.strip);
  }
  pen.restore();
  axes(pen, plot, range, start, seconds, across, down);
  return { plot, range, start, seconds, top, across, down };
}

// An empty map says why: that nothing was there is not known before it was asked.
function nothing(view) {
  if (view.missing !== undefined) return "not known: what was stored could not be read";
  if (view.asked) return "reading what was stored …";
  if (view.last) return "no book in this span";
  return view.known ? "no epoch yet" : "";
}

function prices(rows) {
  let [low, high] = [Infinity, -Infinity];
  for (const row of rows) {
    if (row.best_bid === null || row.best_ask === null) continue;
    const reach = Math.exp((row.step_pct ?? 0) * Math.max(row.bid_buckets?.length ?? 0, row.ask_buckets?.length ?? 0));
    low = Math.min(low, row.best_bid / reach);
    high = Math.max(high, row.best_ask * reach);
  }
  return low < high ? { low, high } : null;
}

// A gap of the book takes the whole height; those of other streams a band at the foot. Each has its name, where there is room.
function gaps(pen, found, start, end, across, plot) {
  const labels = new Map(); // by place
  for (const gap of found) {
    const [from, to] = [gap.from_ns / 1e9, gap.to_ns === null ? end : gap.to_ns / 1e9];
    if (to <= start || from >= end) continue;
    const whole = gap.stream === "depth";
    const place = whole ? plot : { y: plot.y + plot.height - 18, height: 18 };
    const [x, width] = [across(Math.max(from, start)), Math.max(2, across(Math.min(to, end)) - across(Math.max(from, start)))];
    hatch(pen, x, width, place, 1);
    const near = [...labels.values()].find((one) => one.whole === whole && one.x < x + width && x < one.x + one.width);
    if (near) near.names.add(said([`${gap.stream} ${gap.reason}`]));
    else labels.set(gap.gap_id, { whole, x, width, y: place.y, names: new Set([said([`${gap.stream} ${gap.reason}`])]) });
  }
  pen.textAlign = "left";
  for (const { whole, x, width, y, names } of labels.values()) {
    const text = `gap: ${[...names].join(", ")}`;
    const length = pen.measureText(text).width;
    const upright = whole && width < length + 8 && width > 14;
    if (!upright && width < length + 8) continue;
    pen.save();
    pen.translate(x + 4, y + 4);
    if (upright) pen.transform(0, 1, -1, 0, 11, 0);
    pen.fillStyle = "rgba(11, 13, 17, .8)";
    pen.fillRect(-2, 0, length + 4, 13);
    pen.fillStyle = "#dfe3ea";
    pen.fillText(text, 0, 10);
    pen.restore();
  }
}

function hatch(pen, x, width, place, slope) {
  pen.save();
  pen.beginPath();
  pen.rect(x, place.y, width, place.height);
  pen.clip();
  pen.fillStyle = "rgba(18, 21, 26, .55)";
  pen.fillRect(x, place.y, width, place.height);
  pen.strokeStyle = "rgba(215, 215, 225, .45)";
  pen.lineWidth = 1;
  pen.beginPath();
  // The same lines on the whole map, so that seconds that lie side by side make one pattern.
  for (let c = -place.height - (x % 8); c < width + place.height; c += 8) {
    pen.moveTo(x + c, slope > 0 ? place.y + place.height : place.y);
    pen.lineTo(x + c + place.height, slope > 0 ? place.y : place.y + place.height);
  }
  pen.stroke();
  pen.restore();
}

function line(pen, rows, across, down) {
  pen.strokeStyle = "#ffffff";
  pen.lineWidth = 1.2;
  pen.beginPath();
  let before = null;
  for (const row of rows) {
    if (row.price === null || row.price === undefined) { before = null; continue; }
    const [x, y] = [across(row.epoch), down(row.price)];
    if (before !== null && row.epoch - before <= 2) pen.lineTo(x, y);
    else pen.moveTo(x, y);
    before = row.epoch;
  }
  pen.stroke();
}

function trades(pen, made, start, end, across, down) {
  for (const trade of made) {
    const second = trade.timestamp / 1000;
    if (second < start || second > end) continue;
    pen.fillStyle = trade.is_buyer_maker ? "#ffb59b" : "#8ff0e5";
    pen.beginPath();
    pen.arc(across(second), down(trade.price), Math.min(7, 1.2 + Math.sqrt(trade.price * trade.quantity) / 120), 0, 7);
    pen.fill();
  }
}

function axes(pen, plot, range, start, seconds, across, down) {
  pen.fillStyle = TEXT;
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  const { step, found } = marks(range.low, range.high, Math.max(3, plot.height / 70));
  for (const value of found) pen.fillText(price(value, step), plot.x - 6, Math.min(plot.y + plot.height - 6, Math.max(plot.y + 6, down(value))));
  pen.textAlign = "center";
  pen.textBaseline = "alphabetic";
  const foot = plot.y + plot.height + MARGIN.bottom + MARGIN.strip - 2;
  const apart = [10, 30, 60, 120, 300, 600, 1800].find((one) => (one / seconds) * plot.width > 75) ?? 3600;
  for (let second = Math.ceil(start / apart) * apart; second <= start + seconds; second += apart) {
    if (across(second) > plot.x + plot.width - 24) break; // it would be cut off
    if (across(second) > plot.x + 20) pen.fillText(clock(second), across(second), foot);
  }
  pen.textAlign = "left";
  pen.fillText(`${day(start).slice(5)} UTC`, 2, foot);
}
