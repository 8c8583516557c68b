package source

import (
	"testing"
	"time"
)

func TestIsTest(t *testing.T) {
	for body, want := range map[string]bool{
		string(TestDelivery(time.Now())):                                              true,
		"\ufeff" + string(TestDelivery(time.Now())):                                   true,
		`{"event":"video.completed","data":{"job_id":"a","prompt":"klinghook.test"}}`: false,
		`{"data":{"event":"klinghook.test"}}`:                                         false,
		`"klinghook.test"`:                                                            false,
		``:                                                                            false,
	} {
		if got := IsTest([]byte(body)); got != want {
			t.Errorf("IsTest(%s) = %t", body, got)
		}
	}
}
