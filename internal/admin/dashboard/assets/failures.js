"use strict";

// A checkbox selects a whole page. Buttons are about what is selected, else about all.
for (const form of document.querySelectorAll("form[data-select]")) {
  const all = form.querySelector("[data-all]");
  const boxes = [...form.querySelectorAll('input[name="id"]')];
  const buttons = [...form.querySelectorAll('button[value$=" selected"]')];
  const others = form.querySelectorAll('button[value$=" all"]');
  if (!all) continue;
  const words = buttons.map((button) => button.textContent);
  const show = () => {
    const n = boxes.filter((box) => box.checked).length;
    all.checked = n === boxes.length;
    all.indeterminate = n > 0 && n < boxes.length;
    buttons.forEach((button, i) => {
      button.hidden = n === 0;
      button.textContent = words[i].replace("selected", n + " selected");
    });
    for (const button of others) button.hidden = n > 0;
  };
  all.addEventListener("change", () => {
    for (const box of boxes) box.checked = all.checked;
    show();
  });
  form.addEventListener("change", show);
  all.closest("label").hidden = false;
  show();
}

// Watch a run until it ends.
for (const box of document.querySelectorAll("[data-progress]")) {
  const bar = box.querySelector("progress");
  const text = box.querySelector("[data-text]");
  const watch = async () => {
    try {
      const answer = await fetch(box.dataset.progress);
      const run = await answer.json();
      if (run.ended) {
        location.reload();
        return;
      }
      bar.value = run.done + run.failed;
      text.textContent = run.text;
    } catch {
      // The process may be restarting; try again.
    }
    setTimeout(watch, 500);
  };
  setTimeout(watch, 300);
}
