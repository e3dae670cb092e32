// Which seconds are here: spans [from, to) in order, which do not touch.

export function cover(spans, from, to) {
  const apart = spans.filter(([begin, end]) => end < from || begin > to);
  const joined = spans.filter(([begin, end]) => end >= from && begin <= to);
  const whole = [Math.min(from, ...joined.map(([begin]) => begin)), Math.max(to, ...joined.map(([, end]) => end))];
  return [...apart, whole].sort(([one], [other]) => one - other);
}

// The latest part of [from, to) that is not here, or null.
export function lacking(spans, from, to) {
  for (const [begin, end] of [...spans].reverse()) {
    if (end >= to && begin < to) to = begin;
    else if (end < to) return to > Math.max(from, end) ? [Math.max(from, end), to] : null;
  }
  return to > from ? [from, to] : null;
}

export const within = (spans, from, to) => spans.map(([begin, end]) => [Math.max(begin, from), Math.min(end, to)]).filter(([begin, end]) => begin < end);
