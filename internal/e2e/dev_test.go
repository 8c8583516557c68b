package e2e

import (
	"math/rand/v2"
	"net/http"
	"testing"
)

// TestDevKilled kills dev at random moments, and starts it again on the same
// folder. Each delivery is sent until it is answered with 200, and never after
// that: whatever was acknowledged must take effect all the same, once; a message alone
// may come again, under its webhook-id.
func TestDevKilled(t *testing.T) {
	w, bucket, data := newWorld(t), t.TempDir(), t.TempDir()
	w.killed = true
	settings := w.settings("sqlite:"+data+"/k.db", bucket)
	settings["KLINGHOOK_DATA"] = data
	left := w.deliveries()
	for len(left) > 0 {
		dev := start(t, "klinghook", settings, "dev")
		base := "http://" + dev.Address("webhooks")
		rand.Shuffle(len(left), func(i, j int) { left[i], left[j] = left[j], left[i] })
		// The kill comes while the delivery after the last of these is on its way.
		patient := rand.IntN(3)
		for i := 0; i < patient && len(left) > 0; i++ {
			if status, answer := w.post(base, left[0]); status != http.StatusOK {
				t.Fatalf("%s answered %d %s", left[0].body, status, answer)
			}
			left = left[1:]
		}
		if len(left) == 0 {
			dev.Kill()
			break
		}
		acknowledged := make(chan bool, 1)
		go func() {
			status, _, err := left[0].post(t.Context(), base)
			acknowledged <- err == nil && status == http.StatusOK
		}()
		dev.Kill()
		if <-acknowledged {
			left = left[1:]
		}
	}
	dev := start(t, "klinghook", settings, "dev")
	dev.Address("webhooks")
	w.check(settings, bucket)
	dev.Stop()
}
