// The plots: drawn by uPlot from the points of the chosen setting, when they come into view.
(() => {
  const { data, onChoice } = report;
  const at = Object.fromEntries(data.columns.map((name, place) => [name, place]));
  const AXES = ["batch", "dim", "classes"];
  const charts = document.getElementById("charts");
  const axes = document.getElementById("axes");
  let drawn = [], choice = null, visible = false, stale = true;

  const digits = (value) => Number(value.toPrecision(3)).toString();
  const scaled = (units, base) => (value) => {
    let place = 0;
    while (place < units.length - 1 && Math.abs(value) >= base * units[place][0]) place += 1;
    return `${digits(value / units[place][0])} ${units[place][1]}`;
  };
  const seconds = scaled([[1e-9, "ns"], [1e-6, "µs"], [1e-3, "ms"], [1, "s"]], 1000);
  const bytes = scaled([[1, "B"], [1024, "KiB"], [1048576, "MiB"], [1073741824, "GiB"]], 1024);
  const plain = (value) => value.toLocaleString("en");
  const small = (value) => value.toExponential(0);
  const times = (value) => `${digits(value)}×`;

  // A logarithmic axis gets ticks at 1, 2 and 5 if it is short, and otherwise at powers of ten.
  const logTicks = (low, high) => {
    const steps = high / low < 60 ? [1, 2, 5] : high / low < 3000 ? [1, 3] : [1];
    const found = [];
    for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power += 1) {
      found.push(...steps.map((step) => step * 10 ** power).filter((x) => x >= low && x <= high));
    }
    return found;
  };

  // Bytes have ticks at powers of two.
  const binaryTicks = (low, high) => {
    const by = Math.max(1, Math.round(Math.log2(high / low) / 5));
    const found = [];
    for (let power = Math.ceil(Math.log2(low)); 2 ** power <= high; power += by) found.push(2 ** power);
    return found;
  };

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  // A short axis is widened, so that it has ticks.
  const pad = (low, high, by) => {
    const room = Math.min(Math.max(by, Math.sqrt(8 * low / high)), 2.2);
    return [low / room, high * room];
  };

  // Draw the interval of each visible point, along the axis that carries the times.
  const whiskers = (ends) => (plot) => {
    const { ctx } = plot;
    ctx.save();
    ctx.lineWidth = devicePixelRatio;
    plot.series.forEach((series, place) => {
      if (!place || !series.show) return;
      ctx.strokeStyle = series.stroke();
      plot.data[place].forEach((value, index) => {
        const [low, high] = ends[place]?.[index] ?? [];
        if (value === null || !low || !high) return;
        const x = plot.valToPos(plot.data[0][index], "x", true);
        ctx.beginPath();
        ctx.moveTo(x, plot.valToPos(low, "y", true));
        ctx.lineTo(x, plot.valToPos(high, "y", true));
        ctx.stroke();
      });
    });
    ctx.restore();
  };

  // One line of points per variant over the sorted values of x, with the interval of each.
  const joined = (points, x, y, ends) => {
    const xs = [...new Set(points.map(x))].sort((a, b) => a - b);
    const names = Object.keys(data.variants).filter((name) => points.some((p) => p[at.variant] === name));
    const columns = [], intervals = [null];
    for (const name of names) {
      const mine = new Map(points.filter((p) => p[at.variant] === name).map((p) => [x(p), p]));
      columns.push(xs.map((value) => mine.has(value) ? y(mine.get(value)) : null));
      intervals.push(xs.map((value) => mine.has(value) && ends ? ends(mine.get(value)) : null));
    }
    return { names, table: [xs, ...columns], intervals };
  };

  const draw = ({ title, points, x, y, xText, yText, xLabel, xName, ends, ticks }) => {
    const kept = points.filter((p) => x(p) > 0 && y(p) > 0);
    if (!kept.length) return;
    const { names, table, intervals } = joined(kept, x, y, ends);
    const values = table.slice(1).flat().filter((value) => value !== null);
    const all = [...values, ...intervals.flat().filter(Boolean).flat()].filter((v) => v > 0);
    const ink = css("--ink"), line = css("--line");
    const axis = (text, splits) => ({
      stroke: css("--pale"), font: "12px system-ui", grid: { stroke: line, width: 1 },
      ticks: { stroke: line, width: 1, size: 4 }, splits,
      values: (_, found) => found.map((value) => text(value)), filter: (_, found) => found,
    });
    const figure = document.createElement("figure");
    const caption = document.createElement("figcaption");
    caption.textContent = `${title}, against ${xLabel}`;
    figure.setAttribute("aria-label", `${caption.textContent}; the table of cells has its figures`);
    figure.append(caption);
    charts.append(figure);
    const [xLow, xHigh] = pad(table[0][0], table[0].at(-1), 1.15);
    const [yLow, yHigh] = pad(Math.min(...all), Math.max(...all), 1.2);
    const within = (_, low, high) => low > 0 && high > low ? [low, high] : [xLow, xHigh];
    const plot = new uPlot({
      width: Math.max(260, Math.min(figure.clientWidth, 640)), height: 260,
      padding: [12, 12, 0, 0],
      scales: { x: { time: false, distr: 3, range: within }, y: { distr: 3, range: [yLow, yHigh] } },
      axes: [
        axis(xText, (_, __, low, high) => (ticks ?? logTicks(low, high)).filter((t) => t >= low && t <= high)),
        { ...axis(yText, (_, __, low, high) => (yText === bytes ? binaryTicks : logTicks)(low, high)), size: 68 },
      ],
      series: [
        { label: xName ?? xLabel, value: (_, value) => value === null ? "" : xText(value) },
        ...names.map((name) => {
          const { colour, dash } = data.variants[name];
          return {
            label: name, stroke: colour || ink, width: 1.5, dash, spanGaps: true,
            points: { show: true, size: 7, fill: dash.length ? css("--paper") : colour || ink },
            value: (_, value) => value === null ? "–" : yText(value),
          };
        }),
      ],
      cursor: { drag: { x: true, y: false }, focus: { prox: 24 } },
      focus: { alpha: 0.25 },
      hooks: { draw: [whiskers(intervals)] },
    }, table, figure);
    // The first scale is the data's; a zoom sets another, and a double click this one again.
    plot.setScale("x", { min: xLow, max: xHigh });
    plot.over.addEventListener("dblclick", () => plot.setScale("x", { min: xLow, max: xHigh }));
    drawn.push(plot);
  };

  const step = (p) => p[at.step_seconds];
  // The interval of the speed-up, as a time.
  const timeEnds = (p) => {
    const [middle, low, high] = ["step_speedup", "step_speedup_low", "step_speedup_high"].map((n) => p[at[n]]);
    return middle && low && high ? [step(p) * middle / high, step(p) * middle / low] : null;
  };
  const atSize = (points, size, but) => points.filter((p) =>
    AXES.every((axis, place) => axis === but || p[at[axis]] === size[place]));

  const redraw = () => {
    for (const plot of drawn) plot.destroy();
    drawn = [];
    charts.replaceChildren();
    stale = false;
    const { setting, answer } = choice;
    const chosen = axes.elements.axis.value;
    const others = AXES.filter((axis) => axis !== chosen)
      .map((axis) => `${axis} ${answer.size[AXES.indexOf(axis)]}`).join(", ");
    const along = atSize(setting.points, answer.size, chosen);
    const sizes = [...new Set(along.map((p) => p[at[chosen]]))].sort((a, b) => a - b);
    const against = { points: along, x: (p) => p[at[chosen]], xText: plain, ticks: sizes, xName: chosen, xLabel: `${chosen} at ${others}` };
    draw({ title: "Time of a step", ...against, y: step, yText: seconds, ends: timeEnds });
    draw({ title: "Peak memory", ...against, y: (p) => p[at.step_peak_bytes], yText: bytes });
    draw({ title: "Error", ...against, y: (p) => p[at.error], yText: small });
    const here = atSize(setting.points, answer.size);
    draw({ title: "Peak memory", points: here, x: step, y: (p) => p[at.step_peak_bytes],
      xText: seconds, yText: bytes, xName: "time", xLabel: "time of a step" });
    payOff(here);
  };

  // The total time of compiled variants over that of the fastest eager one, against the steps.
  const payOff = (here) => {
    const isCompiled = (p) => p[at.variant].includes("+");
    const rate = (p) => p[at.step_speedup] ?? 1;
    const eager = here.filter((p) => !isCompiled(p)).sort((a, b) => rate(b) - rate(a))[0];
    if (!eager) return;
    const counts = Array.from({ length: 36 }, (_, place) => 10 ** (place / 5));
    const points = here.filter((p) => isCompiled(p) && p[at.compile_seconds] > 0).flatMap((p) =>
      counts.map((count) => ({ [at.variant]: p[at.variant], count,
        share: (p[at.compile_seconds] / step(eager) / count) + rate(eager) / rate(p) })));
    draw({ title: `Total time of compiled variants over that of ${eager[at.variant]}`, points,
      x: (p) => p.count, y: (p) => p.share, xText: (v) => plain(Math.round(v)), yText: times, xLabel: "steps" });
  };

  const update = () => { stale = true; if (visible && choice) redraw(); };
  onChoice((found) => {
    choice = found;
    axes.hidden = false;
    const spread = (axis) => new Set(atSize(found.setting.points, found.answer.size, axis).map((p) => p[at[axis]])).size;
    const chosen = axes.elements.axis.value;
    if (spread(chosen) < 2) {
      axes.elements.axis.value = AXES.reduce((best, axis) => spread(axis) > spread(best) ? axis : best, chosen);
    }
    update();
  });
  axes.addEventListener("change", update);
  new IntersectionObserver((entries) => {
    visible = entries.at(-1).isIntersecting;
    if (visible && stale && choice) redraw();
  }).observe(document.getElementById("plots"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", update);
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; update(); } });
})();
report.start();
