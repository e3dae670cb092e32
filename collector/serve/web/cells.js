// The cells of the depth map: a column an epoch, a row a pixel, as bright as the bucket there is full.

const SHADES = 64;
const NOT_KNOWN = 0xff241d1a; // a bucket beyond the known book, as ABGR

// From dark to bright by how the eye sees it, for both sides alike; told apart without seeing red or green too.
const shades = (hue) => {
  const pen = Object.assign(document.createElement("canvas"), { width: SHADES, height: 1 }).getContext("2d");
  for (let shade = 0; shade < SHADES; shade++) {
    pen.fillStyle = `hsl(${hue} 50% ${8 + (60 * shade) / SHADES}%)`; // where oklch is not known
    pen.fillStyle = `oklch(${0.2 + (0.65 * shade) / SHADES} 0.12 ${hue})`;
    pen.fillRect(shade, 0, 1, 1);
  }
  return new Uint32Array(pen.getImageData(0, 0, SHADES, 1).data.buffer);
};
export const HUES = { bid: 175, ask: 35 };
const COLOURS = { bid: shades(HUES.bid), ask: shades(HUES.ask) };
const sheet = document.createElement("canvas");

// What the brightest shade stands for: 98 of 100 buckets hold less.
export function fullest(rows) {
  const some = rows.length > 200 ? rows.filter((_, number) => number % Math.ceil(rows.length / 200) === 0) : rows;
  const values = Float64Array.from(some.flatMap((row) => [...(row.bid_buckets ?? []), ...(row.ask_buckets ?? [])].filter((one) => one > 0))).sort();
  return values.length ? values[Math.floor(values.length * 0.98)] : 1;
}

// The bucket of a row at a price: its side, number and value, which is null beyond the known book; null between the sides.
export function bucketAt(row, price) {
  for (const [side, sign, best, buckets] of [["bid", -1, row.best_bid, row.bid_buckets], ["ask", 1, row.best_ask, row.ask_buckets]]) {
    if (best === null || !buckets || !row.step_pct) continue;
    const number = Math.floor((sign * Math.log(price / best)) / row.step_pct);
    if (number >= 0 && number < buckets.length) return { side, number, value: buckets[number] };
  }
  return null;
}

// Fills `place` of `pen` with the rows of `seconds` from `start` on. One pixel a second, drawn wide: however many there are, and
// however large the map, it takes some milliseconds.
export function cells(pen, rows, { start, seconds, top, range, place }) {
  const height = Math.max(1, Math.round(place.height * (window.devicePixelRatio || 1)));
  const width = Math.ceil(seconds) + 2;
  [sheet.width, sheet.height] = [width, height];
  const drawing = sheet.getContext("2d");
  const image = drawing.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const logs = Float64Array.from({ length: height }, (_, y) => Math.log(range.high - ((y + 0.5) / height) * (range.high - range.low)));
  const first = Math.floor(start);
  for (const row of rows) {
    const x = row.epoch - 1 - first;
    if (x < 0 || x >= width) continue;
    for (const [sign, best, buckets, colours] of [[-1, row.best_bid, row.bid_buckets, COLOURS.bid], [1, row.best_ask, row.ask_buckets, COLOURS.ask]]) {
      if (best === null || !buckets) continue;
      const [log, step] = [Math.log(best), row.step_pct];
      const shade = buckets.map((value) => (value === null ? NOT_KNOWN : colours[Math.min(SHADES - 1, Math.floor(SHADES * Math.sqrt(value / top)))]));
      for (let y = 0; y < height; y++) {
        const number = Math.floor((sign * (logs[y] - log)) / step);
        if (number >= 0 && number < shade.length) pixels[y * width + x] = shade[number];
      }
    }
  }
  drawing.putImageData(image, 0, 0);
  pen.imageSmoothingEnabled = seconds > place.width;
  const wide = place.width / seconds;
  pen.drawImage(sheet, 0, 0, width, height, place.x - (start - first) * wide, place.y, width * wide, place.height);
}
