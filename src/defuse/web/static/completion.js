// A class by a part of its name: a combobox after the ARIA authoring practices.

const MOST = 8;

export class Completion {
  constructor(field, list, choose) {
    this.field = field;
    this.list = list;
    this.choose = choose;
    this.classes = [];
    this.found = [];
    this.active = -1;
    field.addEventListener("input", () => this.search());
    field.addEventListener("keydown", (event) => this.key(event));
    field.addEventListener("blur", () => this.close());
    list.addEventListener("pointerdown", (event) => event.preventDefault()); // keeps the focus in the field
    list.addEventListener("click", (event) => {
      const option = event.target.closest("li");
      if (option) this.take(this.found[[...list.children].indexOf(option)]);
    });
  }

  focus(text) {
    this.field.value = text;
    this.field.focus();
    this.search();
  }

  clear() {
    this.field.value = "";
    this.close();
    if (document.activeElement === this.field) this.field.blur();
  }

  search() {
    const text = fold(this.field.value.trim());
    this.found = text === "" ? [] : rank(this.classes, text).slice(0, MOST);
    this.list.replaceChildren(...this.found.map((label, place) => this.option(label, place)));
    this.move(this.found.length ? 0 : -1);
    this.open(this.found.length > 0);
  }

  option(label, place) {
    const item = document.createElement("li");
    item.id = `option-${place}`;
    item.role = "option";
    for (const image of this.classes[label].images.slice(0, 1)) {
      const picture = document.createElement("img");
      picture.src = `/images/${image}`;
      picture.alt = "";
      item.append(picture);
    }
    const name = document.createElement("span");
    name.textContent = this.classes[label].name;
    item.append(name);
    return item;
  }

  move(place) {
    this.active = place;
    [...this.list.children].forEach((item, at) => {
      item.ariaSelected = String(at === place);
    });
    if (place < 0) this.field.removeAttribute("aria-activedescendant");
    else {
      this.field.setAttribute("aria-activedescendant", `option-${place}`);
      this.list.children[place].scrollIntoView({ block: "nearest" });
    }
  }

  open(open) {
    this.list.hidden = !open;
    this.field.ariaExpanded = String(open);
  }

  close() {
    this.open(false);
    this.move(-1);
  }

  take(label) {
    if (label !== undefined) this.choose(label);
  }

  key(event) {
    const count = this.found.length;
    if (event.key === "Enter") this.take(this.found[this.active]);
    else if (event.key === "ArrowDown" && count) this.move((this.active + 1) % count);
    else if (event.key === "ArrowUp" && count) this.move((this.active + count - 1) % count);
    else if (event.key === "Escape") this.clear();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

const fold = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLocaleLowerCase();

// The name itself, then names that start so, then words that do, then any part.
function rank(classes, text) {
  const quality = (name) => {
    if (name === text) return 0;
    if (name.startsWith(text)) return 1;
    if (name.split(/[^\p{L}\p{N}]+/u).some((word) => word.startsWith(text))) return 2;
    return name.includes(text) ? 3 : 4;
  };
  return classes
    .map(({ name }, label) => [quality(fold(name.trim())), label])
    .filter(([rated]) => rated < 4)
    .sort((one, other) => one[0] - other[0] || one[1] - other[1])
    .map(([, label]) => label);
}
