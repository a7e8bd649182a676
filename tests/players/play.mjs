// Plays pages of the watch page in real Chromium and measures what a viewer sees, from the outside.
//   node play.mjs SPEC.json RESULT.json
//   SPEC: {chromium, seconds, choose_s, logs, pages: [{name, url}], screenshots: folder or ""}; SIGTERM ends it early, with its result. If
//   choose_s is not 0, each page is made to switch to its next rendition so often. With logs, hls.js and dash.js tell all that they do; what
//   they told around a stall, a jump or a fatal error is kept with it.
//   It says "NAME playing" on stdout when a page begins to play, "NAME silent" if it does not within START_MS, and "NAME shows UNIX_MS" every
//   second: when what is on its screen was taken; "NAME ended" once it has played all that there was.
// A stall is a playhead that stands still for 0.18 s or more after the start for want of media. It is a hitch, of the machine, if there is
// media ahead of it without a gap, which was not decoded; or if the page itself did not run for half of the time that its buffer usually
// lasts, so that it fetched nothing. A jump is a playhead that moves back, or further than elapsed x rate + 0.12 s.
// Errors are those that the page's player reports and exceptions of the page; requests and answers are seen from outside it.
import { chromium } from 'playwright-core';
import fs from 'node:fs';

const STALL_S = 0.18, MEDIA_S = 0.5, JUMP_S = 0.12, SETTLE_S = 0.3, SAMPLE_MS = 60, START_MS = 90_000, SHOWS_MS = 1_000, APPENDS = 80, LINES = 60_000;
// A page that is late for its next sample by more than this did not run; what it missed is looked for so long before a stall.
const LATE_S = 0.1, BEFORE_S = 5, OFTEN_S = 4, LOGGED_S = 25;
const MEDIA = /\.(m3u8|mpd|m4s)$/;
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
    samples.push([performance.now() / 1000, video.currentTime, video.playbackRate, video.paused, ahead, quality.droppedVideoFrames, quality.totalVideoFrames,
      window.finecut?.latency_s ?? null, video.videoHeight, video.ended]);
  }, sampleMs);
}

// The last that was done to the page's buffers, for when it fails: which boxes were appended to which.
function trace(count) {
  const last = (window.__appends = []);
  let buffers = 0;
  const boxes = (data) => {
    const bytes = ArrayBuffer.isView(data) ? new DataView(data.buffer, data.byteOffset, data.byteLength) : new DataView(data), found = [];
    for (let at = 0, size; at + 8 <= bytes.byteLength && found.length < 12; at += size) {
      size = bytes.getUint32(at);
      found.push(`${String.fromCharCode(...[4, 5, 6, 7].map((i) => bytes.getUint8(at + i)))}:${size}`);
      if (size < 8) break;
    }
    return `${bytes.byteLength} = ${found.join(' ')}`;
  };
  for (const name of ['appendBuffer', 'abort', 'changeType', 'remove']) {
    const real = SourceBuffer.prototype[name];
    SourceBuffer.prototype[name] = function (...given) {
      this.__number ??= ++buffers;
      last.push([+(performance.now() / 1000).toFixed(3), this.__number, name, name === 'appendBuffer' ? boxes(given[0]) : given.join()]);
      if (last.length > count) last.shift();
      return real.apply(this, given);
    };
  }
}

// Every answer that the page had: asked, first byte, last byte, status, bytes, and its address without the report in it.
function listenWithin() {
  const answers = (window.__answers = []), seconds = (ms) => +(ms / 1000).toFixed(3);
  const named = (address) => {
    const url = new URL(address);
    url.searchParams.delete('CMCD');
    return `${url.pathname}${url.search}`;
  };
  new PerformanceObserver((list) => {
    for (const e of list.getEntries()) answers.push([seconds(e.startTime), seconds(e.responseStart), seconds(e.responseEnd), e.responseStatus, e.transferSize, named(e.name)]);
  }).observe({ type: 'resource', buffered: true });
}

// The last lines that players wrote, which are made to write all.
function overhear(count) {
  const lines = (window.__lines = []);
  for (const level of ['debug', 'info', 'log', 'warn', 'error']) {
    console[level] = (...said) => {
      lines.push([+(performance.now() / 1000).toFixed(3), +(document.querySelector('video')?.currentTime ?? 0).toFixed(3), said.map(String).join(' ').slice(0, 300)]);
      if (lines.length > count) lines.splice(0, count / 10);
    };
  }
  const when = (name, then) => {
    let given;
    Object.defineProperty(window, name, { configurable: true, get: () => given, set: (value) => { given = then(value); } });
  };
  when('Hls', (Hls) => new Proxy(Hls, { construct: (real, [config]) => new real({ ...config, debug: true }) }));
  when('dashjs', (dashjs) => {
    const real = dashjs.MediaPlayer;
    dashjs.MediaPlayer = Object.assign(() => ({
      create: () => {
        const player = real().create(), initialize = player.initialize;
        player.initialize = (...given) => { player.updateSettings({ debug: { logLevel: 5 } }); return initialize.apply(player, given); };
        return player;
      },
    }), real);
    return dashjs;
  });
}

// The select's first option is the automatic choice.
function choose(turn) {
  const count = document.querySelectorAll('#rendition option').length - 1;
  if (count > 0) window.finecut.choose(turn % count);
}

function judge(samples) {
  const first = samples.findIndex((s) => s[1] > 0 && !s[3] && s[6] > 0);
  const started = samples.findIndex((s, i) => i > 0 && first >= 0 && i > first && s[1] > samples[first][1]);
  if (started < 0) return { started: false };
  const played = samples.filter((s) => s[0] >= samples[started][0] + SETTLE_S && !s[9]);
  if (!played.length) return { started: false };
  const buffers = played.map((s) => s[4]).sort((a, b) => a - b), last = samples.at(-1);
  const latencies = played.map((s) => s[7]).filter((s) => s !== null).sort((a, b) => a - b);
  const late = played.slice(1).map((s, i) => [s[0], Math.max(0, s[0] - played[i][0] - SAMPLE_MS / 1000 - LATE_S)]);
  const lateWithin = (from, to) => late.reduce((sum, [at, seconds]) => (at >= from && at <= to ? sum + seconds : sum), 0);
  const stalls = [], hitches = [], jumps = [];
  let still = 0, ahead = Infinity, played_s = 0;
  const goesOn = (before) => {
    if (still >= STALL_S) {
      const late_s = lateWithin(before[0] - still - BEFORE_S, before[0]), isTrue = ahead < MEDIA_S && late_s < buffers[buffers.length >> 1] / 2;
      (isTrue ? stalls : hitches).push({ at_s: +before[1].toFixed(2), until_s: +before[0].toFixed(2), seconds: +still.toFixed(2), ahead_s: +ahead.toFixed(2), late_s: +late_s.toFixed(2) });
    }
    [still, ahead] = [0, Infinity];
  };
  for (let i = 1; i < played.length; i++) {
    const elapsed = played[i][0] - played[i - 1][0], moved = played[i][1] - played[i - 1][1];
    if (Math.abs(moved) < 0.015) { still += elapsed; ahead = Math.min(ahead, played[i][4]); continue; }
    goesOn(played[i - 1]);
    if (moved < -0.02 || moved > elapsed * Math.max(1, played[i][2]) + JUMP_S) {
      const [, at_s, , , ahead_s] = played[i - 1];
      jumps.push({ at_s: +at_s.toFixed(2), until_s: +played[i][0].toFixed(2), seconds: +moved.toFixed(2), elapsed_s: +elapsed.toFixed(2), ahead_s: +ahead_s.toFixed(2) });
    } else {
      played_s += moved;  // a player that was started again counts from another time
    }
  }
  goesOn(played.at(-1));
  const now_and_then = played.filter((s, i) => i && Math.floor(s[0] / OFTEN_S) !== Math.floor(played[i - 1][0] / OFTEN_S));
  const heights = played.map((s) => s[8]).filter((height) => height > 0);
  return {
    started: true, startup_s: +samples[started][0].toFixed(2), played_s: +played_s.toFixed(2), stalls, hitches, jumps,
    buffer_min_s: +buffers[0].toFixed(2), buffer_median_s: +buffers[buffers.length >> 1].toFixed(2), dropped_frames: last[5], frames: last[6],
    latency_median_s: latencies.length ? +latencies[latencies.length >> 1].toFixed(2) : null, latency_max_s: latencies.length ? +latencies.at(-1).toFixed(2) : null,
    // Playhead, latency and buffer.
    over_time: now_and_then.map((s) => [+s[1].toFixed(1), s[7] === null ? null : +s[7].toFixed(1), +s[4].toFixed(1)]),
    switches_seen: heights.filter((height, i) => i && height !== heights[i - 1]).length, page_late_s: +Math.max(0, ...late.map(([, seconds]) => seconds)).toFixed(2),
  };
}

// What a page asks for and how it is answered; a request that the player takes back itself is none that failed.
function listen(page) {
  const asked = { media: 0, with_cmcd: 0, events: 0, refused: {}, failed: {} };
  page.on('request', (request) => {
    const url = new URL(request.url());
    if (MEDIA.test(url.pathname)) {
      asked.media++;
      if (url.searchParams.has('CMCD')) asked.with_cmcd++;
    } else if (url.pathname.endsWith('/cmcd')) asked.events++;
  });
  page.on('response', (answer) => { if (answer.status() >= 400) asked.refused[answer.status()] = (asked.refused[answer.status()] ?? 0) + 1; });
  page.on('requestfailed', (request) => {
    const why = request.failure()?.errorText ?? 'unknown';
    if (why !== 'net::ERR_ABORTED') asked.failed[why] = (asked.failed[why] ?? 0) + 1;
  });
  return asked;
}

const browser = await chromium.launch({
  executablePath: spec.chromium, headless: true, handleSIGTERM: false,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
    '--autoplay-policy=no-user-gesture-required', '--disable-background-timer-throttling', '--disable-renderer-backgrounding', '--disable-backgrounding-occluded-windows'],
});
try {
  const over = new Promise((resolve) => { process.once('SIGTERM', resolve); setTimeout(resolve, spec.seconds * 1000).unref(); });
  const pages = [];
  let turn = 0;
  if (spec.choose_s) {
    setInterval(() => {
      turn++;
      for (const { page, crashes } of pages) page.evaluate(choose, turn).catch((error) => crashes.push(`no switch: ${error}`));
    }, spec.choose_s * 1000).unref();
  }
  setInterval(() => {
    for (const { name, page } of pages) {
      page.evaluate(() => [window.finecut?.latency_s, document.querySelector('video')?.ended]).then(([latency_s, ended]) => {
        if (ended) process.stdout.write(`${name} ended\n`);
        else if (Number.isFinite(latency_s)) process.stdout.write(`${name} shows ${Math.round(Date.now() - 1000 * latency_s)}\n`);
      }, () => {}); // a page that was just closed
    }
  }, SHOWS_MS).unref();
  // One after the other: a page that starts costs a core for seconds, which is no matter of the stream.
  for (const { name, url } of spec.pages) {
    const page = await browser.newPage({ viewport: { width: 1280, height: 860 } }), crashes = [], asked = listen(page);
    page.on('pageerror', (error) => crashes.push(String(error)));
    await page.addInitScript(watch, SAMPLE_MS);
    await page.addInitScript(trace, APPENDS);
    await page.addInitScript(listenWithin);
    if (spec.logs) await page.addInitScript(overhear, LINES);
    await page.goto(url);
    pages.push({ name, page, crashes, asked });
    const plays = page.waitForFunction(() => (document.querySelector('video')?.currentTime ?? 0) > 0, null, { timeout: START_MS });
    await Promise.race([over, plays.then(() => process.stdout.write(`${name} playing\n`), () => process.stdout.write(`${name} silent\n`))]);
  }
  await over;
  // All are measured before the first screenshot, which takes a slow machine seconds.
  const results = await Promise.all(pages.map(async ({ name, page, crashes, asked }) => {
    const seen = await page.evaluate(() => ({ samples: window.__samples, page: window.finecut ?? null, appends: window.__appends, answers: window.__answers, lines: window.__lines ?? [], began_unix_s: performance.timeOrigin / 1000 }));
    const judged = judge(seen.samples);
    for (const stall of judged.stalls ?? []) stall.answers = seen.answers.filter(([, , end]) => end >= stall.until_s - stall.seconds - BEFORE_S && end <= stall.until_s + 1);
    const uneven = [...(judged.stalls ?? []), ...(judged.hitches ?? []), ...(judged.jumps ?? [])];
    const told = uneven.map(({ until_s, seconds }) => [until_s - Math.abs(seconds) - LOGGED_S, until_s - Math.abs(seconds) + LOGGED_S]);
    const fatal = (seen.page?.errors ?? []).filter((error) => error.fatal).map((error) => [error.page_s - LOGGED_S, error.page_s + 2]);
    const lines = seen.lines.filter(([at]) => [...told, ...fatal].some(([from, to]) => at >= from && at <= to));
    const appends = seen.page?.errors?.some((error) => error.fatal) ? seen.appends : [];
    return { name, began_unix_s: seen.began_unix_s, appends, lines, ...judged, errors: [...crashes, ...(seen.page?.errors ?? [])], asked, page: seen.page };
  }));
  fs.writeFileSync(`${process.argv[3]}.part`, JSON.stringify(results));
  fs.renameSync(`${process.argv[3]}.part`, process.argv[3]); // whole, once it is there
  if (spec.screenshots) for (const { name, page } of pages) await page.screenshot({ path: `${spec.screenshots}/${name}.png` });
} finally {
  await browser.close();
}
