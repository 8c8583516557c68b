package e2e

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"
)

// receiver gets forwarded notifications. It respects webhook-id, and misbehaves.
type receiver struct {
	unreliableServer
	t testing.TB

	// mu guards what follows too.
	anyTime  bool                // accept signatures of any age, for workers with wrong clocks
	messages map[string]*message // by webhook-id
}

// message is a notification that the receiver accepted.
type message struct {
	kind, job string
	times     int // how often, answered or not
}

// newReceiver returns a receiver without trouble.
func newReceiver(t testing.TB) *receiver {
	rc := &receiver{t: t, messages: map[string]*message{}}
	rc.listen(t, rc)
	return rc
}

func (rc *receiver) setAnyTime() {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	rc.anyTime = true
}

// ServeHTTP accepts a notification. At random, the first request for about a third of
// them meets trouble.
func (rc *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	id := r.Header.Get("webhook-id")
	outage, trouble := rc.next(id)
	switch {
	case outage:
		http.Error(w, "out of order", http.StatusInternalServerError)
		return
	case trouble < 10:
		http.Error(w, "an accident", http.StatusInternalServerError)
		return
	case trouble < 14:
		w.Header().Set("Retry-After", "1")
		http.Error(w, "busy", http.StatusServiceUnavailable)
		return
	case trouble < 20:
		reset(w)
		return
	case trouble < 21: // longer than klinghook waits
		pause(r, 20*time.Second)
		return
	}
	rc.accept(r, id, body)
	switch {
	case rc.gate.shut(): // accepted, and not answered until the gate opens
		rc.gate.wait(r)
	case trouble < 25: // accepted, and never answered
		reset(w)
		return
	case trouble < 30:
		pause(r, time.Second)
	}
	w.WriteHeader(http.StatusNoContent)
}

// accept verifies a notification as Standard Webhooks says, and records it.
func (rc *receiver) accept(r *http.Request, id string, body []byte) {
	timestamp := r.Header.Get("webhook-timestamp")
	want := "v1," + base64.StdEncoding.EncodeToString(mac(forwardKey, append([]byte(id+"."+timestamp+"."), body...)))
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	age := time.Since(time.Unix(seconds, 0)).Abs()
	var notification struct {
		Type string
		Data struct{ Job struct{ ID string } }
	}
	if jsonErr := json.Unmarshal(body, &notification); err == nil {
		err = jsonErr
	}
	rc.mu.Lock()
	defer rc.mu.Unlock()
	switch {
	case r.Header.Get("webhook-signature") != want:
		rc.t.Errorf("notification %s has signature %s, want %s", id, r.Header.Get("webhook-signature"), want)
	case err != nil:
		rc.t.Errorf("notification %s: %v", id, err)
	case age > 5*time.Minute && !rc.anyTime:
		rc.t.Errorf("notification %s was signed %s from now", id, age)
	}
	m := message{kind: notification.Type, job: notification.Data.Job.ID}
	if first := rc.messages[id]; first == nil {
		rc.messages[id] = &m
	} else if first.kind != m.kind || first.job != m.job {
		rc.t.Errorf("notification %s is first %s of %s, then %s of %s", id, first.kind, first.job, m.kind, m.job)
	}
	rc.messages[id].times++
}

// got returns how often each "kind job" was received.
func (rc *receiver) got() map[string]int {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	got := map[string]int{}
	for _, m := range rc.messages {
		got[m.kind+" "+m.job] += m.times
	}
	return got
}
