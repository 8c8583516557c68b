package login

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// freeGuesses is how many logins a client may try in a row, and guessEvery is how often
	// it may try after that.
	freeGuesses = 5
	guessEvery  = 10 * time.Second
	// maxGuessers limits memory. Beyond it, only maxHashing slows guesses down.
	maxGuessers = 4096
)

// guesser is a client that tries to log in as a user or with a token.
type guesser struct {
	addr    netip.Addr
	account string
}

// guesses limits logins per client and account. The zero value is ready to use.
type guesses struct {
	mu       sync.Mutex // guards limiters
	limiters map[guesser]*rate.Limiter
}

// count counts a guess before it is checked. It returns how long the client must wait, or
// 0 if it may proceed.
func (g *guesses) count(who guesser) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	limiter, known := g.limiters[who]
	if !known {
		g.makeRoom()
		limiter = rate.NewLimiter(rate.Every(guessEvery), freeGuesses)
		g.limiters[who] = limiter
	}
	reservation := limiter.Reserve()
	wait := reservation.Delay()
	if wait > 0 {
		reservation.Cancel()
	}
	return wait
}

// forget removes the count of a client that logged in.
func (g *guesses) forget(who guesser) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.limiters, who)
}

// makeRoom removes clients that have waited long enough, or else all of them.
func (g *guesses) makeRoom() {
	if g.limiters == nil {
		g.limiters = make(map[guesser]*rate.Limiter)
	}
	if len(g.limiters) < maxGuessers {
		return
	}
	for who, limiter := range g.limiters {
		if limiter.Tokens() >= freeGuesses {
			delete(g.limiters, who)
		}
	}
	if len(g.limiters) >= maxGuessers {
		clear(g.limiters)
	}
}

// network returns the part of an address that identifies a client: of IPv6, the first 64
// bits.
func network(addr netip.Addr) netip.Addr {
	if !addr.Is6() {
		return addr
	}
	prefix, err := addr.Prefix(64)
	if err != nil {
		return addr
	}
	return prefix.Addr()
}
