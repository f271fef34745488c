"use strict";
(function () {
  window.addEventListener("beforeprint", function () {
    for (const details of document.querySelectorAll("details")) details.open = true;
  });

  const data = JSON.parse(document.getElementById("data").textContent);
  const slider = document.getElementById("threshold");
  if (!data || !slider) return;

  function write(name, text) {
    const place = document.getElementById("out-" + name);
    if (place) place.textContent = text;
  }

  function share(value) {
    return value === null ? "–" : value.toFixed(4);
  }

  function show() {
    const [threshold, coverage, accuracy, left, baseline] = data.steps[slider.value];
    const shown = threshold.toFixed(threshold > 0.999 ? 6 : 4);
    const people = left.toLocaleString("en");
    write("threshold", shown);
    write("accuracy", share(accuracy));
    write("coverage", share(coverage));
    write("left", people);
    write("baseline", share(baseline));
    slider.setAttribute(
      "aria-valuetext",
      `${shown}: accuracy ${share(accuracy)}, coverage ${share(coverage)}, ${people} items left to people`
    );
    move(coverage, accuracy);
  }

  function move(coverage, accuracy) {
    const plot = data.plot;
    const x = plot.left + plot.width * coverage;
    const part = (Math.max(accuracy, plot.lowest) - plot.lowest) / (1 - plot.lowest);
    const marker = document.getElementById("marker");
    marker.setAttribute("cx", x.toFixed(1));
    marker.setAttribute("cy", (plot.bottom - plot.height * part).toFixed(1));
    const line = document.getElementById("marker-line");
    line.setAttribute("x1", x.toFixed(1));
    line.setAttribute("x2", x.toFixed(1));
  }

  slider.addEventListener("input", show);
  for (const button of document.querySelectorAll("button[data-step]")) {
    button.addEventListener("click", function () {
      slider.value = button.dataset.step;
      show();
    });
  }
  show();
})();
