// Pages whose origin gives no manifests for a while: from the beginning (503), and later while they play (nobody answers). At last their
// playheads are held, while more and more is listed.
//   node away.mjs SPEC.json RESULT.json     SPEC: {chromium, pages: {name: {url, gives_up}}}; RESULT: {name: what it showed}
import { chromium } from 'playwright-core';
import fs from 'node:fs';

const spec = JSON.parse(fs.readFileSync(process.argv[2]));
const TIMEOUT_MS = 40_000, RETRY_AFTER_S = 5, MANIFESTS = /\.(m3u8|mpd)(\?|$)/;

const until = (page, ask, wanted) => page.waitForFunction(ask, wanted, { timeout: TIMEOUT_MS, polling: 100 });
const shown = (page) => page.evaluate(() => ({
  notice: document.getElementById('notice').textContent, log: [...document.querySelectorAll('#log span')].map((what) => what.textContent),
  starts: window.finecut.starts, errors: window.finecut.errors.length, at_s: performance.now() / 1000,
}));
const waits = (page) => until(page, () => window.finecut.is_waiting);
const plays = async (page) => {
  await until(page, () => window.finecut.playing && !window.finecut.is_waiting);
  await until(page, (at) => document.querySelector('video').currentTime > at, 1 + await page.evaluate(() => document.querySelector('video').currentTime));
};

async function watch(page, { url, gives_up }) {
  await page.route(MANIFESTS, (route) => route.fulfill({ status: 503, headers: { 'retry-after': String(RETRY_AFTER_S) } }));
  await page.goto(url);
  await waits(page);
  const refused = await shown(page);
  await until(page, (told) => document.getElementById('notice').textContent.includes(told), 'answers 503');
  const asked = await shown(page);
  await page.unroute(MANIFESTS);
  await plays(page);
  const first = await shown(page);
  await page.route(MANIFESTS, (route) => route.abort('connectionrefused'));
  if (gives_up) await waits(page);
  else await page.waitForEvent('requestfailed', { timeout: TIMEOUT_MS });
  const away = await shown(page);
  await page.unroute(MANIFESTS);
  await plays(page);
  const again = await shown(page);
  // A player that is started anew plays at the usual rate again.
  await page.evaluate(() => { document.querySelector('video').playbackRate = 0; });
  await until(page, (starts) => window.finecut.starts > starts, again.starts);
  await plays(page);
  return { refused, asked, first, away, again, stood: await shown(page) };
}

const browser = await chromium.launch({
  executablePath: spec.chromium, headless: true,
  args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--autoplay-policy=no-user-gesture-required',
    '--disable-background-timer-throttling', '--disable-renderer-backgrounding', '--disable-backgrounding-occluded-windows'],
});
try {
  const seen = await Promise.all(Object.entries(spec.pages).map(async ([name, wanted]) => {
    const page = await browser.newPage();
    try {
      return [name, await watch(page, wanted)];
    } catch (error) {
      return [name, { failed: String(error), ...(await shown(page).catch(() => ({}))) }];
    }
  }));
  fs.writeFileSync(process.argv[3], JSON.stringify(Object.fromEntries(seen)));
} finally {
  await browser.close();
}
