// Asks players for thumbnails of a live channel as a seek bar would, in real Chromium.
//   node thumbs.mjs SPEC.json RESULT.json     SPEC: {chromium, origin, channel}; RESULT: {name: {width, height, bytes, uri} or {error}}
import { chromium } from 'playwright-core';
import fs from 'node:fs';

const spec = JSON.parse(fs.readFileSync(process.argv[2]));
const ASK_MS = 500, TRIES = 40;

const helpers = () => {
  window.until = async (ask, tries, ms) => {
    for (let i = 0; i < tries; i++) {
      const answer = await ask();
      if (answer) return answer;
      await new Promise((resolve) => setTimeout(resolve, ms));
    }
    throw new Error('nothing came');
  };
  window.picture = async (uri) => {
    const blob = await (await fetch(uri)).blob(), image = await createImageBitmap(blob);
    return { width: image.width, height: image.height, bytes: blob.size, type: blob.type, uri };
  };
};

const ask = {
  shaka: async ({ url, tries, ms }) => {
    const player = new shaka.Player();
    await player.attach(document.querySelector('video'));
    await player.load(url);
    const track = await until(() => player.getImageTracks()[0], tries, ms);
    const found = await until(async () => {
      const { start, end } = player.seekRange();
      return player.getThumbnails(track.id, (start + end) / 2);
    }, tries, ms);
    return { ...(await picture(found.uris[0])), tile: [found.width, found.height], seconds: found.duration };
  },
  dash: async ({ url, tries, ms }) => {
    const player = dashjs.MediaPlayer().create();
    player.initialize(document.querySelector('video'), url, true);
    await until(() => player.isReady() && player.time() > 0, tries, ms);
    const found = await until(() => new Promise((resolve) => player.provideThumbnail(player.duration() / 2, resolve)), tries, ms);
    return { ...(await picture(found.url)), tile: [found.width, found.height] };
  },
};

const browser = await chromium.launch({
  executablePath: spec.chromium, headless: true,
  args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--autoplay-policy=no-user-gesture-required'],
});
const results = {};
try {
  const scripts = { shaka: 'shaka-player.compiled.js', dash: 'dash.all.min.js' };
  const asked = {
    'shaka-hls': ['shaka', 'hls/multivariant.m3u8'], 'shaka-dash': ['shaka', 'dash/manifest.mpd'], 'dash.js': ['dash', 'dash/manifest.mpd'],
  };
  for (const [name, [player, manifest]] of Object.entries(asked)) {
    const page = await browser.newPage();
    await page.goto(`${spec.origin}/time`);
    await page.setContent('<video muted autoplay playsinline></video>');
    await page.evaluate(helpers);
    await page.addScriptTag({ url: `${spec.origin}/console/vendor/${scripts[player]}` });
    const told = { url: `${spec.origin}/${spec.channel}/${manifest}`, tries: TRIES, ms: ASK_MS };
    results[name] = await page.evaluate(ask[player], told).catch((error) => ({ error: String(error) }));
    await page.close();
  }
} finally {
  await browser.close();
}
fs.writeFileSync(process.argv[3], JSON.stringify(results));
