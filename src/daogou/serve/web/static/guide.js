// The conversation with the guide: the panel, answers that stream in, and photos that are made small before they are sent.

const SIDE = 1024; // pixels of the longer side of a photo that is sent: no encoder looks closer
const MOST_BYTES = 10 * 2 ** 20;
const WAIT_MS = 30_000;

const panel = document.getElementById("guide"); // the conversation's own page has none
const opener = document.getElementById("guide-open");
const wide = matchMedia("(min-width: 60rem)");
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const chat = () => document.getElementById("chat");
const part = (selector) => chat().querySelector(selector);

// ---- the panel ----
document.body.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target.id === "guide-body") open();
  if (event.detail.target.id === "chat" || event.detail.elt?.id === "chat") part(".chat-text")?.focus();
});
function open() {
  if (!panel.open) {
    if (wide.matches) panel.show();
    else panel.showModal();
  }
  remember(true);
  part(".chat-log").scrollTop = 1e6;
  if (wide.matches) part(".chat-text").focus();
  else part(".chat-log").focus(); // the keyboard of a phone would hide what was said
}
function remember(isOpen) {
  try {
    if (isOpen) sessionStorage.setItem("guide", "open");
    else sessionStorage.removeItem("guide");
  } catch {
    // a browser that keeps nothing: the panel is closed on the next page
  }
}
panel?.addEventListener("close", () => {
  remember(false);
  opener.focus();
});
panel?.addEventListener("click", (event) => event.target === panel && panel.close());
panel?.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && panel.open) panel.close();
});
try {
  if (panel && wide.matches && sessionStorage.getItem("guide") === "open") htmx.ajax("GET", "/guide", { target: "#guide-body", swap: "innerHTML" });
} catch {
  // as above
}

// ---- a photo ----
let photo = null; // what will be sent: the chosen photo, made small
document.addEventListener("change", async (event) => {
  if (!event.target.matches(".chat-form input[type=file]")) return;
  const [file] = event.target.files;
  event.target.value = "";
  if (!file) return;
  try {
    if (file.size > MOST_BYTES) throw new RangeError();
    const image = await createImageBitmap(file);
    photo = await smaller(image);
    draw(part(".chat-photo canvas"), image);
    part(".chat-photo").hidden = false;
    part(".chat-text").focus();
  } catch (error) {
    drop();
    fail(error instanceof RangeError ? chat().dataset.large : chat().dataset.photo);
  }
});
document.addEventListener("click", (event) => event.target.closest("[data-photo-drop]") && drop());
function drop() {
  photo = null;
  part(".chat-photo").hidden = true;
}
function smaller(image) {
  const scale = Math.min(1, SIDE / Math.max(image.width, image.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(image.width * scale));
  canvas.height = Math.max(1, Math.round(image.height * scale));
  const paint = canvas.getContext("2d");
  paint.fillStyle = "#fff"; // what is transparent
  paint.fillRect(0, 0, canvas.width, canvas.height);
  paint.drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((done, failed) => canvas.toBlob((blob) => (blob ? done(blob) : failed(new Error("no photo"))), "image/jpeg", 0.88));
}
function draw(canvas, image) {
  const side = Math.min(image.width, image.height);
  const corner = [(image.width - side) / 2, (image.height - side) / 2];
  canvas.getContext("2d").drawImage(image, ...corner, side, side, 0, 0, canvas.width, canvas.height);
}

// ---- a turn ----
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("form[data-guide]")) return;
  event.preventDefault();
  const body = new FormData(form);
  body.delete("photo");
  const pressed = event.submitter;
  if (pressed?.name) body.set(pressed.name, pressed.value);
  const typed = form.matches(".chat-form");
  if (typed && photo) body.set("photo", photo, "photo.jpg");
  const said = pressed?.dataset.said ?? (body.get("text") ?? "").toString().trim();
  if (chat().getAttribute("aria-busy") === "true" || !(said || body.has("photo"))) return;
  turn(body, said, typed);
});

async function turn(body, said, typed) {
  const made = begun(said, body.has("photo"));
  const draft = part(".chat-text").value;
  if (typed) {
    part(".chat-text").value = "";
    drop();
  }
  chat().setAttribute("aria-busy", "true");
  try {
    await ask(body, made);
  } catch (error) {
    made.querySelector(".bubble:not(.mine)").remove();
    if (typed && !part(".chat-text").value) part(".chat-text").value = draft; // nothing that was typed is lost
    fail(error.name === "Kind" ? error.message : chat().dataset.away);
  } finally {
    made.querySelector(".waiting")?.classList.remove("waiting");
    chat().removeAttribute("aria-busy");
    if (!document.activeElement || document.activeElement === document.body) part(".chat-text").focus({ preventScroll: true }); // the pressed button is gone
  }
}

function begun(said, withPhoto) {
  const made = document.getElementById("chat-turn").content.firstElementChild.cloneNode(true);
  const [words, canvas] = [made.querySelector(".mine p"), made.querySelector("canvas")];
  words.textContent = said;
  words.hidden = !said;
  if (withPhoto) {
    const shown = part(".chat-photo canvas");
    canvas.getContext("2d").drawImage(shown, 0, 0, canvas.width, canvas.height);
    canvas.hidden = false;
  } else canvas.remove();
  for (const old of chat().querySelectorAll(".chat-failed, .chat-log > .options")) old.remove();
  part(".chat-log").append(made);
  lookAt(made);
  return made;
}
function lookAt(element) {
  // Only what is meant to scroll does: `scrollIntoView` would move the panel's own frame too.
  const log = part(".chat-log");
  const behavior = calm.matches ? "auto" : "smooth";
  if (panel?.contains(log)) log.scrollTo({ top: element.offsetTop - 12, behavior });
  else element.scrollIntoView({ block: "start", behavior });
}

async function ask(body, made) {
  const headers = { accept: "text/event-stream", "x-csrftoken": body.get("_csrf_token") };
  const answer = await fetch("/guide", { method: "POST", body, headers, signal: AbortSignal.timeout(WAIT_MS) });
  if (!answer.ok || !answer.headers.get("content-type")?.startsWith("text/event-stream")) throw kind(await reasonOf(answer));
  const [text, found, asked] = [made.querySelector(".waiting p"), made.querySelector(".found"), made.querySelector(".asked")];
  let [pieces, done] = [0, false];
  const on = {
    understood: ({ html }) => fill(document.getElementById("chat-chips"), html),
    reply: (piece) => {
      const word = document.createElement("span");
      word.className = "piece";
      word.style.animationDelay = `${Math.min(pieces++ * 22, 600)}ms`;
      word.textContent = piece.text;
      text.parentElement.classList.remove("waiting");
      text.append(word);
    },
    items: ({ html }) => fill(found, html),
    question: ({ html }) => {
      for (const old of chat().querySelectorAll(".asked")) old.replaceChildren();
      fill(asked, html);
    },
    done: () => {
      done = true;
      lookAt(made); // now there is enough below it to bring it to the top
    },
  };
  for await (const { name, data } of events(answer.body)) on[name]?.(data);
  if (!pieces) text.parentElement.remove();
  if (!done) throw kind(chat().dataset.away);
}
async function reasonOf(answer) {
  if (answer.headers.get("content-type")?.startsWith("application/json")) return (await answer.json()).text ?? chat().dataset.away;
  const { large, stale, busy, away } = chat().dataset;
  return { 403: stale, 413: large, 429: busy, 503: busy }[answer.status] ?? away;
}
function kind(message) {
  const error = new Error(message);
  error.name = "Kind";
  return error;
}
function fill(into, html) {
  into.innerHTML = html; // a template of our own server, which escapes whatever is data
  htmx.process(into);
}
function fail(message) {
  part(".chat-failed")?.remove();
  const line = document.createElement("p");
  line.className = "chat-failed";
  line.setAttribute("role", "alert");
  part(".chat-log").append(line);
  line.textContent = message;
  lookAt(line);
}

async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const name = /^event: (.*)$/m.exec(block)?.[1];
      const data = /^data: (.*)$/m.exec(block)?.[1];
      if (name && data) yield { name, data: JSON.parse(data) };
    }
  }
}
