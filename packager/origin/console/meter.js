// What a viewer sees, measured at the video element: start-up, stalls, jumps, buffer. The same limits as in the tests.
export const STALL_S = 0.18, JUMP_S = 0.12, SETTLE_S = 0.3, SAMPLE_MS = 60;
const MOVES_S = 0.015, BACK_S = 0.02;

export class Meter {
  constructor(video, onEvent) {
    this.video = video;
    this.onEvent = onEvent;
    this.began = performance.now() / 1000;
    this.startup_s = null;
    this.stalls = [];
    this.jumps = [];
    this.still = 0;
    this.before = null;
    this.timer = setInterval(() => this.sample(), SAMPLE_MS);
  }

  stop() { clearInterval(this.timer); }

  get buffer_s() {
    const { buffered, currentTime } = this.video;
    for (let i = 0; i < buffered.length; i++) {
      if (buffered.start(i) <= currentTime + 0.1 && buffered.end(i) > currentTime) return buffered.end(i) - currentTime;
    }
    return 0;
  }

  sample() {
    const { video } = this;
    const now = performance.now() / 1000, time = video.currentTime;
    const before = this.before;
    this.before = { now, time, paused: video.paused };
    if (!before || video.paused || before.paused) { this.still = 0; return; }
    const moved = time - before.time, elapsed = now - before.now;
    if (this.startup_s === null) {
      if (moved > 0 && moved < 1 && video.getVideoPlaybackQuality().totalVideoFrames > 0) {
        this.startup_s = now - this.began;
        this.settled = now + SETTLE_S;
        this.onEvent('started', `playing after ${this.startup_s.toFixed(2)} s`);
      }
      return;
    }
    if (now < this.settled) return;
    if (Math.abs(moved) < MOVES_S) {
      this.still += elapsed;
      if (this.still >= STALL_S && this.still - elapsed < STALL_S) {
        this.stalls.push({ at_s: +time.toFixed(2), seconds: +this.still.toFixed(2) });
        this.onEvent('bad', 'stalled');
      } else if (this.still >= STALL_S) {
        this.stalls.at(-1).seconds = +this.still.toFixed(2);
      }
      return;
    }
    if (this.still >= STALL_S) this.onEvent('note', `went on after ${this.still.toFixed(2)} s`);
    this.still = 0;
    if (moved < -BACK_S || moved > elapsed * Math.max(1, video.playbackRate) + JUMP_S) {
      this.jumps.push({ at_s: +before.time.toFixed(2), seconds: +moved.toFixed(2) });
      this.onEvent('bad', `jumped by ${moved.toFixed(2)} s`);
    }
  }
}
