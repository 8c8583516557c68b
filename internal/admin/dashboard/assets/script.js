"use strict";

// Ages and times in the reader's own time zone.

function ago(seconds) {
  if (seconds < 5) return "just now";
  if (seconds < 60) return Math.floor(seconds) + " s ago";
  if (seconds < 3600) return Math.floor(seconds / 60) + " min ago";
  if (seconds < 48 * 3600) return Math.floor(seconds / 3600) + " h ago";
  return Math.floor(seconds / 86400) + " days ago";
}

function showTimes() {
  for (const time of document.querySelectorAll("time[data-ago]")) {
    const at = new Date(time.dateTime);
    const text = ago((Date.now() - at) / 1000);
    if (time.textContent !== text) time.textContent = text;
    time.title = at.toLocaleString();
  }
}

// Videos play in place, one at a time. Without scripts they have the browser's controls.

function prepare(root) {
  for (const video of root.querySelectorAll(".card-media video")) {
    video.controls = false;
    const play = document.createElement("button");
    play.type = "button";
    play.className = "play";
    const name = video.closest("[data-job]")?.querySelector(".card-name")?.textContent;
    play.setAttribute("aria-label", name ? "Play: " + name : "Play the video");
    play.addEventListener("click", () => {
      video.closest(".card-media").querySelector(".card-length")?.remove();
      play.remove();
      video.controls = true;
      video.play().catch(() => {}); // The browser shows why.
      video.focus();
    });
    video.after(play);
  }
}

document.addEventListener("play", (event) => {
  for (const video of document.querySelectorAll("video")) {
    if (video !== event.target) video.pause();
  }
}, true);

// Live updates. The server renders parts of a page again; each part that changed is
// replaced in place, so that nothing else moves.

const seen = new WeakMap(); // the HTML of each part, as the server sent it

function htmlOf(part) {
  const copy = part.cloneNode(true);
  for (const time of copy.querySelectorAll("time[data-ago]")) {
    time.textContent = "";
    time.removeAttribute("title");
  }
  return copy.innerHTML;
}

function remember(root) {
  for (const part of root.querySelectorAll("[data-part]")) seen.set(part, htmlOf(part));
}

// inUse reports whether the reader has selected text in a part.
function inUse(part) {
  const selection = document.getSelection();
  return selection && !selection.isCollapsed && selection.containsNode(part, true);
}

// replace replaces a part and keeps the focus and the open details within it.
function replace(part, fresh) {
  const focused = part.contains(document.activeElement) ? document.activeElement : null;
  const keys = (root) => [...root.querySelectorAll("a, button, summary, video, input, [tabindex]")];
  const place = focused ? keys(part).indexOf(focused) : -1;
  const open = new Set([...part.querySelectorAll("details[open][data-key]")].map((details) => details.dataset.key));
  for (const details of fresh.querySelectorAll("details[data-key]")) {
    if (open.has(details.dataset.key)) details.open = true;
  }
  const html = htmlOf(fresh);
  part.replaceWith(fresh);
  seen.set(fresh, html);
  prepare(fresh);
  if (place >= 0) keys(fresh)[place]?.focus({ preventScroll: true });
}

// A form that is being sent decides what the reader sees next.
let leaving = false;
addEventListener("submit", () => { leaving = true; });
addEventListener("pageshow", () => { leaving = false; });

function reload() {
  if (!leaving) location.reload();
}

async function update(url) {
  const answer = await fetch(url, { headers: { Accept: "text/html" } });
  if (answer.status === 404) reload(); // The job was deleted.
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const known = new Map();
  for (const part of document.querySelectorAll("[data-part]")) known.set(part.dataset.part, part);
  let found = false;
  for (const fresh of page.querySelectorAll("[data-part]")) {
    const part = known.get(fresh.dataset.part);
    found = found || Boolean(part) && fresh.dataset.part !== "nav-failures"; // which every page has
    if (!part || seen.get(part) === htmlOf(fresh) || inUse(part)) continue;
    replace(part, document.importNode(fresh, true));
  }
  if (!found) reload(); // The page has changed.
  showTimes();
}

// Live updates the parts of a page.
class Live {
  constructor(root) {
    this.url = root.dataset.live;
    this.root = root;
    this.changed = new Set(); // ids of jobs
    this.waiting = this.busy = false;
  }

  // note records that a job changed or, without an id, that any job may have.
  note(id) {
    const shown = this.shown();
    if (shown.length === 0) {
      const only = this.root.dataset.jobPage;
      if (only !== undefined && id && id !== only) return;
    } else if (!id) {
      shown.forEach((each) => this.changed.add(each));
    } else if (shown.includes(id)) {
      this.changed.add(id);
    }
    this.schedule();
  }

  // erase shows that a job was deleted.
  erase(id) {
    for (const card of this.root.querySelectorAll("[data-job]")) {
      if (card.dataset.job !== id) continue;
      card.querySelector(".states").textContent = "Erased";
      card.querySelector("video")?.pause();
      card.classList.add("erased");
      card.inert = true;
    }
    this.note(id);
  }

  shown() {
    return [...this.root.querySelectorAll("[data-job]")].map((card) => card.dataset.job);
  }

  schedule() {
    if (this.waiting || this.busy) {
      this.again = true;
      return;
    }
    this.waiting = true;
    setTimeout(() => this.run(), 500);
  }

  async run() {
    this.waiting = this.again = false;
    this.busy = true;
    const url = new URL(this.url, location.href);
    for (const id of [...this.changed].slice(0, 24)) { // keeps the URL short
      this.changed.delete(id);
      url.searchParams.append("job", id);
    }
    try {
      await update(url);
    } catch {
      // The network failed; the stream reconnects and requests everything.
    }
    this.busy = false;
    if (this.again || this.changed.size > 0) this.schedule();
  }
}

function connect(live) {
  let stream = null;
  const open = () => {
    if (stream || document.hidden) return;
    stream = new EventSource(document.body.dataset.prefix + "/api/v1/stream");
    stream.addEventListener("open", () => live.note(""));
    stream.addEventListener("reset", () => live.note(""));
    stream.addEventListener("error", () => {
      if (stream?.readyState !== EventSource.CLOSED) return; // The browser reconnects.
      stream = null;
      setTimeout(open, 2000);
    });
    stream.addEventListener("job", (event) => live.note(JSON.parse(event.data).id));
    stream.addEventListener("deleted", (event) => live.erase(JSON.parse(event.data).id));
  };
  // Browsers allow few connections to a host: a hidden page needs none.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden && stream) {
      stream.close();
      stream = null;
    } else {
      open();
    }
  });
  addEventListener("pagehide", () => stream?.close());
  open();
}

remember(document);
prepare(document);
showTimes();
setInterval(showTimes, 5000);

for (const root of document.querySelectorAll("[data-live]")) {
  const live = new Live(root);
  if ("stream" in root.dataset) connect(live);
  // The stream does not have everything that pages show.
  if (root.dataset.poll) setInterval(() => document.hidden || live.schedule(), root.dataset.poll * 1000);
}

// What a form did is said once, and not again when the page is reloaded.
const address = new URL(location.href);
if (address.searchParams.has("done")) {
  address.searchParams.delete("done");
  address.searchParams.delete("n");
  history.replaceState(null, "", address);
}

// A choice in the filters takes effect at once.
for (const select of document.querySelectorAll(".filters select")) {
  select.addEventListener("change", () => select.form.requestSubmit());
}

// The selected tab is in view, and a job leads back to the list that it was opened from.
document.querySelector(".tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
const back = document.querySelector("a[data-back]");
if (document.querySelector(".tabs")) sessionStorage.setItem("jobs", location.href);
if (back) back.href = sessionStorage.getItem("jobs") ?? back.href;

// Escape, or a click elsewhere, closes an open menu.
function closeMenus(event) {
  for (const menu of document.querySelectorAll("details.erase[open]")) {
    if (event.type === "click" ? menu.contains(event.target) : event.key !== "Escape") continue;
    if (menu.contains(document.activeElement)) menu.querySelector("summary").focus();
    menu.open = false;
  }
}
addEventListener("keydown", closeMenus);
addEventListener("click", closeMenus);
