// What a page needs beyond htmx: the sheet that says why, rows that turn, the list under the search box, and saying aloud what happened.

const sheet = document.getElementById("why");
document.body.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target.id === "why-body") sheet.showModal();
  if (event.detail.target.id === "suggestions") open(event.detail.target.childElementCount > 0);
});
sheet.addEventListener("click", (event) => {
  if (event.target === sheet) sheet.close(); // the backdrop
});

// ---- rows that turn ----
function turns(row) {
  const cards = row.querySelector(".cards");
  const end = cards.scrollWidth - cards.clientWidth;
  const [back, on] = row.querySelectorAll("[data-turn]");
  row.querySelector(".turn").hidden = end < 2;
  back.disabled = cards.scrollLeft < 2;
  on.disabled = cards.scrollLeft > end - 2;
}
const allTurns = () => document.querySelectorAll(".row").forEach(turns);
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-turn]");
  const cards = button?.closest(".row").querySelector(".cards");
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  cards?.scrollBy({ left: Number(button.dataset.turn) * cards.clientWidth, behavior: calm ? "auto" : "smooth" });
});
document.addEventListener("scroll", (event) => event.target.classList?.contains("cards") && event.target.closest(".row") && turns(event.target.closest(".row")), true);
document.body.addEventListener("htmx:afterSettle", allTurns);
addEventListener("resize", allTurns);
allTurns();

// ---- messages ----
const said = document.getElementById("said");
let hide = 0;
function say(text) {
  said.textContent = text;
  said.classList.add("up");
  clearTimeout(hide);
  hide = setTimeout(() => said.classList.remove("up"), 2600);
}
document.body.addEventListener("said", (event) => say(event.detail.text));
for (const kind of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) document.body.addEventListener(kind, () => say(document.body.dataset.failed));

// ---- the list under the search box: a combobox as the ARIA authoring practices describe it ----
const box = document.getElementById("q");
const list = document.getElementById("suggestions");
const options = () => [...list.querySelectorAll("[role=option]")];
let at = -1;

function open(wanted) {
  const shown = wanted && document.activeElement === box && box.value.trim() !== "";
  list.hidden = !shown;
  box.setAttribute("aria-expanded", String(shown));
  select(-1);
}
function select(index) {
  at = index;
  options().forEach((option, number) => option.setAttribute("aria-selected", String(number === index)));
  const chosen = options()[index];
  if (chosen) box.setAttribute("aria-activedescendant", chosen.id);
  else box.removeAttribute("aria-activedescendant");
}
box.addEventListener("keydown", (event) => {
  const count = options().length;
  if (event.key === "Escape" && !list.hidden) {
    open(false);
    event.preventDefault();
  } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && count && !list.hidden) {
    const step = event.key === "ArrowDown" ? 1 : -1;
    select((at + step + (at < 0 && step < 0 ? count + 1 : count)) % count);
    event.preventDefault();
  } else if (event.key === "Enter" && at >= 0 && !list.hidden) {
    event.preventDefault();
    options()[at].click();
  }
});
box.addEventListener("focus", () => open(list.childElementCount > 0));
document.addEventListener("focusin", (event) => event.target.closest(".find") || open(false));
document.addEventListener("pointerdown", (event) => event.target.closest(".find") || open(false));
