package source

import (
	"bytes"
	"encoding/json"
	"time"
)

// TypeTest is the type of a test delivery. `klinghook doctor` sends one to find out
// whether a URL leads to ingest, which verifies and answers it and keeps only when it came.
const TypeTest = "klinghook.test"

// TestDelivery returns the body of a test delivery, for any protocol.
func TestDelivery(at time.Time) []byte {
	body, _ := json.Marshal(map[string]string{"event": TypeTest, "timestamp": at.UTC().Format(time.RFC3339)}) // strings never fail
	return body
}

// IsTest reports whether a body is a test delivery. No real event has its type.
func IsTest(body []byte) bool {
	// Most bodies need not be parsed for this.
	return bytes.Contains(body, []byte(TypeTest)) && ParseObject(body).Text("event") == TypeTest
}
