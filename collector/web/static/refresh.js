// Brings the main part up to date without losing scroll, focus or selection, and says so where it can't.
"use strict";
(() => {
  const body = document.body;
  const everyMs = Number(body.dataset.refresh) * 1000;
  const lost = document.getElementById("lost");
  if (!everyMs) return;
  let lastGood = new Date();

  function selecting() {
    const selection = document.getSelection();
    // A forgotten selection must not keep old figures on the screen.
    return selection && !selection.isCollapsed && Date.now() - lastGood < 60000;
  }

  async function refresh() {
    const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(15000) });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("main");
    if (!fresh) throw new Error("no main part");
    // Another page, such as after the first look: it has parts that this one lacks.
    if (page.body.dataset.refresh !== body.dataset.refresh) return location.reload();
    const main = document.getElementById("main");
    const focused = main.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    for (const details of fresh.querySelectorAll("details[id]")) {
      details.open = document.getElementById(details.id)?.open ?? details.open;
    }
    main.replaceChildren(...fresh.childNodes);
    document.title = page.title;
    if (focused) {
      const again = [...main.querySelectorAll("a")].find((a) => a.getAttribute("href") === focused);
      if (again) again.focus({ preventScroll: true });
    }
  }

  async function turn() {
    if (!document.hidden && !selecting()) {
      try {
        await refresh();
        lastGood = new Date();
        lost.hidden = true;
        body.classList.remove("old");
      } catch {
        const time = lastGood.toLocaleTimeString(document.documentElement.lang, { hour12: false, timeZone: body.dataset.zone });
        const sentence = body.dataset.lost.replace("%", time);
        if (lost.hidden || lost.textContent !== sentence) lost.textContent = sentence;
        lost.hidden = false;
        body.classList.add("old");
      }
    }
    setTimeout(turn, everyMs);
  }

  setTimeout(turn, everyMs);
  document.addEventListener("visibilitychange", () => { if (!document.hidden && Date.now() - lastGood > everyMs) refresh().then(() => { lastGood = new Date(); }, () => {}); });
})();
