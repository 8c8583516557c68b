package login

import (
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	// cookieName is the name of the cookie that a browser holds.
	cookieName = "klinghook_session"
	// sessionLength is how long a login is good for.
	sessionLength = 12 * time.Hour
	// maxSessions is how many there are at most; the one that ends first makes room.
	maxSessions = 1000
)

// sessions are the logins that are in force. They end with the process.
type sessions struct {
	now func() time.Time

	mu sync.Mutex // guards what follows
	// live is by the SHA-256 of the cookie, so that looking one up tells nothing
	// of the others.
	live map[[sha256.Size]byte]session
}

type session struct {
	who  string
	ends time.Time
}

func newSessions(now func() time.Time) *sessions {
	return &sessions{now: now, live: make(map[[sha256.Size]byte]session)}
}

// begin begins a session and gives the browser its cookie.
func (s *sessions) begin(w http.ResponseWriter, r *http.Request, who string) {
	value := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.makeRoom()
	s.live[sha256.Sum256([]byte(value))] = session{who: who, ends: s.now().Add(sessionLength)}
	http.SetCookie(w, cookie(r, value, int(sessionLength/time.Second)))
}

// cookie is the session's cookie. Behind a proxy that speaks TLS the browser's own
// origin says that it may be a secure one.
func cookie(r *http.Request, value string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name: cookieName, Value: value, Path: "/", MaxAge: maxAge, HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: r.TLS != nil || strings.HasPrefix(r.Header.Get("Origin"), "https://"),
	}
}

// makeRoom drops what has ended, and where that is not enough what ends first.
func (s *sessions) makeRoom() {
	var first [sha256.Size]byte
	var ends time.Time
	for key, live := range s.live {
		if !s.now().Before(live.ends) {
			delete(s.live, key)
			continue
		}
		if ends.IsZero() || live.ends.Before(ends) {
			first, ends = key, live.ends
		}
	}
	if len(s.live) >= maxSessions {
		delete(s.live, first)
	}
}

// who returns whose session a request is of.
func (s *sessions) who(r *http.Request) (who string, ok bool) {
	held, err := r.Cookie(cookieName)
	if err != nil {
		return "", false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	live, ok := s.live[sha256.Sum256([]byte(held.Value))]
	if !ok || !s.now().Before(live.ends) {
		return "", false
	}
	return live.who, true
}

// end ends a request's session.
func (s *sessions) end(w http.ResponseWriter, r *http.Request) {
	if held, err := r.Cookie(cookieName); err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.live, sha256.Sum256([]byte(held.Value)))
	}
	http.SetCookie(w, cookie(r, "", -1))
}
