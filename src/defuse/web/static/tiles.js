// The samples of a region: a grid of toggles; a crossed-out one does not belong.

const FIRST = 24;

export class Tiles {
  constructor(grid, more, count) {
    this.grid = grid;
    this.more = more;
    this.count = count;
    this.images = [];
    this.buttons = [];
    more.addEventListener("click", () => this.add(FIRST));
    grid.addEventListener("keydown", (event) => this.key(event));
  }

  get shown() {
    return this.buttons.map((_, place) => place);
  }

  get crossed() {
    return this.shown.filter((place) => this.buttons[place].ariaPressed === "true");
  }

  fill(images, region) {
    this.images = images;
    this.region = region;
    this.buttons = [];
    this.grid.replaceChildren();
    this.tell();
    this.add(FIRST);
  }

  add(count) {
    const first = this.buttons.length;
    for (let place = first; place < Math.min(first + count, this.images.length); place++) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "tile";
      button.ariaPressed = "false";
      button.ariaLabel = `Sample ${place + 1}: does not belong`;
      button.tabIndex = place === 0 ? 0 : -1;
      const image = document.createElement("img");
      image.src = `/images/${this.images[place]}`;
      image.alt = "";
      image.draggable = false;
      button.append(image);
      button.addEventListener("click", () => this.toggle(button));
      this.buttons.push(button);
    }
    this.grid.append(...this.buttons.slice(first));
    const left = this.images.length - this.buttons.length;
    this.more.hidden = left === 0;
    this.more.textContent = `Show ${Math.min(FIRST, left)} more of ${this.images.length} samples`;
    if (first > 0) this.focus(first);
  }

  enter() {
    this.focus(this.buttons.findIndex((button) => button.tabIndex === 0));
  }

  toggle(button) {
    button.ariaPressed = button.ariaPressed === "true" ? "false" : "true";
    this.tell();
  }

  tell() {
    const crossed = this.crossed.length;
    this.count.textContent = crossed ? `${crossed} crossed out.` : "";
  }

  focus(place) {
    if (!this.buttons[place]) return;
    for (const button of this.buttons) button.tabIndex = -1;
    this.buttons[place].tabIndex = 0;
    this.buttons[place].focus();
  }

  key(event) {
    const place = this.buttons.indexOf(event.target);
    if (place < 0) return;
    const columns = getComputedStyle(this.grid).gridTemplateColumns.split(" ").length;
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
    if (step !== undefined) this.focus(place + step);
    else if (event.key === "x") this.toggle(event.target);
    else if (event.key === "Escape") event.target.blur();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
