// Plays pages of the watch page in real Chromium and measures what a viewer sees, from the outside.
//   node play.mjs SPEC.json RESULT.json
//   SPEC: {chromium, seconds, pages: [{name, url}], screenshots: folder or ""}; SIGTERM ends it early, with its result.
//   It says "NAME playing" on stdout when a page begins to play, and "NAME silent" if it does not within START_MS.
// A stall is a playhead that stands still for 0.18 s or more after the start for want of media; if there is media ahead of it without a
// gap, the machine was too slow to decode it: a hitch. A jump is a playhead that moves back, or further than elapsed x rate + 0.12 s.
// Errors are those that the page's player reports and exceptions of the page.
import { chromium } from 'playwright-core';
import fs from 'node:fs';

const STALL_S = 0.18, MEDIA_S = 0.5, JUMP_S = 0.12, SETTLE_S = 0.3, SAMPLE_MS = 60, START_MS = 90_000;
const spec = JSON.parse(fs.readFileSync(process.argv[2]));

function watch(sampleMs) {
  const samples = (window.__samples = []);
  setInterval(() => {
    const video = document.querySelector('video');
    if (!video) return;
    const quality = video.getVideoPlaybackQuality();
    let ahead = 0;
    for (let i = 0; i < video.buffered.length; i++) {
      if (video.buffered.start(i) <= video.currentTime + 0.1 && video.buffered.end(i) > video.currentTime) ahead = video.buffered.end(i) - video.currentTime;
    }
    samples.push([performance.now() / 1000, video.currentTime, video.playbackRate, video.paused, ahead, quality.droppedVideoFrames, quality.totalVideoFrames]);
  }, sampleMs);
}

function judge(samples) {
  const first = samples.findIndex((s) => s[1] > 0 && !s[3] && s[6] > 0);
  const started = samples.findIndex((s, i) => i > 0 && first >= 0 && i > first && s[1] > samples[first][1]);
  if (started < 0) return { started: false };
  const played = samples.filter((s) => s[0] >= samples[started][0] + SETTLE_S);
  if (!played.length) return { started: false };
  const stalls = [], hitches = [], jumps = [];
  let still = 0, ahead = Infinity;
  const goesOn = (before) => {
    if (still >= STALL_S) (ahead < MEDIA_S ? stalls : hitches).push({ at_s: +before[1].toFixed(2), seconds: +still.toFixed(2), ahead_s: +ahead.toFixed(2) });
    [still, ahead] = [0, Infinity];
  };
  for (let i = 1; i < played.length; i++) {
    const elapsed = played[i][0] - played[i - 1][0], moved = played[i][1] - played[i - 1][1];
    if (Math.abs(moved) < 0.015) { still += elapsed; ahead = Math.min(ahead, played[i][4]); continue; }
    goesOn(played[i - 1]);
    if (moved < -0.02 || moved > elapsed * Math.max(1, played[i][2]) + JUMP_S) jumps.push({ at_s: +played[i - 1][1].toFixed(2), seconds: +moved.toFixed(2) });
  }
  goesOn(played.at(-1));
  const buffers = played.map((s) => s[4]).sort((a, b) => a - b), last = samples.at(-1);
  return {
    started: true, startup_s: +samples[started][0].toFixed(2), played_s: +(played.at(-1)[1] - played[0][1]).toFixed(2), stalls, hitches, jumps,
    buffer_min_s: +buffers[0].toFixed(2), buffer_median_s: +buffers[buffers.length >> 1].toFixed(2), dropped_frames: last[5], frames: last[6],
  };
}

const browser = await chromium.launch({
  executablePath: spec.chromium, headless: true, handleSIGTERM: false,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
    '--autoplay-policy=no-user-gesture-required', '--disable-background-timer-throttling', '--disable-renderer-backgrounding', '--disable-backgrounding-occluded-windows'],
});
try {
  const over = new Promise((resolve) => { process.once('SIGTERM', resolve); setTimeout(resolve, spec.seconds * 1000).unref(); });
  const pages = [];
  // One after the other: a page that starts costs a core for seconds, which is no matter of the stream.
  for (const { name, url } of spec.pages) {
    const page = await browser.newPage({ viewport: { width: 1280, height: 860 } }), crashes = [];
    page.on('pageerror', (error) => crashes.push(String(error)));
    await page.addInitScript(watch, SAMPLE_MS);
    await page.goto(url);
    pages.push({ name, page, crashes });
    const plays = page.waitForFunction(() => (document.querySelector('video')?.currentTime ?? 0) > 0, null, { timeout: START_MS });
    await Promise.race([over, plays.then(() => process.stdout.write(`${name} playing\n`), () => process.stdout.write(`${name} silent\n`))]);
  }
  await over;
  // All are measured before the first screenshot, which takes a slow machine seconds.
  const results = await Promise.all(pages.map(async ({ name, page, crashes }) => {
    const seen = await page.evaluate(() => ({ samples: window.__samples, page: window.finecut ?? null }));
    return { name, ...judge(seen.samples), errors: [...crashes, ...(seen.page?.errors ?? [])], page: seen.page };
  }));
  fs.writeFileSync(process.argv[3], JSON.stringify(results));
  if (spec.screenshots) for (const { name, page } of pages) await page.screenshot({ path: `${spec.screenshots}/${name}.png` });
} finally {
  await browser.close();
}
