package chaos

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"
)

// receiver is a program that notifications are forwarded to. It honours webhook-id,
// and misbehaves.
type receiver struct {
	server *httptest.Server
	seed   uint64
	gate   *gate

	mu sync.Mutex // guards what follows
	// anyTime accepts signatures of any age, for workers whose clocks are wrong.
	anyTime  bool
	asked    map[string]int
	messages map[string]*message // by webhook-id
	outage   bool
	problems []string
}

// message is a notification as the receiver knows it.
type message struct {
	kind, job string
	// times is how often it was taken, answered or not.
	times int
}

func newReceiver(t testing.TB, seed uint64) *receiver {
	rc := &receiver{seed: seed, gate: newGate(), asked: map[string]int{}, messages: map[string]*message{}}
	rc.server = httptest.NewServer(rc)
	t.Cleanup(func() {
		rc.gate.open()
		rc.server.CloseClientConnections()
		rc.server.Close()
	})
	return rc
}

func (rc *receiver) setOutage(on bool) {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	rc.outage = on
}

func (rc *receiver) setAnyTime() {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	rc.anyTime = true
}

// next notes a request and says how the receiver is to meet it.
func (rc *receiver) next(id string) (outage bool, trouble int) {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	rc.asked[id]++
	trouble = 100
	if rc.asked[id] == 1 && !rc.outage {
		trouble = luck(rc.seed, id, 100)
	}
	return rc.outage, trouble
}

// ServeHTTP takes a notification. Of a hundred about thirty give trouble the first
// time.
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
	rc.take(r, id, body)
	switch {
	case rc.gate.shut(): // taken, and not said so until the gate opens
		rc.gate.wait(r)
	case trouble < 25: // taken, and never said so
		reset(w)
		return
	case trouble < 30:
		pause(r, time.Second)
	}
	w.WriteHeader(http.StatusNoContent)
}

// take verifies a notification as Standard Webhooks says, and keeps it.
func (rc *receiver) take(r *http.Request, id string, body []byte) {
	timestamp := r.Header.Get("webhook-timestamp")
	want := "v1," + base64.StdEncoding.EncodeToString(mac(forwardKey, append([]byte(id+"."+timestamp+"."), body...)))
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	age := time.Since(time.Unix(seconds, 0)).Abs()
	var told struct {
		Type string
		Data struct{ Job struct{ ID string } }
	}
	if jsonErr := json.Unmarshal(body, &told); err == nil {
		err = jsonErr
	}
	rc.mu.Lock()
	defer rc.mu.Unlock()
	switch {
	case r.Header.Get("webhook-signature") != want:
		rc.problems = append(rc.problems, fmt.Sprintf("notification %s is signed wrongly", id))
	case err != nil:
		rc.problems = append(rc.problems, fmt.Sprintf("notification %s cannot be read: %v", id, err))
	case age > 5*time.Minute && !rc.anyTime:
		rc.problems = append(rc.problems, fmt.Sprintf("notification %s was signed %s away from now", id, age))
	}
	m := rc.messages[id]
	if m == nil {
		m = &message{kind: told.Type, job: told.Data.Job.ID}
		rc.messages[id] = m
	}
	if m.kind != told.Type || m.job != told.Data.Job.ID {
		rc.problems = append(rc.problems, fmt.Sprintf("notification %s tells first of %s of %s, then of %s of %s", id, m.kind, m.job, told.Type, told.Data.Job.ID))
	}
	m.times++
}
