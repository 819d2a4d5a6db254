// Swaps the parts of the page as the system tells of them. Without it the page is loaded anew instead.
"use strict";
(() => {
  const state = document.getElementById("state");
  const pending = new Map();
  let source = null;

  const say = (text, kind) => {
    state.textContent = text;
    state.className = kind;
  };

  // Somebody who marks text, to copy a command, keeps what is marked until it is let go.
  const held = (element) => {
    const marked = document.getSelection();
    return marked && !marked.isCollapsed && element.contains(marked.anchorNode);
  };

  const swap = (name, html) => {
    const element = document.getElementById(name);
    if (!element) return;
    if (held(element)) {
      pending.set(name, html);
      return;
    }
    pending.delete(name);
    const open = new Map();
    for (const one of element.querySelectorAll("details[data-key]")) open.set(one.dataset.key, one.open);
    const focused = document.activeElement;
    const key = focused && element.contains(focused) ? focused.closest("details[data-key]")?.dataset.key : null;
    element.innerHTML = html;
    for (const one of element.querySelectorAll("details[data-key]")) {
      if (open.has(one.dataset.key)) one.open = open.get(one.dataset.key);
      if (key === one.dataset.key) one.querySelector("summary")?.focus({ preventScroll: true });
    }
  };

  const start = () => {
    if (source) return;
    source = new EventSource("/page/events");
    source.addEventListener("open", () => say("live", "on"));
    source.addEventListener("parts", (event) => {
      for (const [name, html] of Object.entries(JSON.parse(event.data))) swap(name, html);
    });
    source.addEventListener("over", () => {
      stop();
      say("your time is over: packhorse page", "off");
    });
    source.addEventListener("error", () => {
      // Closed for good: it may look no more, or too many look. Else the browser tries again by itself.
      const over = source && source.readyState === EventSource.CLOSED;
      say(over ? "not live any more: load the page anew" : "no line; trying again", "off");
      if (over) {
        stop();
        setTimeout(start, 10000);
      }
    });
  };

  const stop = () => {
    source?.close();
    source = null;
  };

  document.addEventListener("selectionchange", () => {
    for (const [name, html] of pending) swap(name, html);
  });
  // Nobody looks at a tab in the background; what changed meanwhile comes at once when somebody does.
  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : start()));
  say("connecting", "");
  if (!document.hidden) start();
})();
