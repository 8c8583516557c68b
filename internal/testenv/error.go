package testenv

import "testing"

// NoError ends a test that cannot go on.
func NoError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
