//go:build !unix

package media

import "os"

// hold does nothing where files have no such locks.
func hold(*os.File) bool { return true }

// removeUnheld never knows.
func removeUnheld(string) bool { return false }
