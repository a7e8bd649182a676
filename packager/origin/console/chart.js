// Two lines over the last minute.
const SPAN_S = 60;

export class Chart {
  constructor(canvas, colours) {
    this.canvas = canvas;
    this.colours = colours;
    this.points = [];
  }

  clear() { this.points = []; this.draw(); }

  add(values) {
    const now = performance.now() / 1000;
    this.points.push([now, values]);
    while (this.points.length && this.points[0][0] < now - SPAN_S) this.points.shift();
    this.draw();
  }

  draw() {
    const { canvas } = this, ratio = devicePixelRatio || 1, { clientWidth: width, clientHeight: height } = canvas;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const pen = canvas.getContext('2d');
    pen.scale(ratio, ratio);
    const now = performance.now() / 1000, left = 30, bottom = height - 6;
    const most = Math.max(4, ...this.points.flatMap(([, values]) => values.filter((v) => v !== null)));
    const step = most > 24 ? 10 : most > 10 ? 5 : most > 5 ? 2 : 1;
    const top = Math.ceil(most / step) * step;
    const y = (value) => bottom - (bottom - 8) * (value / top), x = (at) => width - (now - at) * ((width - left) / SPAN_S);
    pen.font = '11px system-ui, sans-serif';
    pen.textBaseline = 'middle';
    for (let mark = 0; mark <= top; mark += step) {
      pen.strokeStyle = '#1f2b38';
      pen.beginPath(); pen.moveTo(left, y(mark)); pen.lineTo(width, y(mark)); pen.stroke();
      pen.fillStyle = '#8496a9';
      pen.fillText(String(mark), 2, y(mark));
    }
    this.colours.forEach((colour, series) => {
      pen.strokeStyle = colour;
      pen.lineWidth = 1.8;
      pen.lineJoin = 'round';
      pen.beginPath();
      let drawing = false;
      for (const [at, values] of this.points) {
        const value = values[series];
        if (value === null || at < now - SPAN_S) { drawing = false; continue; }
        if (drawing) pen.lineTo(x(at), y(value)); else pen.moveTo(x(at), y(value));
        drawing = true;
      }
      pen.stroke();
    });
  }
}
