package ingest_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/klinghook/klinghook/tasks"
)

// Forged large bodies do not count towards the limit, and small bodies do not wait.
func TestTooManyVerifiedLargeBodiesAreRefused(t *testing.T) {
	const limit, atWork = 1 << 20, 16
	f := newFixture(t, limit)
	took, hang := make(chan tasks.Task, atWork+2), make(chan struct{})
	f.queue.took, f.queue.hang = took, hang
	signed := func(body string) *http.Request { return post(body, "sha256="+sign(secret, body)) }
	large := ofLength(limit)
	var sending sync.WaitGroup
	send := func(name, body string) {
		sending.Go(func() {
			if w := f.do(signed(body)); w.Code != http.StatusOK {
				t.Errorf("%s is answered %d %s, want 200", name, w.Code, w.Body)
			}
		})
		<-took
	}
	for range atWork {
		send("a large body", large)
	}
	if w := f.do(signed(large)); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "send it again") {
		t.Errorf("one more large body is answered %d %s, want 503", w.Code, w.Body)
	}
	if w := f.do(post(large, "sha256="+sign("guess", large))); w.Code != http.StatusUnauthorized {
		t.Errorf("a forged one is answered %d %s, want 401", w.Code, w.Body)
	}
	send("a small body beside them", created)
	close(hang)
	sending.Wait()
	if w := f.do(signed(large)); w.Code != http.StatusOK {
		t.Errorf("a large body after them is answered %d %s, want 200", w.Code, w.Body)
	}
}
