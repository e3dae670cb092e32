// The list of markets: those that are collected now, and those of which something is stored.

const name = ({ exchange, symbol }) => `${exchange}/${symbol}`;

export class Markets {
  constructor(select) {
    this.select = select;
    this.collected = [];
    this.stored = [];
    this.drawn = "";
  }

  // Takes what was told; what is left out stays as it was.
  update({ collected = this.collected, stored = this.stored }) {
    [this.collected, this.stored] = [collected, stored];
    const here = new Map(collected.map((one) => [name(one), one]));
    const was = new Map(stored.filter((one) => !here.has(name(one))).map((one) => [name(one), one]));
    const drawn = JSON.stringify([[...here.keys()], [...was.keys()]]);
    if (drawn === this.drawn) return; // a list that somebody has opened stays open
    this.drawn = drawn;
    const chosen = this.select.value;
    this.select.replaceChildren(...[["collected now", here], ["stored", was]].filter(([, found]) => found.size).map(([title, found]) => {
      const group = Object.assign(document.createElement("optgroup"), { label: title });
      group.append(...[...found.values()].map((one) => new Option(`${one.symbol} ${one.exchange}`, name(one))));
      return group;
    }));
    this.select.value = chosen;
    this.select.hidden = this.size === 0;
  }

  get size() {
    return this.select.options.length;
  }

  find(wanted) {
    return [...this.collected, ...this.stored].find((one) => name(one) === wanted);
  }

  get first() {
    return this.find(this.select.options[0]?.value);
  }

  show(market) {
    this.select.value = name(market);
  }
}
