// Shows live channels whose picture is a clock in real Chromium, and reads from the screen how old the picture is.
//   node latency.mjs SPEC.json RESULT.json
//   SPEC: {chromium, console: folder of the watch page, pages, seconds, stay_s, settle_s, shows: [{name, url, choice, ...}]}; after so
//   many seconds no further show begins.
// Every show is a page of the address it plays from, whoever serves that: the players and the page are put there by the browser. The clock
// is what tests/bench/clock.py draws. The latency is the time of the machine when a frame is on screen less the time that stands in it.
import { chromium } from 'playwright-core';
import fs from 'node:fs';
import path from 'node:path';

const GIVE_UP_S = 20, START_MS = 60_000, EVERY_FRAMES = 4;
const PAGE = `<!doctype html><meta charset="utf-8"><body>
<script src="vendor/hls.min.js"></script><script src="vendor/dash.all.min.js"></script><script src="vendor/shaka-player.compiled.js"></script>
<script type="module">import { start } from './players.js'; import { Meter } from './meter.js'; window.bench = { start, Meter };</script>`;
const TYPES = { '.js': 'text/javascript', '.html': 'text/html' };
const spec = JSON.parse(fs.readFileSync(process.argv[2]));

async function show({ choice, url, reports, stayS, giveUpS, everyFrames }) {
  const video = Object.assign(document.createElement('video'), { muted: true, autoplay: true, playsInline: true, width: 640, height: 360 });
  document.body.prepend(video);
  const canvas = Object.assign(document.createElement('canvas'), { width: 640, height: 120 });
  const look = canvas.getContext('2d', { willReadFrequently: true });
  const clock = () => {
    look.drawImage(video, 0, video.videoHeight / 3, video.videoWidth, video.videoHeight / 3, 0, 0, 640, 120);
    const at = Date.now(), { data } = look.getImageData(0, 0, 640, 120), bytes = [0, 0, 0, 0, 0, 0];
    for (let place = 0; place < 48; place++) {
      const x = 40 * (place % 16) + 20, y = 40 * Math.floor(place / 16) + 20;
      if (data[4 * (640 * y + x) + 1] > 127) bytes[place >> 3] |= 0x80 >> (place & 7);
    }
    const shown = bytes.slice(0, 5).reduce((sum, byte) => sum * 256 + byte, 0), check = (bytes.slice(0, 5).reduce((sum, byte) => sum + byte, 0) & 255) ^ 0x5a;
    return check === bytes[5] ? [at, (at % 2 ** 40) - shown] : null;
  };
  const seen = [], errors = [];
  let frames = 0, unread = 0, player = null;
  const meter = new window.bench.Meter(video, () => {});
  const onFrame = () => {
    if (frames++ % everyFrames === 0) {
      const read = clock();
      if (read) seen.push(read); else unread++;
    }
    video.requestVideoFrameCallback(onFrame);
  };
  video.requestVideoFrameCallback(onFrame);
  const until = (ask, seconds) => new Promise((resolve) => {
    const over = performance.now() + seconds * 1000;
    const timer = setInterval(() => { if (ask() || performance.now() > over) { clearInterval(timer); resolve(); } }, 50);
  });
  player = await window.bench.start(choice, video, url, {
    session: `bench-${Date.now()}-${Math.random().toString(36).slice(2)}`, channel: 'clock', reports,
    onError: (error) => errors.push(error), onNote: () => {},
  });
  await until(() => meter.startup_s !== null, giveUpS);
  if (meter.startup_s !== null) await until(() => false, stayS);
  meter.stop();
  const joinedAt = performance.timeOrigin + (meter.began + (meter.startup_s ?? 0)) * 1000, version = player.version;
  await player.stop();
  return { join_s: meter.startup_s, joined: joinedAt, seen, unread, frames, stalls: meter.stalls, jumps: meter.jumps, errors, version };
}

async function work(browser, shows, results, over) {
  for (let one = shows.shift(); one && Date.now() < over; one = shows.shift()) {
    // A window of its own: in a tab behind others no frame is shown.
    const context = await browser.newContext({ viewport: { width: 700, height: 420 } }), page = await context.newPage();
    const { origin } = new URL(one.url);
    let measured;
    try {
      await page.route(`${origin}/bench/**`, (route) => {
        const name = new URL(route.request().url()).pathname.replace('/bench/', '') || 'index.html';
        const body = name === 'index.html' ? PAGE : fs.readFileSync(path.join(spec.console, name));
        return route.fulfill({ body, contentType: TYPES[path.extname(name)] });
      });
      await page.goto(`${origin}/bench/`, { waitUntil: 'load', timeout: START_MS });
      await page.waitForFunction(() => window.bench, null, { timeout: START_MS });
      await page.unrouteAll();
      const task = { choice: one.choice, url: one.url, reports: `${origin}/cmcd`, stayS: spec.stay_s, giveUpS: GIVE_UP_S, everyFrames: EVERY_FRAMES };
      measured = await page.evaluate(show, task);
    } catch (error) {
      measured = { join_s: null, joined: null, seen: [], unread: 0, frames: 0, stalls: [], jumps: [], errors: [{ fatal: true, text: String(error) }], version: null };
    }
    await context.close();
    results.push({ ...one, ...measured });
    process.stdout.write(`${one.name} ${measured.join_s?.toFixed(2) ?? 'silent'}\n`);
  }
}

const browser = await chromium.launch({
  executablePath: spec.chromium, headless: true,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
    '--autoplay-policy=no-user-gesture-required', '--disable-background-timer-throttling', '--disable-renderer-backgrounding', '--disable-backgrounding-occluded-windows'],
});
try {
  const shows = [...spec.shows], results = [], over = Date.now() + spec.seconds * 1000;
  await Promise.all(Array.from({ length: spec.pages }, () => work(browser, shows, results, over)));
  fs.writeFileSync(process.argv[3], JSON.stringify(results));
} finally {
  await browser.close();
}
