//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd)

package main

import "os"

// tryLock does not lock: on this system the standard library has no lock that ends with
// its process.
func tryLock(*os.File) (bool, error) { return true, nil }

// hideNewFiles does nothing: this system has no umask.
func hideNewFiles() {}
