package login

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// freeFailures is how many wrong logins an address has before it must wait, and
	// failureEvery is how long until it has one more.
	freeFailures = 5
	failureEvery = 10 * time.Second
	// maxPeers is how many addresses are remembered. Who has more than that is slowed
	// down by what a comparison costs, see hashers.
	maxPeers = 4096
)

// throttle slows down who guesses passwords.
type throttle struct {
	now func() time.Time

	mu    sync.Mutex // guards what follows
	peers map[netip.Addr]*rate.Limiter
}

func newThrottle(now func() time.Time) *throttle {
	return &throttle{now: now, peers: make(map[netip.Addr]*rate.Limiter)}
}

// wait returns how long an address must wait before it may try; zero when it may now.
func (t *throttle) wait(peer netip.Addr) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	limiter, known := t.peers[network(peer)]
	if !known {
		return 0
	}
	if missing := 1 - limiter.TokensAt(t.now()); missing > 0 {
		return time.Duration(missing * float64(failureEvery))
	}
	return 0
}

// failed notes a wrong login.
func (t *throttle) failed(peer netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	peer = network(peer)
	if _, known := t.peers[peer]; !known {
		t.makeRoom()
		t.peers[peer] = rate.NewLimiter(rate.Every(failureEvery), freeFailures)
	}
	t.peers[peer].AllowN(t.now(), 1)
}

// makeRoom forgets who has waited long enough, and where that is not enough everybody.
func (t *throttle) makeRoom() {
	if len(t.peers) < maxPeers {
		return
	}
	for peer, limiter := range t.peers {
		if limiter.TokensAt(t.now()) >= freeFailures {
			delete(t.peers, peer)
		}
	}
	if len(t.peers) >= maxPeers {
		clear(t.peers)
	}
}

// network is the address that counts as one: of IPv6 a customer has 64 bits.
func network(peer netip.Addr) netip.Addr {
	if !peer.Is6() {
		return peer
	}
	prefix, err := peer.Prefix(64)
	if err != nil {
		return peer
	}
	return prefix.Addr()
}
