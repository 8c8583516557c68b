package chaos

import (
	"slices"
	"time"
)

// act is something done to the system at a time after the storm began.
type act struct {
	at time.Duration
	do func()
}

// fault is something that goes wrong and is put right after a while.
type fault struct {
	begin, end func()
	// least and most bound how long it lasts.
	least, most time.Duration
}

// allAtOnce lets everything die at random, each part by itself.
func allAtOnce(s *system, f form) {
	load := s.load(rate)
	start := time.Now()
	for _, a := range s.storm(f.storm) {
		s.pass(max(a.at-time.Since(start), 0))
		a.do()
	}
	// At the end all of klinghook dies once more.
	for _, p := range s.all() {
		p.kill()
	}
	load.finish()
}

// storm makes up what happens: the faults of one part follow one another, those of
// different parts meet.
func (s *system) storm(length time.Duration) []act {
	nothing := func() {}
	kill := func(p *supervised) fault { return fault{p.kill, nothing, time.Millisecond, 2 * time.Millisecond} }
	parts := [][]fault{
		{
			{s.redis.Kill, s.redis.Restart, 300 * time.Millisecond, 3 * time.Second},
			{s.redis.Pause, s.redis.Resume, 300 * time.Millisecond, 4 * time.Second},
		},
		{
			{s.postgres.Kill, s.postgres.Restart, 300 * time.Millisecond, 3 * time.Second},
			{nothing, s.postgres.Restart, time.Millisecond, 2 * time.Millisecond},
		},
		{{func() { s.media.setOutage(true) }, func() { s.media.setOutage(false) }, 500 * time.Millisecond, 2 * time.Second}},
		{{func() { s.receiver.setOutage(true) }, func() { s.receiver.setOutage(false) }, 500 * time.Millisecond, 2 * time.Second}},
	}
	for _, p := range s.all() {
		parts = append(parts, []fault{kill(p)})
	}
	var acts []act
	for _, faults := range parts {
		for at := s.between(0, 5*time.Second); ; at += s.between(time.Second, 8*time.Second) {
			f := faults[s.rng.IntN(len(faults))]
			lasts := s.between(f.least, f.most)
			if at+lasts > length {
				break
			}
			acts = append(acts, act{at, f.begin}, act{at + lasts, f.end})
			at += lasts
		}
	}
	slices.SortStableFunc(acts, func(a, b act) int { return int(a.at - b.at) })
	return acts
}
