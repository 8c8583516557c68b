package simulate

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"net/http"
)

// What is drawn for: each has random numbers of its own, so that a knob that is
// turned changes nothing but what it is for.
const (
	drawJob uint64 = iota
	drawCallback
	drawCall
)

// draw returns the random numbers of one thing, named by numbers.
func (c Config) draw(names ...uint64) *rand.Rand {
	var text []byte
	for _, n := range append([]uint64{c.RandomSeed}, names...) {
		text = binary.BigEndian.AppendUint64(text, n)
	}
	return rand.New(rand.NewChaCha8(sha256.Sum256(text)))
}

// fate is what becomes of a job.
type fate struct {
	end status
	// deadLink is the status that the links of callbacks answer with; 0: they live.
	deadLink int
	// cut is where downloads break off, as a share of the length; 0: nowhere.
	cut   float64
	drift drift
}

// drift is in which ways a job is told of in other shapes than documented.
type drift struct{ status, data, numbers bool }

// jobFate draws for the job of a number. The draws are always the same ones,
// whatever the shares.
func (c Config) jobFate(number uint64) fate {
	r := c.draw(drawJob, number)
	f := fate{end: succeeded}
	switch end := r.Float64(); {
	case end < c.Fail:
		f.end = failed
	case end < c.Fail+c.Cancel:
		f.end = cancelled
	}
	dead, status := r.Float64() < c.DeadLinks, r.IntN(3)
	if dead {
		f.deadLink = []int{http.StatusForbidden, http.StatusNotFound, http.StatusGone}[status]
	}
	broken, cut := r.Float64() < c.BrokenMedia, 0.25+r.Float64()/2
	if broken {
		f.cut = cut
	}
	if ways := 1 + r.IntN(7); c.Drift {
		f.drift = drift{status: ways&1 != 0, data: ways&2 != 0, numbers: ways&4 != 0}
	}
	return f
}

// callbackFate is what becomes of one callback.
type callbackFate struct {
	lost, repeated, reordered, late bool
	// behind and again are, as shares of the job's duration, how far a reordered
	// callback is behind its successor, and a repeated one behind the first.
	behind, again float64
}

func (c Config) callbackFate(job, receiver uint64, index int) callbackFate {
	r := c.draw(drawCallback, job, receiver, uint64(index))
	return callbackFate{
		lost: r.Float64() < c.Lost, repeated: r.Float64() < c.Repeat,
		reordered: r.Float64() < c.Reorder, late: r.Float64() < c.Late,
		behind: r.Float64() / 8, again: r.Float64(),
	}
}

// trouble returns the code that a call is answered with for no reason of its own;
// 0 for none.
func (c Config) trouble(call uint64) code {
	r := c.draw(drawCall, call)
	if troubled, which := r.Float64() < c.Trouble, r.IntN(3); troubled {
		return codeInternal + code(which)
	}
	return 0
}
