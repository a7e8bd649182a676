// Asks players for the captions of a live channel, a few pages at a time, in real Chromium.
//   node captions.mjs SPEC.json RESULT.json     SPEC: {chromium, origin, channel, zero_unix_ms}; RESULT: {name: {cues: [[media seconds, text]]} or {error}}
import { chromium } from 'playwright-core';
import fs from 'node:fs';

const spec = JSON.parse(fs.readFileSync(process.argv[2]));
const CUES = 4, TIMEOUT_MS = 45_000, AT_ONCE = 3;

// Each returns the seconds of media that lie at second 0 of the video element.
const start = {
  hls: async ({ video, url, zero, lowLatency }) => {
    const player = new Hls({ lowLatencyMode: lowLatency });
    player.loadSource(url);
    player.attachMedia(video);
    await new Promise((resolve) => player.on(Hls.Events.MANIFEST_PARSED, resolve));
    player.subtitleTrack = 0;
    player.subtitleDisplay = true;
    return () => player.playingDate && (player.playingDate.getTime() - zero) / 1000 - video.currentTime;
  },
  shaka: async ({ video, url, lowLatency }) => {
    const player = new shaka.Player();
    await player.attach(video);
    player.configure({ streaming: { lowLatencyMode: lowLatency } });
    await player.load(url);
    player.selectTextTrack(player.getTextTracks()[0]);
    player.setTextTrackVisibility?.(true);
    // It keeps the times of the media in HLS, too; the date it tells of its playhead may be off by a part.
    return () => 0;
  },
  dash: async ({ video, url }) => {
    const player = dashjs.MediaPlayer().create();
    player.initialize(video, url, true);
    player.on('textTracksAdded', () => player.setTextTrack(0));
    player.on('allTextTracksAdded', () => player.setTextTrack(0));
    return () => 0;
  },
};

const watch = async ({ video, origin, wanted, timeout }) => {
  const cues = new Map(), over = performance.now() + timeout;
  while (cues.size < wanted && performance.now() < over) {
    for (const track of video.textTracks) {
      for (const cue of track.activeCues ?? []) {
        const zero = origin();
        if (zero === null || Number.isNaN(zero) || video.currentTime === 0) continue;
        if (!cues.has(cue.text)) cues.set(cue.text, [cue.startTime + zero, cue.text]);
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  if (cues.size < wanted) {
    const known = [...video.textTracks].map((t) => [t.kind, t.mode, t.cues?.length, t.cues?.[0]?.startTime, t.cues?.[0]?.text]);
    throw new Error(`${cues.size} cues at ${video.currentTime}: ${JSON.stringify(known)}`);
  }
  return { cues: [...cues.values()] };
};

const browser = await chromium.launch({
  executablePath: spec.chromium, headless: true,
  args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--autoplay-policy=no-user-gesture-required'],
});
const results = {};
try {
  const scripts = { hls: 'hls.min.js', shaka: 'shaka-player.compiled.js', dash: 'dash.all.min.js' };
  const asked = {
    'hls.js': ['hls', 'hls/multivariant.m3u8'], 'hls.js ll': ['hls', 'll/multivariant.m3u8'],
    'shaka hls': ['shaka', 'hls/multivariant.m3u8'], 'shaka ll-hls': ['shaka', 'll/multivariant.m3u8'],
    'shaka dash': ['shaka', 'dash/manifest.mpd'], 'shaka ll-dash': ['shaka', 'll/manifest.mpd'],
    'dash.js': ['dash', 'dash/manifest.mpd'], 'dash.js ll': ['dash', 'll/manifest.mpd'],
  };
  const ask = async (name, [player, manifest]) => {
    const page = await browser.newPage();
    await page.goto(`${spec.origin}/time`);
    await page.setContent('<video muted autoplay playsinline></video>');
    await page.addScriptTag({ url: `${spec.origin}/console/vendor/${scripts[player]}` });
    const told = { url: `${spec.origin}/${spec.channel}/${manifest}`, zero: spec.zero_unix_ms, lowLatency: manifest.startsWith('ll/'), wanted: CUES, timeout: TIMEOUT_MS };
    const body = `async (told) => {
      const video = document.querySelector('video');
      const origin = await (${start[player]})({ video, ...told });
      return (${watch})({ video, origin, ...told });
    }`;
    results[name] = await page.evaluate(`(${body})(${JSON.stringify(told)})`).catch((error) => ({ error: String(error) }));
    await page.close();
  };
  const due = Object.entries(asked).filter(([name]) => !spec.only || spec.only.includes(name));
  const work = async () => { for (let next = due.shift(); next; next = due.shift()) await ask(...next); };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
} finally {
  await browser.close();
}
fs.writeFileSync(process.argv[3], JSON.stringify(results));
