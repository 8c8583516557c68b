//go:build !unix

package media

import "os"

// hold does nothing where files have no such locks.
func hold(string) (held *os.File, ok bool) { return nil, true }

// removeUnheld never knows.
func removeUnheld(string) bool { return false }
