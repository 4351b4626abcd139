// Reloads what changed on the page when the server says that something did. The page works without it.
"use strict";

(() => {
  const live = document.getElementById("live");
  let reloading = false;
  let again = false;

  const say = (text, state) => {
    live.textContent = text;
    live.dataset.state = state;
  };

  const replace = (fresh) => {
    for (const part of document.querySelectorAll("[data-live]")) {
      const next = fresh.getElementById(part.id);
      const busy = part.contains(document.activeElement) || holdsSelection(part);
      if (next && !busy && next.innerHTML !== part.innerHTML) {
        part.replaceChildren(...next.childNodes);
      }
    }
    document.title = fresh.title;
    addCopyButtons();
  };

  // What somebody is reading with the keyboard or copying stays where it is.
  const holdsSelection = (part) => {
    const selection = document.getSelection();
    return selection && !selection.isCollapsed && part.contains(selection.anchorNode);
  };

  const reload = async () => {
    if (reloading) {
      again = true;
      return;
    }
    reloading = true;
    try {
      const answer = await fetch(location.pathname + location.search, { headers: { Accept: "text/html" } });
      if (answer.ok || answer.status === 404) {
        replace(new DOMParser().parseFromString(await answer.text(), "text/html"));
        say("Live", "live");
      }
    } catch {
      say("Offline: shows the last known state", "offline");
    }
    reloading = false;
    if (again) {
      again = false;
      reload();
    }
  };

  const addCopyButtons = () => {
    if (!navigator.clipboard) return;
    for (const block of document.querySelectorAll(".copy")) {
      if (block.querySelector("button")) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "Copy";
      button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(block.querySelector("code").textContent);
        button.textContent = "Copied";
        setTimeout(() => { button.textContent = "Copy"; }, 1500);
      });
      block.append(button);
    }
  };

  // A select filters at once; text fields wait for Enter.
  const form = document.querySelector("form.filter");
  if (form) {
    for (const select of form.querySelectorAll("select")) {
      select.addEventListener("change", () => form.requestSubmit());
    }
    form.addEventListener("submit", () => {
      for (const field of form.elements) {
        if (field.name && (field.value === "" || (field.name === "state" && field.value === "open"))) field.disabled = true;
      }
    });
    const enable = () => {
      for (const field of form.elements) field.disabled = false;
    };
    form.addEventListener("submit", () => setTimeout(enable, 0));
    window.addEventListener("pageshow", enable);
  }

  addCopyButtons();
  const events = new EventSource("/events");
  events.addEventListener("changed", reload);
  events.addEventListener("error", () => say("Offline: shows the last known state", "offline"));
})();
