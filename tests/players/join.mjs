// Joins live channels in real Chromium again and again, over a line of a given speed, and measures what each join takes.
//   node join.mjs SPEC.json RESULT.json
//   SPEC: {chromium, origin, pages, seconds, joins: [{name, channel, choice, kbps, stay_s}]}; kbps 0: the line is not slowed; after so many
//   seconds no further join begins.
// A join begins when the page's player is given the address and ends when the playhead moves with a picture: scripts are loaded before, as
// the formula is about media. One browser; each page takes the next join of the list until none is left. Requests are those the browser
// makes, none from its cache.
import { chromium } from 'playwright-core';
import fs from 'node:fs';

const SAMPLE_MS = 10, GIVE_UP_S = 30, START_MS = 90_000, OWN = /api\/channels|\/cmcd|console\/|\/$/;
const spec = JSON.parse(fs.readFileSync(process.argv[2]));

async function join({ choice, channel, sampleMs, giveUpS, stayS }) {
  const { start, sourceOf } = await import(new URL('console/players.js', location.href).href);
  const told = (await (await fetch('api/channels')).json()).channels.find((one) => one.channel === channel);
  document.querySelectorAll('video').forEach((one) => one.remove());
  const video = Object.assign(document.createElement('video'), { muted: true, autoplay: true, playsInline: true, width: 320, height: 180 });
  document.body.prepend(video);
  const errors = [], began = performance.now(), beganAt = performance.timeOrigin + began;
  const player = await start(choice, video, new URL(sourceOf(choice, told), location.href).href, {
    session: crypto.randomUUID?.() ?? `${Date.now()}-${Math.random().toString(36).slice(2)}`, channel, reports: new URL('cmcd', location.href).href,
    onError: (error) => { if (error.fatal) errors.push(error.text); }, onNote: () => {},
  });
  const joined = await new Promise((resolve) => {
    let before = null;
    const timer = setInterval(() => {
      const now = performance.now(), moved = before === null ? 0 : video.currentTime - before;
      before = video.currentTime;
      const plays = !video.paused && moved > 0 && moved < 1 && video.getVideoPlaybackQuality().totalVideoFrames > 0;
      if (!plays && now - began < giveUpS * 1000) return;
      clearInterval(timer);
      resolve(plays ? now : null);
    }, sampleMs);
  });
  if (joined !== null && stayS) await new Promise((resolve) => setTimeout(resolve, stayS * 1000));
  const ended = performance.timeOrigin + performance.now();
  await player.stop();
  return { join_s: joined === null ? null : (joined - began) / 1000, began: beganAt, joined: joined === null ? null : performance.timeOrigin + joined, ended, errors };
}

const kind = (path) => (path.endsWith('.part.m4s') ? 'part' : path.endsWith('.m4s') ? 'segment' : /\.(m3u8|mpd)$/.test(path) ? 'manifest' : 'other');

async function work(browser, joins, results, over) {
  const page = await browser.newPage({ viewport: { width: 400, height: 300 } });
  const line = await page.context().newCDPSession(page), seen = new Map();
  await line.send('Network.enable');
  await line.send('Network.setCacheDisabled', { cacheDisabled: true });
  line.on('Network.requestWillBeSent', ({ requestId, request, wallTime }) => {
    const { pathname } = new URL(request.url);
    if (!OWN.test(pathname)) seen.set(requestId, { path: pathname, kind: kind(pathname), asked: wallTime * 1000 });
  });
  line.on('Network.loadingFinished', ({ requestId, encodedDataLength }) => {
    if (seen.has(requestId)) Object.assign(seen.get(requestId), { had: Date.now(), bytes: encodedDataLength });
  });
  await page.goto(`${spec.origin}/?channel=nobody`, { waitUntil: 'load', timeout: START_MS });
  for (let one = joins.shift(); one && Date.now() < over; one = joins.shift()) {
    seen.clear();
    const downloadThroughput = one.kbps ? (one.kbps * 1000) / 8 : -1;
    await line.send('Network.emulateNetworkConditions', { offline: false, latency: 0, downloadThroughput, uploadThroughput: -1 });
    // A browser that does not answer on a busy machine is one join less, told with its error.
    const measured = await page.evaluate(join, { choice: one.choice, channel: one.channel, sampleMs: SAMPLE_MS, giveUpS: GIVE_UP_S, stayS: one.stay_s })
      .catch((error) => ({ join_s: null, began: null, joined: null, ended: null, errors: [String(error)] }));
    results.push({ ...one, ...measured, requests: [...seen.values()] });
    process.stdout.write(`${one.name} ${measured.join_s?.toFixed(2) ?? 'silent'}\n`);
  }
  await page.close();
}

const browser = await chromium.launch({
  executablePath: spec.chromium, headless: true,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
    '--autoplay-policy=no-user-gesture-required', '--disable-background-timer-throttling', '--disable-renderer-backgrounding', '--disable-backgrounding-occluded-windows'],
});
try {
  const joins = [...spec.joins], results = [], over = Date.now() + spec.seconds * 1000;
  await Promise.all(Array.from({ length: spec.pages }, () => work(browser, joins, results, over)));
  fs.writeFileSync(process.argv[3], JSON.stringify(results));
} finally {
  await browser.close();
}
