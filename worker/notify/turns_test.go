package notify

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestTurnsKeepTheRate also checks that waiting messages ask only a few times and do not
// delay other destinations.
func TestTurnsKeepTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, err := New(Config{ForwardURLs: []string{"http://a.example/", "http://b.example/"}, ForwardSecret: testSecret, Rate: 2})
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		a, b := n.Names()[0], n.Names()[1]
		const messages = 100
		start, sent, asked := time.Now(), 0, 0
		due := make(map[int]time.Time, messages) // when each asks for a turn
		for i := range messages {
			due[i] = start
		}
		for ; len(due) > 0; time.Sleep(time.Millisecond) {
			for i, at := range due {
				if at.After(time.Now()) {
					continue
				}
				asked++
				wait := n.Turn(a)
				if wait > 0 {
					due[i] = time.Now().Add(wait)
					continue
				}
				delete(due, i)
				sent++
				if most := 2 + 2*time.Since(start).Seconds(); float64(sent) > most {
					t.Fatalf("%d were sent after %s, want %.0f at most", sent, time.Since(start), most)
				}
			}
		}
		if took := time.Since(start); took > 60*time.Second {
			t.Errorf("%d messages at 2 a second took %s", messages, took)
		}
		if asked > 3*messages {
			t.Errorf("%d turns were asked for, for %d messages", asked, messages)
		}
		if wait := n.Turn(b); wait != 0 {
			t.Errorf("another destination waits %s", wait)
		}
	})
}

func TestTurnsAreImmediateWithoutARate(t *testing.T) {
	n, name := newTestForward(t, "http://a.example/")
	for _, name := range []string{name, name, "gone-12345678"} { // Send reports the removed one
		if wait := n.Turn(name); wait != 0 {
			t.Errorf("%s waits %s", name, wait)
		}
	}
}
