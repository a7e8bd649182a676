// The watch page: pick a channel and a player, see what a viewer sees. ?channel=c1&player=hls&mode=ll opens one at once.
// window.finecut holds what was measured, for tests.
import { Chart } from './chart.js';
import { Meter } from './meter.js';
import { choices, sourceOf, start } from './players.js';

const ADDRESSES = { hls: 'HLS', ll_hls: 'LL-HLS', dash: 'DASH', ll_dash: 'LL-DASH' }, LABELLED_SHARE = 0.07;
const LEVELS = { parts: 'parts and segments', segments: 'segments' }, STATES = { off: 'off: nobody asks' };
const REFRESH_MS = 250, CHANNELS_MS = 1500, LOG_MAX = 60;
const $ = (id) => document.getElementById(id);
const video = $('video'), query = new URLSearchParams(location.search);
const chart = new Chart($('chart'), ['#5eead4', '#fbbf77']);
const wanted = `${query.get('player') ?? 'hls'}/${query.get('mode') ?? 'plain'}`;
const state = { choice: choices.includes(wanted) ? wanted : 'hls/plain', channelId: query.get('channel'), channels: [], clockMs: 0, turn: 0 };
let player = null, meter = null;

const measured = (window.finecut = { channel: null, player: null, mode: null, version: null, url: null, errors: [], notes: [], stalls: [], jumps: [],
  switches: 0, startup_s: null, latency_s: null, buffer_s: 0, rendition: null, segment_s: null, choose: (i) => player?.choose(i) });

function tell(kind, text) {
  const entry = document.createElement('li'), at = document.createElement('time'), what = document.createElement('span');
  at.textContent = meter ? `${(performance.now() / 1000 - meter.began).toFixed(1)} s` : '';
  what.textContent = text;
  entry.className = kind;
  entry.append(at, what);
  $('log').prepend(entry);
  while ($('log').children.length > LOG_MAX) $('log').lastChild.remove();
}

function notice(text) {
  $('notice').textContent = text;
  $('notice').classList.toggle('shown', Boolean(text));
}

async function play() {
  const turn = ++state.turn;
  meter?.stop();
  await player?.stop();
  player = null;
  const channel = state.channels.find((c) => c.channel === state.channelId);
  if (!channel || turn !== state.turn) return;
  const [name, mode] = state.choice.split('/');
  const url = new URL(sourceOf(state.choice, channel), location.href).href;
  Object.assign(measured, { channel: channel.channel, player: name, mode, url, errors: [], notes: [], switches: 0, startup_s: null, latency_s: null, rendition: null });
  history.replaceState(null, '', `?channel=${channel.channel}&player=${name}&mode=${mode}`);
  $('log').replaceChildren();
  $('rendition').replaceChildren(new Option('automatic', '-1'));
  chart.clear();
  notice(channel.state === 'off' ? 'This channel is not packaged now. It starts because you asked.' : 'Loading');
  meter = new Meter(video, (kind, text) => { if (kind === 'started') notice(''); tell(kind, text); });
  measured.stalls = meter.stalls;
  measured.jumps = meter.jumps;
  const made = await start(state.choice, video, url, {
    session: globalThis.crypto?.randomUUID?.() ?? `${Date.now()}-${Math.random().toString(36).slice(2)}`,
    channel: channel.channel,
    reports: new URL('cmcd', location.href).href,
    onError: (error) => {
      // hls.js calls it an error when its first audio and video do not begin at the same instant, and starts there.
      const isError = error.fatal || meter.startup_s !== null;
      measured[isError ? 'errors' : 'notes'].push({ at_s: +video.currentTime.toFixed(2), ...error });
      tell(isError ? 'bad' : 'note', error.text);
    },
    onNote: (text, kind) => {
      if (kind === 'switch') measured.switches++;
      measured.notes.push({ at_s: +video.currentTime.toFixed(2), text });
      tell('note', text);
    },
  });
  if (turn !== state.turn) { made.stop(); return; }
  player = made;
  measured.version = player.version;
  $('version').textContent = player.version;
}

function refresh() {
  if (!player || !meter) return;
  const at = player.playheadMs(), said = player.latency();
  const latency = video.readyState < 2 ? null : at !== null ? (Date.now() + state.clockMs - at) / 1000 : Number.isFinite(said) ? said : null;
  const rendition = video.videoHeight ? `${video.videoWidth}×${video.videoHeight}` : null;
  Object.assign(measured, { latency_s: latency, buffer_s: meter.buffer_s, rendition, startup_s: meter.startup_s, playing: meter.startup_s !== null, ended: video.ended });
  const seconds = (value, digits = 1) => (value === null ? '–' : `${value.toFixed(digits)}<small> s</small>`);
  $('latency').innerHTML = seconds(latency);
  $('buffer').innerHTML = seconds(meter.startup_s === null ? null : meter.buffer_s);
  $('picture').textContent = rendition ?? '–';
  $('startup').innerHTML = seconds(meter.startup_s, 2);
  for (const name of ['stalls', 'jumps', 'errors']) {
    $(name).textContent = measured[name].length;
    $(name).classList.toggle('bad', measured[name].length > 0);
  }
  if (meter.startup_s !== null) chart.add([latency, meter.buffer_s]);
  const renditions = player.renditions();
  if (renditions.length && $('rendition').length !== renditions.length + 1) {
    $('rendition').replaceChildren(new Option('automatic', '-1'), ...renditions.map(({ id, label }) => new Option(label, id)));
  }
}

// What was decided about the channel that is watched, told as it comes into force.
function tellPlan(before, now) {
  if (!before || !now) return;
  if (before.state !== now.state || before.level !== now.level) tell('plan', now.state === 'live' ? `packaged as ${LEVELS[now.level] ?? now.level}` : `channel is ${now.state}`);
  else if (before.segment_s && now.segment_s && before.segment_s !== now.segment_s) tell('plan', `segments of ${+now.segment_s.toFixed(1)} s instead of ${+before.segment_s.toFixed(1)} s`);
}

function showChannels() {
  $('channels').replaceChildren(...state.channels.map((channel) => {
    const item = document.createElement('li'), button = document.createElement('button');
    const dot = document.createElement('i'), name = document.createElement('span'), what = document.createElement('span');
    dot.className = `dot ${channel.state}`;
    name.className = 'name';
    name.textContent = channel.channel;
    what.className = 'what';
    what.textContent = channel.state === 'live' ? `${LEVELS[channel.level] ?? channel.level}, ${+channel.segment_s.toFixed(1)} s` : STATES[channel.state] ?? channel.state;
    button.setAttribute('aria-current', String(channel.channel === state.channelId));
    button.append(dot, name, what);
    button.onclick = () => { state.channelId = channel.channel; showChannels(); play(); };
    item.append(button);
    return item;
  }));
  const current = state.channels.find((c) => c.channel === state.channelId);
  measured.segment_s = current?.segment_s ?? null;
  $('segment').innerHTML = current?.segment_s ? `${current.segment_s.toFixed(1)}<small> s</small>` : '–';
  $('plan').textContent = current ? `at most ${current.target_duration_s}` : '';
  const lengths = (current?.segment_lengths_s ?? []).slice(-14), total = lengths.reduce((sum, length) => sum + length, 0);
  $('segments').replaceChildren(...lengths.map((length, i) => {
    const bar = document.createElement('i'), label = Math.round(length);
    bar.style.flexGrow = length;
    // Narrow ones of a run are labelled once, so that labels do not touch.
    if (length / total > LABELLED_SHARE || i === 0 || Math.round(lengths[i - 1]) !== label) bar.textContent = label;
    bar.title = `${length} s`;
    return bar;
  }));
  $('addresses').replaceChildren(...Object.entries(ADDRESSES).filter(([kind]) => current?.[kind]).map(([kind, label]) => {
    const item = document.createElement('li'), what = document.createElement('span'), link = document.createElement('a');
    what.textContent = label;
    link.href = link.title = new URL(current[kind], location.href).href;
    // A line may break after a slash only.
    link.append(...current[kind].split(/(?<=\/)/).flatMap((piece) => [piece, document.createElement('wbr')]));
    item.append(what, link);
    return item;
  }));
}

async function load() {
  try {
    const asked = Date.now(), answer = await (await fetch('api/channels')).json();
    state.clockMs = answer.at_unix_ms - (asked + Date.now()) / 2;
    const watched = (channels) => channels.find((c) => c.channel === state.channelId);
    tellPlan(watched(state.channels), watched(answer.channels));
    state.channels = answer.channels;
  } catch (error) {
    notice('The origin does not answer.');
    setTimeout(load, CHANNELS_MS);
    return;
  }
  if (!state.channels.some((c) => c.channel === state.channelId)) {
    const first = state.channels.find((c) => c.state === 'live') ?? state.channels[0];
    if (first && !query.get('channel')) state.channelId = first.channel;
  }
  if (!player && !state.turn && state.channels.some((c) => c.channel === state.channelId)) play();
  else if (!state.turn) notice(query.get('channel') ? `There is no channel ${query.get('channel')} yet.` : 'No channel yet. Start one with: finecut encode');
  showChannels();
  setTimeout(load, CHANNELS_MS);
}

$('choice').value = state.choice;
$('choice').onchange = () => { state.choice = $('choice').value; play(); };
$('rendition').onchange = () => player?.choose(Number($('rendition').value));
setInterval(refresh, REFRESH_MS);
load();
