// Draws the depth map: a column an epoch, a cell a bucket, as bright as the bucket is full.

const MARGIN = { left: 70, bottom: 22, strip: 6 };
const GRADES = { ok: "#66c2a5", degraded: "#e69f00", bad: "#ef5a5a" };

export function draw(canvas, view) {
  const scale = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (canvas.width !== width * scale || canvas.height !== height * scale) {
    [canvas.width, canvas.height] = [width * scale, height * scale];
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  const end = view.end ?? view.last;
  // A market that is young fills the width too.
  const seconds = view.first === null ? view.seconds : Math.min(view.seconds, Math.max(60, view.last - view.first + 2));
  const start = end - seconds;
  const rows = [...view.epochs.values()].filter((row) => row.epoch > start - 1 && row.epoch <= end + 1);
  const range = prices(rows);
  pen.font = "11px system-ui, sans-serif";
  pen.fillStyle = "#8a8f98";
  if (!range) {
    pen.textAlign = "left";
    pen.font = "13px system-ui, sans-serif";
    pen.fillText(nothing(view), 12, 24);
    return;
  }
  const plot = { x: MARGIN.left, y: 4, width: width - MARGIN.left - 4, height: height - MARGIN.bottom - MARGIN.strip - 8 };
  const across = (second) => plot.x + ((second - start) / seconds) * plot.width;
  const down = (price) => plot.y + ((range.high - price) / (range.high - range.low)) * plot.height;
  const column = Math.max(1, plot.width / seconds) + 0.5;

  pen.save();
  pen.beginPath();
  pen.rect(plot.x, plot.y, plot.width, plot.height + MARGIN.strip + 4);
  pen.clip();
  const top = fullest(rows);
  for (const row of rows) {
    cells(pen, row, row.best_bid, row.bid_buckets, -1, top, across(row.epoch - 1), column, down);
    cells(pen, row, row.best_ask, row.ask_buckets, 1, top, across(row.epoch - 1), column, down);
  }
  for (const row of rows) if (!row.valid) hatch(pen, across(row.epoch - 1), column, plot);
  for (const gap of view.gaps) {
    const to = gap.to_ns === null ? end : gap.to_ns / 1e9;
    if (to <= start || gap.from_ns / 1e9 >= end) continue;
    // A gap of the book takes the whole height; one of another stream a band at the foot.
    const place = gap.stream === "depth" ? plot : { y: plot.y + plot.height - 16, height: 16 };
    hatch(pen, across(gap.from_ns / 1e9), Math.max(2, across(to) - across(gap.from_ns / 1e9)), place);
  }
  line(pen, rows, across, down);
  trades(pen, view.trades.values(), start, end, across, down);
  for (const row of rows) {
    pen.fillStyle = GRADES[row.grade ?? view.grades.get(row.epoch)] ?? (row.valid ? "#3c5f55" : "#5f3c3c");
    pen.fillRect(across(row.epoch - 1), plot.y + plot.height + 4, column, MARGIN.strip);
  }
  pen.restore();
  axes(pen, plot, range, start, seconds, across, down);
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

function fullest(rows) {
  const values = rows.flatMap((row) => [...(row.bid_buckets ?? []), ...(row.ask_buckets ?? [])].filter((one) => one > 0));
  values.sort((a, b) => a - b);
  return values.length ? values[Math.floor(values.length * 0.98)] : 1;
}

function cells(pen, row, best, buckets, sign, top, x, width, down) {
  if (best === null || !buckets) return;
  const step = row.step_pct;
  buckets.forEach((value, number) => {
    const [from, to] = [best * Math.exp(sign * number * step), best * Math.exp(sign * (number + 1) * step)];
    const [y, bottom] = [Math.min(down(from), down(to)), Math.max(down(from), down(to))];
    if (value === null) pen.fillStyle = "#1a1d24";
    else {
      const light = 8 + 52 * Math.min(1, Math.sqrt(value / top));
      pen.fillStyle = sign < 0 ? `hsl(158 54% ${light}%)` : `hsl(357 50% ${light}%)`;
    }
    pen.fillRect(x, y, width, Math.max(1, bottom - y));
  });
}

function hatch(pen, x, width, plot) {
  pen.save();
  pen.beginPath();
  pen.rect(x, plot.y, width, plot.height);
  pen.clip();
  pen.fillStyle = "rgba(18, 21, 26, .55)";
  pen.fillRect(x, plot.y, width, plot.height);
  pen.strokeStyle = "rgba(200, 200, 210, .35)";
  pen.lineWidth = 1;
  pen.beginPath();
  for (let y = plot.y; y < plot.y + plot.height + width; y += 8) {
    pen.moveTo(x, y);
    pen.lineTo(x + width, y - width);
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
    pen.fillStyle = trade.is_buyer_maker ? "rgba(255, 155, 155, .8)" : "rgba(143, 240, 197, .8)";
    pen.beginPath();
    pen.arc(across(second), down(trade.price), Math.min(7, 1.2 + Math.sqrt(trade.price * trade.quantity) / 120), 0, 7);
    pen.fill();
  }
}

function axes(pen, plot, range, start, seconds, across, down) {
  pen.fillStyle = "#8a8f98";
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  const digits = Math.max(0, Math.min(8, 1 - Math.floor(Math.log10((range.high - range.low) / 6))));
  for (let mark = 0; mark <= 6; mark++) {
    const price = range.low + ((range.high - range.low) * mark) / 6;
    pen.fillText(price.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }), plot.x - 6, Math.max(plot.y + 6, down(price)));
  }
  pen.textAlign = "center";
  pen.textBaseline = "alphabetic";
  const step = [10, 30, 60, 120, 300, 600, 1800].find((one) => (one / seconds) * plot.width > 75) ?? 3600;
  for (let second = Math.ceil(start / step) * step; second <= start + seconds; second += step) {
    if (across(second) > plot.x + plot.width - 24) break; // it would be cut off
    pen.fillText(new Date(second * 1000).toISOString().slice(11, 19), across(second), plot.y + plot.height + MARGIN.bottom + MARGIN.strip);
  }
}
