package simulate

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"net/http"
)

// The uses of random numbers. Each use has its own numbers, so that a setting changes only
// its own effect.
const (
	drawJob uint64 = iota
	drawCallback
	drawCall
)

// draw returns the random numbers for a use and its subject.
func (c Config) draw(names ...uint64) *rand.Rand {
	var text []byte
	for _, n := range append([]uint64{c.RandomSeed}, names...) {
		text = binary.BigEndian.AppendUint64(text, n)
	}
	return rand.New(rand.NewChaCha8(sha256.Sum256(text)))
}

// fate is the outcome of a job.
type fate struct {
	end      State
	deadLink int     // HTTP status of the links in callbacks; 0 if they work
	cut      float64 // where downloads break off, as a share of the size; 0 is nowhere
	drift    drift
	noMedia  bool // callbacks have no links
}

// jobFate draws the same numbers for all values of the shares.
func (c Config) jobFate(number uint64) fate {
	r := c.draw(drawJob, number)
	f := fate{end: Succeeded}
	switch end := r.Float64(); {
	case end < c.Fail:
		f.end = Failed
	case end < c.Fail+c.Cancel:
		f.end = Cancelled
	}
	if dead, status := r.Float64() < c.DeadLinks, r.IntN(3); dead {
		f.deadLink = []int{http.StatusForbidden, http.StatusNotFound, http.StatusGone}[status]
	}
	if broken, cut := r.Float64() < c.BrokenMedia, 0.25+r.Float64()/2; broken {
		f.cut = cut
	}
	if ways := 1 + r.IntN(7); c.Drift {
		f.drift = drift{status: ways&1 != 0, data: ways&2 != 0, numbers: ways&4 != 0}
	}
	f.noMedia = r.Float64() < c.NoMedia
	return f
}

// callbackFate is the outcome of one callback.
type callbackFate struct {
	lost, repeated, reordered, late bool
	// behind is how long after its successor a reordered callback is sent, again how long
	// after the first a repeated one, as shares of the job's duration.
	behind, again float64
}

func (c Config) callbackFate(job uint64, index int) callbackFate {
	r := c.draw(drawCallback, job, uint64(index))
	return callbackFate{
		lost: r.Float64() < c.Lost, repeated: r.Float64() < c.Repeat,
		reordered: r.Float64() < c.Reorder, late: r.Float64() < c.Late,
		behind: r.Float64() / 8, again: r.Float64(),
	}
}

// trouble returns the error code that replaces the answer to a call; 0 for none.
func (c Config) trouble(call uint64) code {
	r := c.draw(drawCall, call)
	if troubled, which := r.Float64() < c.Trouble, r.IntN(3); troubled {
		return codeInternal + code(which)
	}
	return 0
}
