// One line through all pictures where the pointer is, and its time on the axis.
// The page says everything without it.
for (const lanes of document.querySelectorAll(".lanes")) {
  const duration = Number(lanes.dataset.duration);
  const clock = (s) => {
    const two = (n) => String(Math.floor(n)).padStart(2, "0");
    const rest = two((s / 60) % 60) + ":" + two(s % 60);
    return s < 3600 ? rest.replace(/^0/, "") : Math.floor(s / 3600) + ":" + rest;
  };
  lanes.addEventListener("pointermove", (event) => {
    const picture = event.target.closest(".plot")?.querySelector("svg, .strip, .times");
    if (!picture) return;
    const box = picture.getBoundingClientRect();
    const at = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    lanes.style.setProperty("--at", at);
    lanes.classList.add("pointed");
    for (const times of lanes.querySelectorAll(".times")) {
      times.dataset.at = clock(at * duration);
    }
  });
  lanes.addEventListener("pointerleave", () => lanes.classList.remove("pointed"));
}
