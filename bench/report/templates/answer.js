"use strict";
// The answer: pick a loss and a setting, and show what choose recommends there. The choice stands
// in the address, as in #loss=arcface&batch=256, so that it can be linked.
const report = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const picker = byId("picker");
  const FIELDS = ["loss", "dtype", "device", "data", "machine"];
  const SIZES = ["batch", "dim", "classes"];
  const listeners = [];
  const unique = (values) => [...new Set(values)];
  const sizeText = ([batch, dim, classes]) => `${batch}×${dim}, C=${classes}`;

  // The distance of a size from the wanted one, on a logarithmic scale.
  const distance = (size, wanted) => SIZES.reduce((sum, axis, place) =>
    sum + (wanted[axis] ? Math.abs(Math.log(size[place] / wanted[axis])) : 0), 0);

  const nearest = (answers, wanted) => {
    const asked = SIZES.some((axis) => wanted[axis]);
    // Without a wish the size is shown at which most variants can be compared.
    const rank = asked ? (a) => distance(a.size, wanted) : (a) => -a.others.length;
    return answers.reduce((best, each) => rank(each) < rank(best) ? each : best);
  };

  // Take each wish that some setting can meet, in turn; so a loss comes before its dtype.
  const choose = (wanted) => {
    let left = data.settings;
    for (const field of FIELDS) {
      const met = left.filter((setting) => setting[field] === wanted[field]);
      if (met.length) left = met;
    }
    const setting = left[0];
    return { setting, answer: nearest(setting.answers, wanted), wanted };
  };

  const fill = (select, values, chosen) => {
    select.replaceChildren(...values.map((value) => new Option(value, value, false, value === chosen)));
    select.closest("label").hidden = values.length < 2 && select.name !== "loss";
  };

  const list = (id, lines) => {
    byId(id).replaceChildren(...lines.map((line) => {
      const item = document.createElement("li");
      item.textContent = line;
      return item;
    }));
    byId(id).hidden = !lines.length;
  };

  const fillPicker = ({ setting, answer }) => {
    let left = data.settings;
    for (const field of FIELDS) {
      fill(picker.elements[field], unique(left.map((each) => each[field])), setting[field]);
      left = left.filter((each) => each[field] === setting[field]);
    }
    fill(picker.elements.size, setting.answers.map((each) => sizeText(each.size)), sizeText(answer.size));
  };

  const show = (choice) => {
    const { setting, answer, wanted } = choice;
    fillPicker(choice);
    byId("use").textContent = answer.use;
    [...byId("figures").children].forEach((figure, place) => {
      const [value, words] = answer.figures[place];
      figure.querySelector("dd").textContent = value;
      figure.querySelector("dt").textContent = words;
    });
    byId("sure").textContent = answer.sure;
    byId("measure").textContent = answer.measure;
    byId("measure").hidden = !answer.measure;
    byId("code").textContent = answer.code;
    for (const name of ["also", "why", "out", "grounds"]) list(name, answer[name]);
    byId("others").tBodies[0].replaceChildren(...answer.others.map((cells) => {
      const row = document.createElement("tr");
      cells.forEach((text, place) => {
        const cell = document.createElement(place ? "td" : "th");
        cell.textContent = text;
        row.append(cell);
      });
      return row;
    }));
    const { summary = "", formula = "" } = data.losses[setting.loss];
    byId("summary").textContent = summary;
    byId("formula").innerHTML = formula;
    const far = distance(answer.size, wanted) > 0;
    byId("far").hidden = !far;
    if (far) {
      const size = SIZES.map((axis, place) => `--${axis} ${wanted[axis] || answer.size[place]}`);
      byId("far").textContent = `Not measured at that size; this is the nearest, ${sizeText(answer.size)}. `
        + `A model answers for others: lossbench choose ${setting.loss} ${size.join(" ")}`;
    }
    for (const listener of listeners) listener(choice);
  };

  const address = ({ setting, answer }) => {
    const fields = FIELDS.filter((field) => !picker.elements[field].closest("label").hidden);
    const words = new URLSearchParams(fields.map((field) => [field, setting[field]]));
    SIZES.forEach((axis, place) => words.set(axis, answer.size[place]));
    return `#${words}`;
  };

  const fromAddress = () => {
    const words = new URLSearchParams(location.hash.slice(1));
    const wanted = Object.fromEntries(FIELDS.map((field) => [field, words.get(field)]));
    for (const axis of SIZES) wanted[axis] = Number(words.get(axis)) || 0;
    return wanted;
  };

  let current = null;
  const go = (wanted) => { current = choose(wanted); show(current); };

  const start = () => {
    if (!data.settings.length) return;
    picker.hidden = byId("card").hidden = false;
    go(fromAddress());
    picker.addEventListener("change", (event) => {
      const wanted = Object.fromEntries(FIELDS.map((field) => [field, picker.elements[field].value]));
      const shown = current.setting.answers.find((a) => sizeText(a.size) === picker.elements.size.value);
      SIZES.forEach((axis, place) => { wanted[axis] = shown.size[place]; });
      // Another loss may not have this size, which nobody asked for there.
      if (event.target.name !== "size" && !choose(wanted).setting.answers.some((a) => !distance(a.size, wanted))) {
        for (const axis of SIZES) wanted[axis] = 0;
      }
      go(wanted);
      history.replaceState(null, "", address(current));
    });
    picker.addEventListener("submit", (event) => event.preventDefault());
    addEventListener("hashchange", () => { if (location.hash.includes("=")) go(fromAddress()); });
  };

  return { data, start, onChoice: (listener) => listeners.push(listener) };
})();
