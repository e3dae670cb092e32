// Pointer, wheel and keys on the map. `act` has move(seconds), zoom(factor), live(), point(x, y) and leave().

export function hands(canvas, span, act) {
  const perPixel = () => span() / canvas.clientWidth;
  const held = new Map(); // pointers, by their id
  canvas.addEventListener("pointerdown", (event) => {
    held.set(event.pointerId, event.clientX);
    canvas.setPointerCapture(event.pointerId);
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => held.delete(event.pointerId));
  canvas.addEventListener("pointermove", (event) => {
    const before = held.get(event.pointerId);
    if (before !== undefined && held.size === 2) {
      const [other] = [...held].filter(([id]) => id !== event.pointerId).map(([, x]) => x);
      if (Math.abs(event.clientX - other) > 20) act.zoom(Math.abs(before - other) / Math.abs(event.clientX - other));
    } else if (before !== undefined) act.move((before - event.clientX) * perPixel());
    if (before !== undefined) held.set(event.pointerId, event.clientX);
    act.point(event.offsetX, event.offsetY);
  });
  canvas.addEventListener("click", (event) => act.point(event.offsetX, event.offsetY));
  canvas.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") act.leave(); });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (event.ctrlKey || event.shiftKey) act.zoom((event.deltaY || event.deltaX) > 0 ? 1.2 : 1 / 1.2);
    else act.move((Math.abs(event.deltaX) > Math.abs(event.deltaY) ? event.deltaX : event.deltaY) * perPixel());
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const done = {
      ArrowLeft: () => act.move(-span() / 10), ArrowRight: () => act.move(span() / 10), PageUp: () => act.move(-span()), PageDown: () => act.move(span()),
      "+": () => act.zoom(1 / 1.5), "=": () => act.zoom(1 / 1.5), "-": () => act.zoom(1.5), End: act.live, Escape: act.leave,
    }[event.key];
    if (!done) return;
    event.preventDefault();
    done();
  });
}
